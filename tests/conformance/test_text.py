"""Text that every framework writes, against the float64 model's."""

import json

import numpy as np
import pytest

from conformance.text import FOLDER, Reader, Text, judge_text, load_texts, write

TEXTS = load_texts()
EVERY_TEXT = pytest.mark.parametrize("name", TEXTS)


@EVERY_TEXT
@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "anew"])
def test_the_text_is_the_same(framework, name, use_cache):
    text = TEXTS[name]
    verdicts = judge_text(framework.write(text, use_cache), text)
    assert len(verdicts) == 65
    assert not [verdict.complaint for verdict in verdicts if not verdict.ok]


@EVERY_TEXT
def test_the_float64_model_writes_the_same_with_a_cache(name):
    text = TEXTS[name]
    verdicts = judge_text(write(text, Reader(text), use_cache=True), text)
    assert all(verdict.ok for verdict in verdicts)


@EVERY_TEXT
def test_a_text_has_64_new_tokens_of_many_words(name):
    text = TEXTS[name]
    new = text.expected["sequences"][:, text.ids.shape[1] :]
    assert new.shape == (2, 64)
    assert min(len(set(row)) for row in new.tolist()) >= 8
    assert not np.array_equal(new[0], new[1])


def test_each_way_of_searching_is_there_with_and_without_padding():
    padded = {name: bool((text.mask == 0).any()) for name, text in TEXTS.items()}
    assert padded == {
        f"{way}{end}": end == "_padded" for way in ("beams", "greedy", "sampled") for end in ("", "_padded")
    }


@EVERY_TEXT
def test_the_tolerance_of_a_text_has_a_measured_reason(name):
    text = TEXTS[name]
    measured = [float(word) for word in text.reason.replace(",", " ").split() if "e-" in word]
    assert len(measured) == 3
    assert max(measured) <= text.rtol <= 2e-6


def test_one_other_token_is_seen():
    text = TEXTS["greedy"]
    sequences = text.expected["sequences"].copy()
    sequences[1, -1] += 1
    verdicts = judge_text({**text.expected, "sequences": sequences}, text)
    assert [verdict.stage for verdict in verdicts if not verdict.ok] == ["sequences"]


def test_an_unknown_key_in_a_text_is_refused(tmp_path):
    fields = json.loads((FOLDER / "greedy.json").read_text(encoding="utf-8"))
    (tmp_path / "odd.json").write_text(json.dumps({**fields, "seed": 5}), encoding="utf-8")
    with pytest.raises(TypeError, match="seed"):
        Text.read(tmp_path / "odd.json")

"""Text that every framework writes, against the float64 model's."""

import json

import numpy as np
import pytest

from conformance.suite.generation import (
    FOLDER,
    Float64Decoder,
    GenerationCase,
    generate_in_float64,
    generate_in_framework,
    judge_generation,
    load_generation_cases,
)

CASES = load_generation_cases()
EVERY_CASE = pytest.mark.parametrize("name", CASES)


@EVERY_CASE
@pytest.mark.parametrize("use_cache", [True, False], ids=["cache", "no cache"])
def test_the_text_is_the_same(framework, name, use_cache):
    case = CASES[name]
    verdicts = judge_generation(generate_in_framework(case, framework, use_cache), case)
    assert len(verdicts) == 65
    assert not [verdict.complaint for verdict in verdicts if not verdict.ok]


@EVERY_CASE
def test_the_float64_model_writes_the_same_with_a_cache(name):
    case = CASES[name]
    verdicts = judge_generation(generate_in_float64(case, Float64Decoder(case), use_cache=True), case)
    assert all(verdict.ok for verdict in verdicts)


@EVERY_CASE
def test_a_text_has_64_new_tokens_of_many_words(name):
    case = CASES[name]
    new = case.expected["sequences"][:, case.ids.shape[1] :]
    assert new.shape == (2, 64)
    assert min(len(set(row)) for row in new.tolist()) >= 8
    assert not np.array_equal(new[0], new[1])


def test_each_way_of_searching_is_there_with_and_without_padding():
    padded = {name: bool((case.mask == 0).any()) for name, case in CASES.items()}
    assert padded == {
        f"{way}{end}": end == "_padded" for way in ("beams", "greedy", "sampled") for end in ("", "_padded")
    }


@EVERY_CASE
def test_the_tolerance_of_a_text_has_a_measured_reason(name):
    case = CASES[name]
    measured = [float(word) for word in case.reason.replace(",", " ").split() if "e-" in word]
    assert len(measured) == 3
    assert max(measured) <= case.rtol <= 2e-6


def test_one_other_token_is_seen():
    case = CASES["greedy"]
    sequences = case.expected["sequences"].copy()
    sequences[1, -1] += 1
    verdicts = judge_generation({**case.expected, "sequences": sequences}, case)
    assert [verdict.stage for verdict in verdicts if not verdict.ok] == ["sequences"]


def test_an_unknown_key_in_a_text_is_refused(tmp_path):
    fields = json.loads((FOLDER / "greedy.json").read_text(encoding="utf-8"))
    (tmp_path / "odd.json").write_text(json.dumps({**fields, "seed": 5}), encoding="utf-8")
    with pytest.raises(TypeError, match="seed"):
        GenerationCase.read(tmp_path / "odd.json")

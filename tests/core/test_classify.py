import io
import json
import sys

import numpy as np
import pytest

from roberta_core import RobertaTokenizerFast, cli
from roberta_core.cli import classify as command
from roberta_core.config import RobertaConfig
from roberta_core.outputs import SequenceClassifierOutput


class LengthBackend:
    """Calls a text long if it has more than six tokens."""

    device = "cpu"

    def __init__(self, missing=()):
        self.config = RobertaConfig(id2label={0: "short", 1: "long"}, max_position_embeddings=14)
        self.missing = list(missing)

    def from_pretrained(self, architecture, source, **settings):
        assert architecture == "ForSequenceClassification"
        assert settings == {"output_loading_info": True}
        return self, {"missing_keys": self.missing}

    def run(self, model, inputs):
        count = inputs["attention_mask"].sum(1)
        return SequenceClassifierOutput(logits=np.stack([np.zeros(len(count)), count - 6.5], 1).astype(np.float32))


@pytest.fixture
def run(capsys, monkeypatch):
    """`run(*arguments, stdin=b"")`: the exit status, stdout and stderr."""

    def run(*arguments, stdin=b"", missing=()):
        monkeypatch.setattr(command, "resolve_frameworks", lambda *options: ["one"])
        monkeypatch.setattr(command, "load_backend", lambda name, device: LengthBackend(missing))
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main(["classify", "--model", "roberta-tiny", *map(str, arguments)])
        return ended.value.code, *capsys.readouterr()

    return run


def test_lines_of_standard_input_are_answered_in_order(run):
    code, out, err = run(stdin="No.\nThe door was open and she went in.\r\n\nna\u00efve".encode())
    assert (code, err) == (0, "")
    lines = [line.split("\t") for line in out.splitlines()]
    assert [(label, text) for label, _, text in lines] == [
        ("short", "No."), ("long", "The door was open and she went in."), ("short", ""), ("short", "na\u00efve"),
    ]  # fmt: skip
    assert all(0.5 <= float(score) <= 1 for _, score, _ in lines)


def test_files_are_read_one_after_the_other_and_json_has_every_score(run, tmp_path):
    for number, text in enumerate(("One.\n", "Two.\nThree.\n")):
        (tmp_path / f"{number}").write_text(text)
    code, out, _ = run(tmp_path / "0", "-", tmp_path / "1", "--json", stdin=b"Middle.\n")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [one["text"] for one in found] == ["One.", "Middle.", "Two.", "Three."]
    assert set(found[0]["scores"]) == {"short", "long"}
    assert found[0]["score"] == max(found[0]["scores"].values())


def test_a_pair_is_two_texts_with_a_tab_between(run):
    code, out, _ = run("--pairs", "--json", stdin=b"One.\tTwo.\n")
    assert code == 0
    assert json.loads(out)["text"] == ["One.", "Two."]
    code, _, err = run("--pairs", stdin=b"One.\tTwo.\nThree.\n")
    assert code == 1
    assert "-, line 2: 0 tabs; --pairs needs exactly one" in err


def test_truncated_texts_are_counted(run):
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    long = "She opened the door and went in. " * 3
    assert len(tokenizer(long)["input_ids"]) > 12
    code, out, err = run("--json", stdin=f"{long}\nNo.\n".encode())
    assert code == 0
    assert [json.loads(line)["truncated"] for line in out.splitlines()] == [True, False]
    assert err == "roberta: 1 text was truncated to 12 tokens, the most that the model accepts\n"


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "sentence"),
    [
        ([], {"stdin": b"fine\n\xff\n"}, 1, "-, line 2: not UTF-8"),
        (["nowhere.txt"], {}, 1, "nowhere.txt"),
        ([], {"missing": ["classifier.dense.weight"]}, 1, "has no classifier: it lacks classifier.dense.weight"),
        (["--budget", "0"], {}, 2, "--budget"),
    ],
)
def test_what_cannot_be_done_is_one_sentence(run, arguments, settings, status, sentence):
    code, out, err = run(*arguments, **settings)
    assert (code, out) == (status, "")
    assert sentence in err
    assert err.count("\n") == 1

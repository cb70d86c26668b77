import csv
import io
import json
import sys

import numpy as np
import pytest

from roberta_core import RobertaTokenizerFast, checkpoints, cli
from roberta_core.cli import predict as command
from roberta_core.config import RobertaConfig
from roberta_core.outputs import SequenceClassifierOutput
from roberta_core.parameters import draw

CONFIG = RobertaConfig(
    vocab_size=4096, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
    id2label={0: "short", 1: "long"}, max_position_embeddings=14,
)  # fmt: skip


class LengthBackend:
    """A backend that labels a text as long if it has more than six tokens."""

    device, config = "cpu", CONFIG

    def from_pretrained(self, architecture, source, **settings):
        assert architecture == "ForSequenceClassification"
        assert settings == {}
        return self

    def run(self, model, inputs):
        count = inputs["attention_mask"].sum(1)
        return SequenceClassifierOutput(logits=np.stack([np.zeros(len(count)), count - 6.5], 1).astype(np.float32))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    """Return a folder with a classifier of small texts."""
    folder = tmp_path_factory.mktemp("classifier")
    checkpoints.save(folder, CONFIG, "ForSequenceClassification", dict(draw(CONFIG, "ForSequenceClassification")))
    RobertaTokenizerFast.from_pretrained("roberta-tiny").save_pretrained(folder)
    return folder


@pytest.fixture
def run(capsys, monkeypatch, checkpoint):
    """Return `run(*arguments, stdin=b"")`, which returns the exit status, stdout and stderr."""

    def run(*arguments, stdin=b"", model=checkpoint):
        monkeypatch.setattr(command, "resolve_frameworks", lambda *options: ["one"])
        monkeypatch.setattr(command, "load_backend", lambda name, device: LengthBackend())
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main(["classify", "--model", str(model), *map(str, arguments)])
        return ended.value.code, *capsys.readouterr()

    return run


def test_lines_of_standard_input_are_classified_in_order(run):
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


def test_a_pair_is_two_texts_separated_by_a_tab(run):
    code, out, _ = run("--pairs", "--json", stdin=b"One.\tTwo.\n")
    assert code == 0
    assert json.loads(out)["text"] == ["One.", "Two."]
    code, out, err = run("--pairs", stdin=b"One.\tTwo.\nThree.\nFour.\tFive.\n")
    assert (code, err) == (1, "roberta: 1 of 3 rows have an error\n")
    rows = [line.split("\t") for line in out.splitlines()]
    assert rows[1] == ["", "", "standard input, line 2", "0 tabs; --pairs needs exactly one"]
    assert [row[2:] for row in (rows[0], rows[2])] == [["One.", "Two."], ["Four.", "Five."]]


def test_a_tab_without_pairs_is_reported_once(run):
    code, out, err = run(stdin=b"One.\tTwo.\nThree.\nFour.\tFive.\n")
    assert code == 0
    assert (
        err == "roberta: 2 texts with a tab: it was read as part of the text; pass --pairs if it separates two texts\n"
    )
    assert len(out.splitlines()) == 3
    assert run("--pairs", stdin=b"One.\tTwo.\n")[2] == ""
    assert run("--input-format", "jsonl", stdin=b'{"text": "One.\\tTwo."}')[::2] == (0, "")


def test_an_empty_input_is_reported(run, tmp_path):
    (tmp_path / "empty.txt").touch()
    code, out, err = run(tmp_path / "empty.txt")
    assert (code, out, err) == (0, "", f"roberta: no rows were read: {tmp_path / 'empty.txt'} is empty\n")
    assert run()[2] == "roberta: no rows were read: standard input is empty\n"


def test_header_names_the_columns_of_a_table_without_one(run, tmp_path):
    (tmp_path / "rows.tsv").write_text("1\tNo.\n2\tYes.\n", encoding="utf-8")
    code, out, err = run(tmp_path / "rows.tsv", "--header", "id,text", "--json")
    assert (code, err) == (0, "")
    assert [json.loads(line)["text"] for line in out.splitlines()] == ["No.", "Yes."]
    code, _, err = run("--header", "id,text", stdin=b"No.\n")
    assert code == 2
    assert "--header is for CSV and TSV files" in err


def test_truncated_texts_are_counted(run):
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    long = "She opened the door and went in. " * 3
    assert len(tokenizer(long)["input_ids"]) > 12
    code, out, err = run("--json", stdin=f"{long}\nNo.\n".encode())
    assert code == 0
    assert [json.loads(line)["truncated"] for line in out.splitlines()] == [True, False]
    assert err == "roberta: 1 text was truncated to 12 tokens, the most that the model accepts\n"


def test_an_invalid_line_does_not_stop_the_run(run):
    code, out, err = run(stdin=b"fine\n\xff\nfine\n")
    assert (code, err) == (1, "roberta: 1 of 3 rows have an error\n")
    assert out.splitlines()[1] == "\t\tstandard input, line 2\tnot UTF-8, invalid start byte at byte 0"
    assert len(out.splitlines()) == 3


def test_a_long_text_is_read_in_windows_if_requested(run):
    long = "She opened the door and went in. " * 3
    code, out, err = run("--json", "--long", "windows", stdin=long.encode())
    assert (code, err) == (0, "")
    assert not json.loads(out)["truncated"]


def test_records_of_a_file_are_read_by_their_columns_and_a_bad_one_has_an_error(run, tmp_path):
    rows = tmp_path / "rows.jsonl"
    rows.write_text('{"premise": "One.", "hypothesis": "Two."}\n{"body": "x"}\n{"text": 3}\n', encoding="utf-8")
    code, out, err = run(rows)
    assert (code, err) == (1, "roberta: 2 of 3 rows have an error\n")
    header, first, second, third = csv.reader(out.splitlines(), delimiter="\t")
    assert header == ["place", "label", "score", "text", "error"]
    assert first[3:] == ["One.\tTwo.", ""]
    assert (
        second[-1]
        == "no column for the field text (text, sentence or content); the columns are body: pass --columns text=COLUMN"
    )
    assert third[-1].startswith("an input is int, not a text")
    code, out, _ = run(rows, "--columns", "text=body", "--json")
    assert code == 1
    assert [json.loads(line).get("text") for line in out.splitlines()] == [None, "x", None]
    assert "no column for the field text (body); the columns are premise, hypothesis" in out


@pytest.mark.parametrize(
    ("arguments", "settings", "status", "sentence"),
    [
        (["nowhere.txt"], {}, 1, "nowhere.txt"),
        ([], {"model": "roberta-tiny"}, 1, "is not fine-tuned for text-classification: it lacks classifier.dense"),
        (["--max-batch-tokens", "0"], {}, 2, "--max-batch-tokens"),
        (["--long", "middle"], {}, 1, "long is 'middle'; expected one of windows, head, tail, head+tail"),
    ],
)
def test_impossible_requests_are_refused_in_one_sentence(run, arguments, settings, status, sentence):
    code, out, err = run(*arguments, **settings)
    assert (code, out) == (status, "")
    assert sentence in err
    assert err.count("\n") == 1

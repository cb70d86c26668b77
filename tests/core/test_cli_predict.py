"""The prediction commands over a stub pipeline: rows in, lines out, errors in their own column."""

import inspect
import io
import json
import os
import re
import sys
from pathlib import Path

import numpy as np
import pytest

from roberta_core import cli
from roberta_core.cli import predict as command
from roberta_core.cli import predict_outputs as outputs
from roberta_core.cli.predict_inputs import TASKS
from roberta_core.cli.predict_outputs import WRITERS
from roberta_core.data.sources import RemoteFile
from roberta_core.pipelines import base
from roberta_core.pipelines.base import RowError
from roberta_core.sentences.modules import POOLINGS, SHORT_NAMES

RESULTS = {
    "tag": [{"entity_group": "LOC", "score": 0.75, "word": " Paris", "start": 3, "end": 8}],
    "answer": {"score": 0.5, "start": 0, "end": 2, "answer": "me"},
    "choose": {"label": 1, "choice": "b", "score": 0.75, "scores": [0.25, 0.75]},
    "embed": np.array([0.5, -2.0], np.float32),
    "rank": [{"index": 1, "score": 0.75, "text": "b"}, {"index": 0, "score": 0.25, "text": "a"}],
    "zero-shot": {"sequence": "x", "labels": ["red", "blue"], "scores": [0.75, 0.25]},
    "generate": [{"generated_text": "x y"}],
    "fill-mask": [{"score": 0.75, "token": 7, "token_str": " x", "sequence": "a x"}],
}


@pytest.fixture
def run(capsys, monkeypatch):
    """`run(command, *arguments, stdin=b"")`: the exit status, stdout, stderr, and the inputs that the pipeline read."""

    def run(name, *arguments, stdin=b""):
        inputs = []

        class Stub:
            settings = None

            def stream(self, items, options, keep_errors):
                assert keep_errors
                for item in items:
                    inputs.append(item)
                    yield item if isinstance(item, RowError) else RESULTS[name]

        monkeypatch.setattr(command, "load_runner", lambda *given: Stub())
        monkeypatch.setattr(command, "resolve_frameworks", lambda *options: ["one"])
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as ended:
            cli.main([name, "--model", "somewhere", *map(str, arguments)])
        return ended.value.code, *capsys.readouterr(), inputs

    return run


@pytest.mark.parametrize(
    ("name", "arguments", "line", "expected", "cells"),
    [
        ("tag", (), "in Paris", "in Paris", ["LOC", "Paris", "3", "8", "0.7500"]),
        ("answer", (), "who?\tme", {"question": "who?", "context": "me"}, ["me", "0", "2", "0.5000"]),
        ("answer", (), "who?\tme\tyou", {"question": "who?", "context": "me\tyou"}, ["me", "0", "2", "0.5000"]),
        ("choose", (), "c\ta\tb", {"context": "c", "question": None, "choices": ["a", "b"]}, ["1", "b", "0.7500"]),
        ("embed", (), "a\tb", "a\tb", ["0.5 -2"]),
        ("rank", (), "q\ta\tb", {"query": "q", "documents": ["a", "b"]}, ["1", "b", "0.7500"]),
        ("zero-shot", ("--labels", "red,blue"), "x", "x", ["red", "0.7500"]),
        ("generate", (), "x", "x", ["x y"]),
        ("fill-mask", ("--file", "-"), "a<mask>", "a<mask>", ["1", " x", "0.7500", "a x"]),
    ],
)
def test_a_line_of_standard_input_is_a_row(run, name, arguments, line, expected, cells):
    code, out, err, inputs = run(name, *arguments, stdin=line.encode() + b"\n")
    assert (code, err, inputs) == (0, "", [expected])
    header, first, *_ = (row.split("\t") for row in out.splitlines())
    assert header[0] == "place"
    assert header[-1] == "error"
    assert first == ["standard input, line 1", *cells, ""]
    code, out, _, _ = run(name, *arguments, "--json", stdin=line.encode())
    assert code == 0
    assert json.loads(out)["place"] == "standard input, line 1"


def test_bad_rows_have_a_reason_and_the_others_a_result(run, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text('{"text": "a"}\n{"txt": "b"}\n{broken\n{"text": "c"}\n', encoding="utf-8")
    code, out, err, inputs = run("embed", path)
    assert code == 1
    assert err == "roberta: 2 of 4 rows have an error\n"
    rows = [line.split("\t") for line in out.splitlines()[1:]]
    assert [row[0].rpartition(" ")[2] for row in rows] == ["1", "2", "3", "4"]
    assert [bool(row[1]) for row in rows] == [True, False, False, True]
    assert (
        rows[1][2]
        == "no column for the field text (text, sentence or content); the columns are txt: pass --columns text=COLUMN"
    )
    assert rows[2][2].startswith("not JSON")
    assert [item for item in inputs if isinstance(item, str)] == ["a", "c"]


def test_columns_name_where_a_field_is(run, tmp_path):
    path = tmp_path / "rows.csv"
    path.write_text("frage,text\nwer?,ich\n", encoding="utf-8")
    code, _, _, inputs = run("answer", path, "--columns", "question=frage", "--columns", "context=text")
    assert (code, inputs) == (0, [{"question": "wer?", "context": "ich"}])


@pytest.mark.parametrize("columns", ["txt=text", "text", "text="])
def test_an_unknown_field_is_a_usage_error(run, columns):
    code, _, err, inputs = run("embed", "--columns", columns)
    assert (code, inputs) == (2, [])
    reason = "write FIELD=COLUMN" if columns in ("text", "text=") else f"this task has no field {columns[:3]!r}"
    assert f"--columns {columns}: {reason}; the fields of this task are text" in err


def test_an_unknown_format_is_a_usage_error(run):
    code, _, err, _ = run("embed", "--format", "xml")
    assert code == 2
    assert "--format is xml; expected one of table, tsv, jsonl, parquet" in err


def test_a_question_and_its_context_can_be_options(run):
    code, _, _, inputs = run("answer", "--question", "who?", "--context", "me")
    assert (code, inputs) == (0, [{"question": "who?", "context": "me"}])
    code, _, err, _ = run("answer", "--question", "who?")
    assert code == 2
    assert "must be used together" in err


def test_a_table_is_written_to_a_file(run, tmp_path):
    code, out, _, _ = run("rank", "--format", "table", "--output", tmp_path / "out.txt", stdin=b"q\ta\tb\nq\ta\tb\n")
    assert (code, out) == (0, "")
    text = (tmp_path / "out.txt").read_text(encoding="utf-8")
    assert text.count("0.7500") == 2
    assert "error" not in text


def test_a_line_that_is_not_utf_8_is_an_error_of_its_row(run):
    code, out, _, _ = run("embed", stdin=b"a\n\xff\nb\n")
    assert code == 1
    assert "line 2\t\tnot UTF-8, invalid start byte at byte 0" in out


def test_every_mask_of_a_row_has_its_lines(run, monkeypatch):
    (one,) = RESULTS["fill-mask"]
    monkeypatch.setitem(RESULTS, "fill-mask", [[one, one], [one, one]])
    code, out, _, _ = run("fill-mask", "--file", "-", stdin=b"a<mask> b<mask>")
    assert code == 0
    assert [line.split("\t")[1] for line in out.splitlines()] == ["mask", "1", "1", "2", "2"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("a<mask>", "--file", "-"), "specify TEXT..., or files of texts with --file (but not both)"),
        (("a<mask>", "--columns", "text=body"), "--columns requires --file"),
        (("--file", "-", "--frameworks", "pt,tf"), "with --file specify one by --framework"),
    ],
)
def test_texts_and_files_of_fill_mask_are_not_mixed(run, arguments, sentence):
    code, _, err, inputs = run("fill-mask", *arguments)
    assert (code, inputs) == (2, [])
    assert sentence in " ".join(err.split())


@pytest.mark.parametrize("name", ["nowhere.jsonl", "."])
def test_a_file_that_is_not_there_is_refused_before_anything_is_printed(run, name):
    code, out, err, _ = run("embed", name)
    assert (code, out) == (1, "")
    assert "there is no file 'nowhere.jsonl'" in err or "is a folder" in err


def test_a_missing_file_of_fill_mask_is_named_without_advice_about_arguments(run):
    assert run("fill-mask", "--file", "nope.txt")[:3] == (1, "", "roberta: nope.txt: there is no such file\n")


def test_a_text_in_place_of_a_file_is_refused_with_the_way_to_pass_a_text(run):
    code, _, err, _ = run("embed", "She smiled.")
    assert code == 1
    assert (
        "there is no file 'She smiled.'; the arguments are files: a single text is read from standard input"
        in " ".join(err.split())
    )


def test_the_shared_options_are_those_of_every_command():
    shared = {"model", "files", "framework", "device", "columns", "format", "output", "as_json", "max_batch_tokens"}
    for name in ("classify", "tag", "answer", "choose", "embed", "rank", "zero_shot", "generate"):
        parameters = inspect.signature(getattr(command, name)).parameters
        assert shared < {*parameters, "new"}
        assert next(iter(parameters)) == "model"


def test_a_page_is_written_beside_the_usual_output(run, tmp_path):
    page = tmp_path / "page.html"
    code, out, _, _ = run("tag", "--html", page, stdin=b"in <Pa>\n\xff\n")
    assert code == 1
    assert out.startswith("place\tentity\t")
    text = page.read_text(encoding="utf-8")
    assert 'in <mark style="--hue:210">&lt;Pa&gt;<b>LOC</b></mark>' in text
    assert "<title>somewhere: token-classification</title>" in text
    assert "not UTF-8" in text
    for wrong, message in ((tmp_path, "is a folder"), ("-", "--html needs a file")):
        code, _, err, inputs = run("answer", "--html", wrong, "--question", "a", "--context", "b")
        assert code != 0
        assert inputs == []
        assert message in err
    assert run("answer", "--html", page, "--question", "who?", "--context", "me")[0] == 0
    assert "who?<br><b>me</b>" in page.read_text(encoding="utf-8")


def test_choices_are_read_in_the_layouts_of_training_data(run, tmp_path):
    path = tmp_path / "rows.jsonl"
    path.write_text(
        '{"premise": "a", "choice1": "b", "choice2": "c", "question": "cause"}\n'
        '{"question": "d", "choices": {"label": ["A", "B"], "text": ["e", "f"]}}\n{"premise": "a"}\n',
        encoding="utf-8",
    )
    code, out, _, inputs = run("choose", path)
    assert code == 1
    assert [(item["context"], item["choices"]) for item in inputs[:2]] == [("a", ["b", "c"]), ("d", ["e", "f"])]
    assert inputs[0]["question"] == "What was the cause of this?"
    assert "no column for the field choices (choices, options or endings); the columns are premise" in out


def test_a_file_that_cannot_be_read_is_one_error_and_the_others_are_read(run, tmp_path):
    (tmp_path / "broken.json").write_text("{", encoding="utf-8")
    (tmp_path / "good.jsonl").write_text('{"text": "a"}\n', encoding="utf-8")
    code, out, err, inputs = run("embed", tmp_path / "broken.json", tmp_path / "good.jsonl")
    assert (code, inputs[1:]) == (1, ["a"])
    assert err == "roberta: 1 of 2 rows have an error\n"
    assert "broken.json: not JSON that can be read" in out


def test_standard_input_can_have_records(run, tmp_path):
    rows = b'{"question": "who?", "context": "me"}\n{broken\n'
    code, out, _, inputs = run("answer", "--input-format", "jsonl", stdin=rows)
    assert code == 1
    assert inputs[0] == {"question": "who?", "context": "me"}
    places = [line.split("\t")[0] for line in out.splitlines()[1:]]
    assert places == ["standard input, line 1", "standard input, line 2"]
    (tmp_path / "rows.txt").write_text("a,text\n1,b\n", encoding="utf-8")
    assert run("embed", tmp_path / "rows.txt", "--input-format", "csv")[3] == ["b"]
    (tmp_path / "rows.csv").write_text("a line\n", encoding="utf-8")
    assert run("embed", tmp_path / "rows.csv", "--input-format", "lines")[3] == ["a line"]
    code, _, err, _ = run("embed", "--input-format", "xml")
    assert code == 2
    assert "--input-format is xml; expected one of lines, jsonl" in err


@pytest.mark.parametrize("name", [name for name in RESULTS if name != "fill-mask"])
def test_a_parquet_file_has_the_fields_of_json_lines(run, tmp_path, monkeypatch, name):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(base, "WINDOW", 2)  # the first table has errors only
    path, output = tmp_path / "rows.jsonl", tmp_path / "found.parquet"
    fields = '"text": "a", "question": "who?", "context": "me", "choices": ["a", "b"], "query": "q", "documents": ["a"]'
    path.write_text("{}\n{}\n" + f"{{{fields}}}\n" * 3, encoding="utf-8")
    labels = ("--labels", "red,blue") if name == "zero-shot" else ()
    lines = [json.loads(line) for line in run(name, path, "--json", *labels)[1].splitlines()]
    assert run(name, path, "--output", output, *labels)[:2] == (1, "")
    rows = parquet.read_table(output).to_pylist()
    assert [{key: value for key, value in row.items() if value is not None} for row in rows] == lines
    assert parquet.read_schema(output).names[-1] == "error"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--output", "a.parquet", "--json"], "--output is a Parquet file, but --json asks for another format"),
        (["--output", "a.parquet", "--format", "tsv"], "--output is a Parquet file, but --format tsv asks for another"),
        (["--output", "a.out", "--format", "parquet", "--json"], "--json and --format parquet are two formats"),
    ],
)
def test_parquet_and_another_format_are_refused(run, tmp_path, monkeypatch, arguments, message):
    monkeypatch.chdir(tmp_path)
    code, _, err, inputs = run("embed", *arguments)
    assert (code, inputs) == (2, [])
    assert message in err
    assert list(tmp_path.iterdir()) == []


def test_results_of_several_types_are_refused_in_parquet(tmp_path):
    pytest.importorskip("pyarrow")
    rows = [("row 1", "", {"text": "a"}), ("row 2", "", {"text": ["a", "b"]})]
    with open(tmp_path / "found.parquet", "w") as stream, pytest.raises(ValueError, match="no common type in Parquet"):
        WRITERS["parquet"](TASKS["classify"], rows, stream)


def test_a_tag_of_no_entity_has_the_type_of_the_others_in_parquet(tmp_path, monkeypatch):
    parquet = pytest.importorskip("pyarrow.parquet")
    monkeypatch.setattr(base, "WINDOW", 1)
    rows = [("row 1", "", []), ("row 2", "in Paris", RESULTS["tag"]), ("row 3", "", [])]
    with open(tmp_path / "found.parquet", "w") as stream:
        WRITERS["parquet"](TASKS["tag"], rows, stream)
    found = parquet.read_table(tmp_path / "found.parquet").to_pylist()
    assert [row["results"] for row in found] == [[], RESULTS["tag"], []]


def test_parquet_needs_a_file(run):
    code, _, err, _ = run("embed", "--format", "parquet")
    assert (code, "--format parquet needs --output FILE" in err) == (2, True)


def test_the_help_names_every_pooling():
    help = inspect.signature(command.embed).parameters["pooling"].annotation.__metadata__[0].help
    names = set(SHORT_NAMES) | POOLINGS.keys() - SHORT_NAMES.values()
    assert names == {*re.findall(r"[a-z_]+", help)} & {*SHORT_NAMES, *SHORT_NAMES.values(), *POOLINGS}


def test_a_byte_order_mark_is_no_part_of_a_line_of_text(run, tmp_path):
    (tmp_path / "texts").write_bytes("\ufeffa\nb \ufeff\n".encode())
    assert run("embed", tmp_path / "texts")[3] == ["a", "b \ufeff"]
    assert run("embed", stdin="\ufeffa".encode())[3] == ["a"]


NEEDS_FULL = pytest.mark.skipif(not Path("/dev/full").exists(), reason="the device of a full disk is Linux's")


@NEEDS_FULL
@pytest.mark.parametrize("rows", [1, 5000])
@pytest.mark.parametrize("name", ["out.jsonl", "out.tsv", "page.html"])
def test_a_full_disk_names_the_file(run, tmp_path, name, rows):
    (tmp_path / "texts").write_text("in Paris\n" * rows)
    (tmp_path / name).symlink_to("/dev/full")
    option = "--html" if name == "page.html" else "--output"
    extra = ("--json",) if name == "out.jsonl" else ("--format", "tsv")
    code, _, err, _ = run("tag", tmp_path / "texts", option, tmp_path / name, *extra)
    assert (code, err) == (1, f"roberta: {tmp_path / name}: No space left on device\n")


@NEEDS_FULL
def test_a_full_disk_names_the_copy_of_a_remote_file(monkeypatch, tmp_path):
    full = tmp_path / "copy"
    full.symlink_to("/dev/full")
    monkeypatch.setattr(outputs.tempfile, "mkstemp", lambda suffix: (os.dup(0), str(full)))

    def write():
        with outputs.open_output(RemoteFile("memory://a/b.jsonl")) as stream:
            stream.write("a")

    with pytest.raises(OSError, match="No space left") as caught:
        write()
    assert caught.value.filename == str(full)

"""Reading examples from files: every format, and every fault with its file and line."""

import json

import pytest

from roberta_core.data.records import LONGEST, DataError, Skipped, read

ROWS = [{"text": "good", "label": "1"}, {"text": "bad, very", "label": "0"}]


def fields(path, **options):
    skipped = Skipped()
    return [dict(record.fields) for record in read(path, skipped, **options)], skipped


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl", '{"text": "good", "label": "1"}\n\n{"text": "bad, very", "label": "0"}\n'),
        ("a.csv", 'text,label\ngood,1\n"bad, very",0\n'),
        ("a.tsv", "\ufefftext\tlabel\r\ngood\t1\r\nbad, very\t0\r\n"),
        ("a.json", json.dumps(ROWS)),
        ("b.json", json.dumps({"data": ROWS})),
    ],
)
def test_every_format_gives_the_same_records(tmp_path, name, content):
    (tmp_path / name).write_bytes(content.encode())
    assert fields(tmp_path / name) == (ROWS, Skipped())


def test_a_dataset_is_any_sequence_of_mappings_and_its_label_names_are_used():
    class ClassLabel:
        names = ("bad", "good")

    class Dataset(list):
        features = {"label": ClassLabel(), "text": object()}  # noqa: RUF012

    found, _ = fields(Dataset([{"text": "a", "label": 1}, {"text": "b", "label": 0}]))
    assert [row["label"] for row in found] == ["good", "bad"]


def test_parquet_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert fields(tmp_path / "a.parquet")[0] == ROWS
    (tmp_path / "b.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"b\.parquet: no Parquet file"):
        fields(tmp_path / "b.parquet")


def test_a_header_can_be_given(tmp_path):
    (tmp_path / "a.tsv").write_text("1\tgood\n0\tbad\n")
    assert fields(tmp_path / "a.tsv", header=("label", "text"))[0][0] == {"label": "1", "text": "good"}


def test_quotation_marks_of_a_tsv_are_characters(tmp_path):
    (tmp_path / "a.tsv").write_text('text\tlabel\n"good\t1\nbad"\t0\n')
    assert [row["text"] for row in fields(tmp_path / "a.tsv")[0]] == ['"good', 'bad"']


def test_conll_sentences_end_at_blank_lines(tmp_path):
    (tmp_path / "a.conll").write_text("-DOCSTART-\tO\n\nNew\tB-LOC\nYork\tI-LOC\n\t\nis\tO\n\n\n")
    found, skipped = fields(tmp_path / "a.conll")
    assert found == [{"tokens": ["New", "York"], "labels": ["B-LOC", "I-LOC"]}, {"tokens": ["is"], "labels": ["O"]}]
    assert skipped.count == 0


def test_the_questions_of_squad_come_with_their_context(tmp_path):
    question = {"id": "q", "question": "Who?", "answers": []}
    document = {"data": [{"title": "T", "paragraphs": [{"context": "C", "qas": [question]}, {"context": "D"}]}]}
    (tmp_path / "a.json").write_text(json.dumps(document))
    found, skipped = fields(tmp_path / "a.json")
    assert found == [{**question, "context": "C", "title": "T"}]
    assert skipped.reasons == [f"{tmp_path / 'a.json'}, data[0].paragraphs[1]: has no questions in `qas`"]


FAULTS = {
    "an empty file": ("a.csv", b"", "a.csv: holds no record"),
    "a header alone": ("a.csv", b"text,label\n", "a.csv: holds no record"),
    "invalid UTF-8": ("a.jsonl", b'{"text": "a"}\n{"text": "\xff"}\n', "a.jsonl, line 2: not UTF-8"),
    "a line of a million characters": (
        "a.tsv",
        b"text\n" + b"x" * 1_000_000 + b"\nb\n",
        "a.tsv, line 2: 1,000,001 bytes",
    ),
    "a line of three million": ("a.jsonl", b'{}\n"' + b"x" * 3_000_000 + b'"\n', "a.jsonl, line 2: 3,000,003 bytes"),
    "a missing column": ("a.csv", b"text,label\na\n", "a.csv, line 2: 1 columns, where 2 are named"),
    "no JSON": ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl, line 2: no JSON"),
    "no object": ("a.jsonl", b"[1]\n", "a.jsonl, line 1: a JSON list"),
    "a word without label": (
        "a.conll",
        b"a\tO\n\nb\tO\nc\n\n",
        "a.conll, line 3: the sentence has 1 columns in line 4",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_told_with_file_and_line_and_refused_when_strict(tmp_path, fault):
    name, content, said = FAULTS[fault]
    (tmp_path / name).write_bytes(content)
    skipped = Skipped()
    list(read(tmp_path / name, skipped))
    assert skipped.count == 1
    assert said in skipped.reasons[0]
    assert said in skipped.sentence()
    with pytest.raises(DataError, match=r"a\.\w+"):
        list(read(tmp_path / name, Skipped(strict=True)))


def test_the_lines_after_a_fault_are_read_and_numbered_rightly(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"text\tlabel\n" + b"x" * 4 * (LONGEST + 5) + b"\n\xff\t1\na\tb\tc\ngood\t1\n")
    skipped = Skipped()
    found = list(read(tmp_path / "a.tsv", skipped))
    assert [record.place.rpartition(", ")[2] for record in found] == ["line 5"]
    assert [reason.split(":")[0].rpartition(", ")[2] for reason in skipped.reasons] == ["line 2", "line 3", "line 4"]


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(DataError, match="its format is not known"):
        list(read(tmp_path / "a.xyz", Skipped()))


def test_only_the_first_reasons_are_told_in_full():
    skipped = Skipped()
    for number in range(9):
        skipped.add(f"line {number}", "bad")
    assert skipped.sentence().endswith("line 4: bad; and 4 more")
    assert skipped.sentence().startswith("skipped 9: line 0: bad; ")

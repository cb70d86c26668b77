"""Reading examples from files in every format; faults are reported with file and line."""

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


def test_the_label_names_in_a_parquet_file_are_used(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    label = {"names": ["bad", "good"], "_type": "ClassLabel"}
    features = {"label": label, "tags": {"feature": label, "_type": "Sequence"}, "text": {"dtype": "string"}}
    table = pyarrow.Table.from_pylist(
        [{"label": 1, "tags": [0, 1], "text": "a"}, {"label": -1, "tags": [], "text": "b"}]
    )
    for stored in ({"info": {"features": features}}, {"info": None}):
        parquet.write_table(table.replace_schema_metadata({"huggingface": json.dumps(stored)}), tmp_path / "a.parquet")
        found = fields(tmp_path / "a.parquet")[0]
        assert [row["label"] for row in found] == (["good", None] if stored["info"] else [1, -1])
    assert found[0]["tags"] == [0, 1]


@pytest.mark.parametrize("suffix", ["gz", "bz2", "zst"])
def test_compressed_parquet_is_read_whole_and_reported_if_it_is_damaged(tmp_path, suffix):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    path, whole = tmp_path / f"a.parquet.{suffix}", tmp_path / "a.parquet"
    parquet.write_table(pyarrow.table({"text": [f"row {number}" for number in range(5000)]}), whole)
    with pyarrow.CompressedOutputStream(str(path), {"gz": "gzip", "zst": "zstd"}.get(suffix, suffix)) as file:
        file.write(whole.read_bytes())
    assert [one["text"] for one in fields(path)[0]] == [f"row {number}" for number in range(5000)]
    path.write_bytes(path.read_bytes()[:-60])
    with pytest.raises(DataError, match=r"a\.parquet\.\w+: not a Parquet file that can be read"):
        fields(path)


def test_parquet_is_read(tmp_path):
    pyarrow = pytest.importorskip("pyarrow")
    from pyarrow import parquet

    parquet.write_table(pyarrow.Table.from_pylist(ROWS), tmp_path / "a.parquet")
    assert fields(tmp_path / "a.parquet")[0] == ROWS
    (tmp_path / "b.parquet").write_bytes(b"nothing")
    with pytest.raises(DataError, match=r"b\.parquet: not a Parquet file"):
        fields(tmp_path / "b.parquet")


def test_a_file_that_is_missing_and_a_folder_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"none.jsonl: there is no such file"):
        list(read(tmp_path / "none.jsonl", Skipped()))
    with pytest.raises(DataError, match=r"is a folder: specify the files in it"):
        list(read(tmp_path, Skipped()))


def test_a_header_can_be_given(tmp_path):
    (tmp_path / "a.tsv").write_text("1\tgood\n0\tbad\n")
    assert fields(tmp_path / "a.tsv", header=("label", "text"))[0][0] == {"label": "1", "text": "good"}


def test_quotation_marks_of_a_tsv_are_characters(tmp_path):
    (tmp_path / "a.tsv").write_text('text\tlabel\n"good\t1\nbad"\t0\n')
    assert [row["text"] for row in fields(tmp_path / "a.tsv")[0]] == ['"good', 'bad"']


def test_conll_sentences_end_at_empty_lines(tmp_path):
    (tmp_path / "a.conll").write_text("-DOCSTART-\tO\n\nNew\tB-LOC\nYork\tI-LOC\n\t\nis\tO\n\n\n")
    found, skipped = fields(tmp_path / "a.conll")
    assert found == [{"tokens": ["New", "York"], "labels": ["B-LOC", "I-LOC"]}, {"tokens": ["is"], "labels": ["O"]}]
    assert skipped.count == 0


COMMENTED = {
    "a comment of several columns": "# id 52 domain=en\na O\nb B-x\n",
    "a comment with as many columns as the words": "# 52\na O\nb B-x\n",
    "a comment without tabs": "# text = a b\n# a O\na\tO\nb\tB-x\n",
    "a later sentence's comment": "# sent 1\na O\nb B-x\n",
}


@pytest.mark.parametrize("name", COMMENTED)
def test_comments_are_not_words(tmp_path, name):
    (tmp_path / "a.conll").write_text(COMMENTED[name] + "\n" + COMMENTED[name])
    found, skipped = fields(tmp_path / "a.conll")
    assert found == [{"tokens": ["a", "b"], "labels": ["O", "B-x"]}] * 2
    assert skipped.count == 0


@pytest.mark.parametrize("label", ["O", "B-x", "SYM", "NN$", "#"])
def test_a_number_sign_can_be_a_word(tmp_path, label):
    (tmp_path / "a.conll").write_text(f"# {label}\n1 B-x\n\nb O\n# {label}\n")
    found, _ = fields(tmp_path / "a.conll")
    assert [row["tokens"] for row in found] == [["#", "1"], ["b", "#"]]
    assert found[0]["labels"][0] == found[1]["labels"][1] == label


def test_conllu_has_forms_and_parts_of_speech_without_ranges_and_empty_nodes(tmp_path):
    rows = [
        "1-2\tdu\t_\t_\t_\t_\t_\t_\t_\t_", "1\tde\tde\tADP\tIN\t_\t3\tcase\t_\t_",
        "2\tle\tle\tDET\tDT\t_\t3\tdet\t_\t_",
        "3\tpain\tpain\tNOUN\tNN\t_\t0\troot\t_\t_", "3.1\tx\t_\tVERB\tVB\t_\t_\t_\t_\t_",
    ]  # fmt: skip
    (tmp_path / "a.conllu").write_text("# sent_id = 1\n# text = du pain\n" + "\n".join(rows) + "\n\n")
    assert fields(tmp_path / "a.conllu")[0] == [
        {"tokens": ["de", "le", "pain"], "labels": ["ADP", "DET", "NOUN"], "xpos": ["IN", "DT", "NN"]}
    ]


def test_an_unclosed_quotation_mark_skips_only_its_line(tmp_path):
    content = 'text,label\ngood,1\n"bad, 0\n' + "fine,1\n" * 50_000 + '"a\nb",0\n'
    (tmp_path / "a.csv").write_text(content)
    found, skipped = fields(tmp_path / "a.csv")
    assert found[0] == {"text": "good", "label": "1"}
    assert found[1:-1] == [{"text": "fine", "label": "1"}] * 50_000
    assert found[-1] == {"text": "a\nb", "label": "0"}
    assert skipped.reasons == [f"{tmp_path / 'a.csv'}, line 3: not a row of a table: a quotation mark is not closed"]
    with pytest.raises(DataError, match="line 3"):
        list(read(tmp_path / "a.csv", Skipped(strict=True)))


def test_an_unclosed_quotation_mark_at_the_end_is_reported(tmp_path):
    (tmp_path / "a.csv").write_text('text,label\n"bad, 0\nfine,1\n')
    found, skipped = fields(tmp_path / "a.csv")
    assert found == [{"text": "fine", "label": "1"}]
    assert skipped.count == 1


def test_a_header_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "a.csv").write_bytes(b"text,\xff\ngood,1\nbad,0\n")
    with pytest.raises(DataError, match=r"a\.csv: its first line, with the names of the columns, cannot be read"):
        fields(tmp_path / "a.csv")


def test_duplicate_columns_are_refused(tmp_path):
    (tmp_path / "a.csv").write_text("text,text\ngood,1\n")
    with pytest.raises(DataError, match="line 1: several columns are named 'text'"):
        fields(tmp_path / "a.csv")


def test_missing_labels_of_a_dataset_are_missing():
    class ClassLabel:
        names = ("bad", "good")

    class Dataset(list):
        features = {"label": ClassLabel()}  # noqa: RUF012

    assert fields(Dataset([{"label": -1}, {"label": 0}]))[0] == [{"label": None}, {"label": "bad"}]


def test_questions_of_squad_have_their_context(tmp_path):
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
    "a missing column": ("a.csv", b"text,label\na\n", "a.csv, line 2: 1 column, but 2 are named"),
    "no JSON": ("a.jsonl", b'{"a": 1}\n{"a": \n', "a.jsonl, line 2: not JSON that can be read"),
    "no object": ("a.jsonl", b"[1]\n", "a.jsonl, line 1: a JSON list"),
    "half of a surrogate pair": (
        "a.jsonl",
        b'{"text": "\\ud800"}\n',
        "line 1: it has half of a surrogate pair",
    ),
    "a record that nests too deeply": ("a.jsonl", b"[" * 200_000 + b"\n", "line 1: not JSON that can be read"),
    "a word without label": (
        "a.conll",
        b"a\tO\n\nb\tO\nc\n\n",
        "a.conll, line 3: the sentence has 1 column in line 4",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_reported_with_file_and_line_and_refused_if_strict(tmp_path, fault):
    name, content, message = FAULTS[fault]
    (tmp_path / name).write_bytes(content)
    skipped = Skipped()
    list(read(tmp_path / name, skipped))
    assert skipped.count == 1
    assert message in skipped.reasons[0]
    assert message in skipped.sentence()
    with pytest.raises(DataError, match=r"a\.\w+"):
        list(read(tmp_path / name, Skipped(strict=True)))


def test_lines_after_a_fault_are_read_with_correct_numbers(tmp_path):
    (tmp_path / "a.tsv").write_bytes(b"text\tlabel\n" + b"x" * 4 * (LONGEST + 5) + b"\n\xff\t1\na\tb\tc\ngood\t1\n")
    skipped = Skipped()
    found = list(read(tmp_path / "a.tsv", skipped))
    assert [record.place.rpartition(", ")[2] for record in found] == ["line 5"]
    assert [reason.split(":")[0].rpartition(", ")[2] for reason in skipped.reasons] == ["line 2", "line 3", "line 4"]


def test_an_unknown_format_is_refused(tmp_path):
    with pytest.raises(DataError, match="its suffix does not tell its format"):
        list(read(tmp_path / "a.xyz", Skipped()))


def test_only_the_first_reasons_are_reported():
    skipped = Skipped()
    for number in range(9):
        skipped.add(f"line {number}", f"bad {number}")
    assert skipped.sentence().endswith("line 4: bad 4; and 4 more")
    assert skipped.sentence().startswith("skipped 9: line 0: bad 0; ")


def test_a_reason_that_many_records_share_is_reported_once():
    skipped = Skipped()
    for number in range(9):
        skipped.add(f"line {number}", "bad" if number else "worse")
    assert skipped.sentence() == "skipped 9: line 0: worse; line 1 (and 7 more): bad"


@pytest.mark.parametrize("value", [None, "some text", 3])
def test_a_column_called_paragraphs_can_hold_anything(tmp_path, value):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([{"text": "a", "paragraphs": value}]))
    assert fields(path)[0] == [{"text": "a", "paragraphs": value}]

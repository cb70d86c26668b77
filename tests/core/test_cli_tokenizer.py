"""`roberta tokenizer`."""

import json

import pytest

from roberta_core import RobertaTokenizerFast, cli

TEXT = "The cat sat on the mat. The dog sat on the log; the cat's dog and the dog's cat sat.\n" * 5


@pytest.fixture
def run(capsys):
    """Return a function that runs a command line and returns its exit status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["tokenizer", *map(str, arguments)])
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return run


@pytest.fixture
def texts(tmp_path):
    for name, text in (("one.txt", TEXT), ("two.txt", TEXT.upper())):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return tmp_path / "one.txt", tmp_path / "two.txt"


def test_a_tokenizer_is_trained_and_loads(run, texts, tmp_path):
    code, out, _ = run("train", *texts, "--vocab-size", 280, "--output", tmp_path / "made", "--max-length", 40)
    assert (code, out) == (0, f"Trained 280 entries; the tokenizer is in {tmp_path / 'made'}\n")
    tokenizer = RobertaTokenizerFast.from_pretrained(tmp_path / "made")
    assert (len(tokenizer), tokenizer.mask_token_id, tokenizer.model_max_length) == (280, 279, 40)


def test_training_twice_gives_the_same_bytes(run, texts, tmp_path):
    for name, files in (("one", texts), ("two", texts[::-1])):
        code, out, err = run("train", *files, "--vocab-size", 290, "--output", tmp_path / name, "--json")
        assert (code, err) == (0, "")
        assert json.loads(out) == {"entries": 290, "folder": str(tmp_path / name)}
    names = sorted(path.name for path in (tmp_path / "one").iterdir())
    assert "tokenizer.json" in names
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_texts_with_few_pairs_are_reported(run, texts, tmp_path):
    _, out, _ = run("train", texts[0], "--vocab-size", 9000, "--output", tmp_path / "made", "--min-frequency", 3)
    assert " (no further pair occurs 3 times); the tokenizer is in" in out


def test_a_vocabulary_is_converted_to_fairseq_and_back(run, texts, tmp_path):
    run("train", *texts, "--vocab-size", 280, "--output", tmp_path / "made")
    assert run("to-fairseq", tmp_path / "made", "--output", tmp_path / "fairseq")[0] == 0
    assert {path.name for path in (tmp_path / "fairseq").iterdir()} == {"dict.txt", "encoder.json", "vocab.bpe"}
    code, out, _ = run("from-fairseq", tmp_path / "fairseq", "--output", tmp_path / "back", "--json")
    assert (code, json.loads(out)["entries"]) == (0, 280)
    for name in ("vocab.json", "merges.txt", "tokenizer.json"):
        assert (tmp_path / "back" / name).read_bytes() == (tmp_path / "made" / name).read_bytes(), name


@pytest.mark.parametrize(
    ("arguments", "status", "part"),
    [
        (["train", "absent.txt", "--vocab-size", "300", "--output", "x"], 1, "absent.txt: No such file or directory"),
        (["train", "absent.txt", "--vocab-size", "30", "--output", "x"], 1, "vocab_size 30 is too small"),
        (["train", "--vocab-size", "300", "--output", "x"], 2, "Missing argument"),
        (["train", "absent.txt", "--output", "x"], 2, "Missing option '--vocab-size'"),
        (["from-fairseq", "absent", "--output", "x"], 1, "absent"),
        (["to-fairseq", "absent/x/y", "--output", "x"], 1, "absent/x/y"),
        (["learn"], 2, "No such command 'learn'"),
    ],
)
def test_impossible_requests_are_refused_in_one_sentence(run, tmp_path, monkeypatch, arguments, status, part):
    monkeypatch.chdir(tmp_path)
    code, out, err = run(*arguments)
    assert (code, out, err.count("\n")) == (status, "", 1)
    assert part in err
    assert not any(tmp_path.iterdir())


def test_a_call_without_subcommand_prints_the_help_as_a_usage_error(run):
    code, out, err = run()
    assert (code, err) == (2, "")
    assert all(name in out for name in ("train", "from-fairseq", "to-fairseq"))

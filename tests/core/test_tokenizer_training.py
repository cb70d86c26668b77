"""Training a vocabulary."""

import json

import pytest

from roberta_core.tokenization import RobertaTokenizerFast, train_tokenizer
from roberta_core.tokenization.training import read_pieces

TEXT = "The cat sat on the mat. The dog sat on the log — naïvely.\nThe cat's dog and the dog's cat sat.\n\n" * 5
SIZE = 300
FILES = ("vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json")


@pytest.fixture
def files(tmp_path):
    for name, text in (("one.txt", TEXT), ("two.txt", TEXT.upper())):
        (tmp_path / name).write_text(text, encoding="utf-8")
    return [tmp_path / "one.txt", tmp_path / "two.txt"]


def test_the_vocabulary_has_the_published_layout(files, tmp_path):
    assert train_tokenizer(files, SIZE, tmp_path / "out") == SIZE
    vocab = json.loads((tmp_path / "out" / "vocab.json").read_text(encoding="utf-8"))
    in_order = sorted(vocab, key=vocab.__getitem__)
    assert sorted(vocab.values()) == list(range(SIZE))
    assert (in_order[:4], in_order[-1]) == (["<s>", "<pad>", "</s>", "<unk>"], "<mask>")
    assert "Ġsat" in vocab
    merges = (tmp_path / "out" / "merges.txt").read_text(encoding="utf-8").splitlines()
    assert merges[0] == "#version: 0.2"
    assert len(merges) == 1 + SIZE - 5 - 256


def test_the_trained_tokenizer_can_be_used_directly(files, tmp_path):
    train_tokenizer(files, SIZE, tmp_path / "out", model_max_length=40)
    tokenizer = RobertaTokenizerFast.from_pretrained(tmp_path / "out")
    assert {path.name for path in (tmp_path / "out").iterdir()} == set(FILES)
    assert tokenizer.tokenize("The cat <mask>") == ["The", "Ġcat", "<mask>"]
    assert tokenizer("x <mask>").input_ids[-2] == SIZE - 1 == tokenizer.mask_token_id
    assert tokenizer.model_max_length == 40
    assert tokenizer.decode(tokenizer(TEXT).input_ids, skip_special_tokens=True) == TEXT


def test_the_same_files_give_the_same_bytes(files, tmp_path):
    train_tokenizer(files, SIZE, tmp_path / "one")
    train_tokenizer(files[::-1], SIZE, tmp_path / "two")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


def test_line_ends_and_byte_order_marks_do_not_change_the_vocabulary(files, tmp_path):
    train_tokenizer(files, SIZE, tmp_path / "one")
    for path in files:
        path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b"\n", b"\r\n"))
    train_tokenizer(files, SIZE, tmp_path / "two")
    for name in FILES:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes(), name


@pytest.mark.parametrize("block", [1, 2, 3, 5, 17, 64, 10_000])
def test_the_block_size_does_not_change_texts_and_words(block, tmp_path):
    path = tmp_path / "text.txt"
    text = "Aé b\r\nc\r\n\r\n  d\n\n\ne\rf 🤗\r\n \r\ng  \nlast\r\n"
    path.write_bytes(b"\xef\xbb\xbf" + text.encode())
    pieces = list(read_pieces([path], block=block))
    assert "".join(pieces) == text.replace("\r\n", "\n")
    before = [piece[-2:] for piece in pieces[:-1]]
    assert all(not two[0].isspace() and two[1] == "\n" for two in before)
    assert all(not piece[0].isspace() for piece in pieces[1:])


def test_several_files_are_not_joined_into_words(tmp_path):
    for name in ("one.txt", "two.txt"):
        (tmp_path / name).write_text("ab", encoding="utf-8")
    assert list(read_pieces([tmp_path / "one.txt", tmp_path / "two.txt"])) == ["ab", "ab"]


def test_progress_is_reported_in_bytes(files, tmp_path):
    reported = []
    train_tokenizer(files, SIZE, tmp_path / "out", progress=lambda done, total: reported.append((done, total)))
    total = sum(path.stat().st_size for path in files)
    assert reported[-1] == (total, total)
    assert [done for done, _ in reported] == sorted(done for done, _ in reported)


def test_texts_with_few_pairs_give_a_smaller_vocabulary(tmp_path):
    (tmp_path / "text.txt").write_text("ab ab", encoding="utf-8")
    assert train_tokenizer([tmp_path / "text.txt"], SIZE, tmp_path / "out") == 4 + 256 + 1 + 1
    assert RobertaTokenizerFast.from_pretrained(tmp_path / "out").mask_token_id == 4 + 256 + 1


def test_impossible_requests_are_refused(files, tmp_path):
    with pytest.raises(ValueError, match=r"vocab_size 260 is too small.*need 261"):
        train_tokenizer(files, 260, tmp_path / "out")
    with pytest.raises(ValueError, match="no files"):
        train_tokenizer([], SIZE, tmp_path / "out")
    (tmp_path / "latin.txt").write_bytes("é".encode("latin-1"))
    with pytest.raises(ValueError, match=r"latin\.txt: not UTF-8 text"):
        train_tokenizer([tmp_path / "latin.txt"], SIZE, tmp_path / "out")
    with pytest.raises(FileNotFoundError):
        train_tokenizer([tmp_path / "absent.txt"], SIZE, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_rows_of_json_lines_are_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"text": "the cat sat on the mat"}\n' * 9)
    with pytest.raises(ValueError, match=r"a\.jsonl has rows, not text: write the texts of its rows into a text file"):
        train_tokenizer([tmp_path / "a.jsonl"], 270, tmp_path / "out")
    assert not (tmp_path / "out").exists()

"""Conversion of a vocabulary from and to fairseq's dict.txt."""

import json

import pytest

from roberta_core.interface import COMMAND, use_interface
from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, train_tokenizer
from roberta_core.tokenization.fairseq import read_fairseq, write_fairseq

TEXT = "The cat sat on the mat. The dog sat on the log, naïvely; the cat's dog and the dog's cat sat.\n" * 5


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    (folder / "text.txt").write_text(TEXT, encoding="utf-8")
    train_tokenizer([folder / "text.txt"], 300, folder)
    return folder


@pytest.mark.parametrize("kind", [RobertaTokenizerFast, RobertaTokenizer])
def test_a_written_vocabulary_is_read_with_the_same_ids(trained, tmp_path, kind):
    tokenizer = kind.from_pretrained(trained)
    paths = write_fairseq(tokenizer, tmp_path)
    assert [path.rsplit("/")[-1] for path in paths] == ["dict.txt", "encoder.json", "vocab.bpe"]
    again = read_fairseq(tmp_path)
    assert again.get_vocab() == tokenizer.get_vocab()
    assert again.merges() == tokenizer.merges()
    assert again(TEXT).input_ids == tokenizer(TEXT).input_ids
    assert (tmp_path / "vocab.bpe").read_text(encoding="utf-8").startswith("#version: 0.2\n")


def test_entries_are_gpt2_ids_and_line_numbers_give_the_ids(tmp_path):
    letters = sorted(read_letters())
    (tmp_path / "encoder.json").write_text(json.dumps({token: number for number, token in enumerate(letters)}))
    (tmp_path / "vocab.bpe").write_text("#version: 0.2\n")
    numbers = [*range(len(letters))][::-1]
    lines = [f"{number} {5000 - number}" for number in numbers]
    lines += ["madeupword0000 0", "madeupword0001 0 #fairseq:overwrite"]
    (tmp_path / "dict.txt").write_text("\n".join(lines) + "\n")
    tokenizer = read_fairseq(tmp_path / "dict.txt")
    assert tokenizer.convert_ids_to_tokens([0, 1, 2, 3]) == ["<s>", "<pad>", "</s>", "<unk>"]
    assert tokenizer.convert_ids_to_tokens([4, 5]) == [letters[-1], letters[-2]]
    assert tokenizer.convert_ids_to_tokens([260, 261, 262]) == ["madeupword0000", "madeupword0001", "<mask>"]
    assert len(tokenizer) == 263


def read_letters():
    from roberta_core.tokenization.byte_level_bpe import CHARACTER_TO_BYTE

    return CHARACTER_TO_BYTE


def test_the_published_vocabulary_is_converted_and_restored(shared, tmp_path):
    folder = shared / "data" / "roberta-base"
    if not folder.is_dir():
        pytest.skip(f"no published vocabulary in {folder}")
    tokenizer = RobertaTokenizerFast(folder / "vocab.json", folder / "merges.txt")
    write_fairseq(tokenizer, tmp_path)
    assert len((tmp_path / "dict.txt").read_text().splitlines()) == 50260
    assert read_fairseq(tmp_path).get_vocab() == tokenizer.get_vocab()


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("dict.txt", "5\n", "line 1 is '5', expected a symbol and a count"),
        ("dict.txt", "5 x\n", "line 1 is '5 x'"),
        ("dict.txt", "5 1\n5 1\n", "line 2 has .* a second time"),
        ("dict.txt", "5 1\n999999 1\n", "line 2 has the symbol 999999, which encoder.json does not have"),
        ("dict.txt", "▁the 1\n", "the merges do not fit the vocabulary"),
        ("encoder.json", "[]", "a JSON object was expected"),
        ("vocab.bpe", "#version: 0.2\na b c\n", "line 2 is 'a b c'"),
    ],
)
def test_a_broken_file_is_refused_with_its_line(trained, tmp_path, name, content, message):
    write_fairseq(RobertaTokenizerFast.from_pretrained(trained), tmp_path)
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        read_fairseq(tmp_path)


def test_a_missing_dictionary_is_named_before_other_files(tmp_path):
    with pytest.raises(
        FileNotFoundError, match=r"empty: there is no such file or folder; specify dict.txt, or its fol"
    ):
        read_fairseq(tmp_path / "empty")
    with pytest.raises(FileNotFoundError, match=r"has no dict\.txt$"):
        read_fairseq(tmp_path)
    (tmp_path / "dict.txt").touch()
    with use_interface(COMMAND), pytest.raises(FileNotFoundError, match=r"vocab\.bpe: .* elsewhere, specify --merges$"):
        read_fairseq(tmp_path)


def test_a_missing_file_is_named(trained, tmp_path):
    write_fairseq(RobertaTokenizerFast.from_pretrained(trained), tmp_path)
    (tmp_path / "encoder.json").rename(tmp_path / "elsewhere.json")
    with pytest.raises(
        FileNotFoundError, match=r"encoder\.json: there is no such file, which dict.txt needs; .* pass encoder=$"
    ):
        read_fairseq(tmp_path)
    assert len(read_fairseq(tmp_path, tmp_path / "elsewhere.json")) == len(
        RobertaTokenizerFast.from_pretrained(trained)
    )


def test_ids_without_a_place_in_fairseq_are_refused(trained, tmp_path):
    tokenizer = RobertaTokenizerFast.from_pretrained(trained)
    tokenizer.add_tokens("new")
    with pytest.raises(ValueError, match="begin with <s> <pad> </s> <unk> and end with <mask>"):
        write_fairseq(tokenizer, tmp_path)
    assert not any(tmp_path.iterdir())

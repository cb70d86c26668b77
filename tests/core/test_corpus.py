"""The tokenised corpus on disk."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from roberta_core.data import corpus, corpus_parts, documents, texts
from roberta_core.data.records import DataError, Skipped
from roberta_core.tokenization import train_tokenizer

DOCUMENTS = {
    "a.txt": 'It was late. "Who is there?" asked the old man.\n\nNobody answered, and the old man slept again.\n',
    "b.txt": "\ufeffAnother day, another sentence. The man was not there! No one was there.\n" * 40,
    "empty.txt": " \n\n",
}
SEPARATOR = 2


def space_commas(text, document):
    return [sentence.replace(",", " , ") for sentence in texts.split_sentences(text)]


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    for name, text in DOCUMENTS.items():
        (folder / name).write_text(text, encoding="utf-8")
    train_tokenizer([folder / "a.txt", folder / "b.txt"], 300, folder)
    return folder


@pytest.fixture
def files(tokenizer):
    return [tokenizer / name for name in DOCUMENTS]


def test_tokens_equal_those_of_the_whole_document(tokenizer, files, tmp_path):
    found = corpus.build(tmp_path, files, tokenizer, SEPARATOR)
    starts = found.sentences[found.documents]
    assert len(starts) == 3  # the empty file is not a document
    whole = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    for path, start, stop in zip(files, starts, starts[1:], strict=False):
        ids = whole.encode(texts.read(path), add_special_tokens=False).ids
        assert found.tokens[start:stop].tolist() == [*ids, SEPARATOR]


def test_sentences_begin_where_they_begin_in_the_text(tokenizer, files, tmp_path):
    found = corpus.build(tmp_path, files[:1], tokenizer, SEPARATOR)
    whole = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    pieces = [
        whole.decode(found.tokens[a:b].tolist()) for a, b in zip(found.sentences, found.sentences[1:], strict=False)
    ]
    assert [piece.strip() for piece in pieces] == [piece.strip() for piece in texts.split_sentences(DOCUMENTS["a.txt"])]
    assert found.sentences[-1] == len(found.tokens)
    assert found.documents.tolist() == [0, len(pieces)]


def test_small_vocabularies_use_two_bytes_per_token(tokenizer, files, tmp_path):
    assert corpus.build(tmp_path, files, tokenizer, SEPARATOR).tokens.dtype == np.uint16


def test_the_same_files_are_not_tokenised_again(tokenizer, files, tmp_path, monkeypatch):
    skipped, later = Skipped(), Skipped()
    first = corpus.build(tmp_path, files, tokenizer, SEPARATOR, skipped=skipped)
    monkeypatch.setattr(corpus_parts, "read_chunks", lambda *_: pytest.fail("tokenised again"))
    again = corpus.build(tmp_path, files, tokenizer, SEPARATOR, skipped=later)
    assert (again.tokens == first.tokens).all()
    assert later == skipped


def test_a_changed_text_or_setting_is_tokenised_again(tokenizer, files, tmp_path):
    before = len(corpus.build(tmp_path, files, tokenizer, SEPARATOR).tokens)
    assert len(corpus.build(tmp_path, files, tokenizer, SEPARATOR, space_commas).tokens) > before
    changed = tmp_path / "a.txt"
    changed.write_text(DOCUMENTS["a.txt"].replace("old", "young"))
    found = corpus.build(tmp_path, [changed, *files[1:]], tokenizer, SEPARATOR)
    assert "young" in Tokenizer.from_file(str(tokenizer / "tokenizer.json")).decode(found.tokens[:60].tolist())


def test_a_run_killed_while_tokenising_starts_over(tokenizer, files, tmp_path, monkeypatch):
    whole = corpus.build(tmp_path / "whole", files, tokenizer, SEPARATOR).tokens
    with monkeypatch.context() as patch:
        patch.setattr(corpus_parts.Growing, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            corpus.build(tmp_path / "killed", files, tokenizer, SEPARATOR)
    assert (corpus.build(tmp_path / "killed", files, tokenizer, SEPARATOR).tokens == whole).all()


def test_a_run_killed_while_it_replaces_a_corpus_leaves_the_old_one(tokenizer, files, tmp_path, monkeypatch):
    whole = corpus.build(tmp_path, files, tokenizer, SEPARATOR).tokens.copy()
    with monkeypatch.context() as patch:
        patch.setattr(corpus_parts.Growing, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            corpus.build(tmp_path, files, tokenizer, SEPARATOR, space_commas)
    monkeypatch.setattr(corpus_parts, "read_chunks", lambda *_: pytest.fail("tokenised again"))
    assert (corpus.build(tmp_path, files, tokenizer, SEPARATOR).tokens == whole).all()


def test_files_without_text_are_refused(tokenizer, files, tmp_path):
    with pytest.raises(ValueError, match="1 files hold no text"):
        corpus.build(tmp_path, files[2:], tokenizer, SEPARATOR)


def test_a_custom_split_receives_whole_documents_and_their_numbers(tokenizer, files, tmp_path, monkeypatch):
    monkeypatch.setattr(documents, "CHUNK", 20)
    given = []

    def split(text, document):
        given.append((document, text))
        return [text]

    found = corpus.build(tmp_path, files[:2], tokenizer, SEPARATOR, split)
    assert sorted(given) == [(0, DOCUMENTS["a.txt"]), (1, DOCUMENTS["b.txt"].removeprefix("\ufeff"))]
    assert len(found.sentences) == 3


@pytest.mark.parametrize("chunk", [20, 60, 500])
@pytest.mark.parametrize("end", ["", "\n", "\n\n \n"])
def test_a_document_in_chunks_has_the_tokens_of_the_whole(tokenizer, tmp_path, monkeypatch, chunk, end):
    text = "\n\n".join([DOCUMENTS["a.txt"].strip(), "It was late.\r\nNobody spoke to Mr.", "Smith was\nthere.\n"] * 5)
    (tmp_path / "long.txt").write_bytes((text + end).encode())
    whole = corpus.build(tmp_path / "whole", [tmp_path / "long.txt"], tokenizer, SEPARATOR)
    monkeypatch.setattr(documents, "CHUNK", chunk)
    parts = corpus.build(tmp_path / "parts", [tmp_path / "long.txt"], tokenizer, SEPARATOR)
    for name in corpus_parts.ARRAYS:
        np.testing.assert_array_equal(getattr(parts, name), getattr(whole, name))
    assert whole.sentences[-1] == len(whole.tokens)


FAULTS = {
    "invalid UTF-8": (b"It was late.\n\xff\xfe\nNo one was there.\n", "bad.txt, line 2: not UTF-8"),
    "a line of a million characters": (
        b"It was late.\n" + b"x" * 1_000_000 + b"\n",
        "bad.txt, line 2: 1,000,001 bytes",
    ),
    "an empty file": (b"", "bad.txt: holds no text"),
    "whitespace": (b" \n\n", "bad.txt: holds no text"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_reported_with_file_and_line_and_refused_if_strict(tokenizer, files, tmp_path, fault):
    content, message = FAULTS[fault]
    (tmp_path / "bad.txt").write_bytes(content)
    skipped = Skipped()
    corpus.build(tmp_path / "a", [files[0], tmp_path / "bad.txt"], tokenizer, SEPARATOR, skipped=skipped)
    assert skipped.count == 1
    assert message in skipped.reasons[0]
    for folder in ("a", "b"):
        with pytest.raises(DataError, match=r"bad\.txt"):
            corpus.build(
                tmp_path / folder, [files[0], tmp_path / "bad.txt"], tokenizer, SEPARATOR, skipped=Skipped(strict=True)
            )

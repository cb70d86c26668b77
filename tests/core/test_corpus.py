"""The corpus on disk."""

import numpy as np
import pytest
from tokenizers import Tokenizer

from roberta_core.data import corpus, texts
from roberta_core.tokenization import train_tokenizer

DOCUMENTS = {
    "a.txt": 'It was late. "Who is there?" asked the old man.\n\nNobody answered, and the old man slept again.\n',
    "b.txt": "\ufeffAnother day, another sentence. The man was not there! Nobody was there.\n" * 40,
    "empty.txt": " \n\n",
}
SEPARATOR = 2


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


def test_tokens_are_those_of_the_whole_document(tokenizer, files, tmp_path):
    found = corpus.build(tmp_path, files, tokenizer, SEPARATOR)
    starts = found.sentences[found.documents]
    assert len(starts) == 3  # the empty file is no document
    whole = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    for path, start, stop in zip(files, starts, starts[1:], strict=False):
        ids = whole.encode(texts.unwrap(texts.read(path)), add_special_tokens=False).ids
        assert found.tokens[start:stop].tolist() == [*ids, SEPARATOR]


def test_sentences_begin_where_the_text_says(tokenizer, files, tmp_path):
    found = corpus.build(tmp_path, files[:1], tokenizer, SEPARATOR)
    whole = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    pieces = [
        whole.decode(found.tokens[a:b].tolist()) for a, b in zip(found.sentences, found.sentences[1:], strict=False)
    ]
    assert [piece.strip() for piece in pieces] == [piece.strip() for piece in texts.sentences(DOCUMENTS["a.txt"])]
    assert found.sentences[-1] == len(found.tokens)
    assert found.documents.tolist() == [0, len(pieces)]


def test_small_vocabularies_take_two_bytes_a_token(tokenizer, files, tmp_path):
    assert corpus.build(tmp_path, files, tokenizer, SEPARATOR).tokens.dtype == np.uint16


def test_the_same_files_are_not_tokenised_again(tokenizer, files, tmp_path, monkeypatch):
    first = corpus.build(tmp_path, files, tokenizer, SEPARATOR)
    monkeypatch.setattr(corpus, "_tokenised", lambda *_: pytest.fail("tokenised again"))
    again = corpus.build(tmp_path, files, tokenizer, SEPARATOR)
    assert (again.tokens == first.tokens).all()


def test_a_changed_text_or_setting_is_tokenised_again(tokenizer, files, tmp_path):
    before = len(corpus.build(tmp_path, files, tokenizer, SEPARATOR).tokens)
    assert len(corpus.build(tmp_path, files, tokenizer, SEPARATOR, spaced_every=1).tokens) > before
    changed = tmp_path / "a.txt"
    changed.write_text(DOCUMENTS["a.txt"].replace("old", "young"))
    found = corpus.build(tmp_path, [changed, *files[1:]], tokenizer, SEPARATOR)
    assert "young" in Tokenizer.from_file(str(tokenizer / "tokenizer.json")).decode(found.tokens[:60].tolist())


def test_a_run_killed_while_tokenising_starts_over(tokenizer, files, tmp_path, monkeypatch):
    whole = corpus.build(tmp_path, files, tokenizer, SEPARATOR).tokens.copy()
    with monkeypatch.context() as patch:
        save = np.save

        def killed(path, array):
            save(path, array)
            raise KeyboardInterrupt  # after the first array of another corpus

        patch.setattr(np, "save", killed)
        with pytest.raises(KeyboardInterrupt):
            corpus.build(tmp_path, files, tokenizer, SEPARATOR, spaced_every=1)
    assert (corpus.build(tmp_path, files, tokenizer, SEPARATOR).tokens == whole).all()


def test_one_page_of_so_many_is_set_apart():
    sentences = [f"Number {number}, please." for number in range(6 * corpus.PAGE)]
    spaced = [" ," in sentence for sentence in corpus._spaced(sentences, 3, first=1)]
    pages = np.array(spaced).reshape(6, corpus.PAGE)
    assert pages.all(axis=1).tolist() == [False, False, True, False, False, True]
    assert pages.any(axis=1).tolist() == pages.all(axis=1).tolist()


def test_files_without_text_are_refused(tokenizer, files, tmp_path):
    with pytest.raises(ValueError, match="1 files hold no text"):
        corpus.build(tmp_path, files[2:], tokenizer, SEPARATOR)

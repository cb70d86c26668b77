"""Preparation of the documents of the embedded model."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.embedded_model import texts
from roberta_core.data import corpus
from roberta_core.data.texts import split_sentences

WRAPPED = (
    "It is a truth universally acknowledged, that a single man in\n"
    "possession of a good fortune, must be in want of a wife.\n"
    "\n"
    "CHAPTER I\n"
    "Short lines\n"
    "stay.\n"
)


def test_wrapped_lines_are_joined_and_short_ones_are_kept():
    assert texts.join_lines(WRAPPED) == (
        "It is a truth universally acknowledged, that a single man in possession of a good fortune, must be in want of "
        "a wife.\n\nCHAPTER I\nShort lines\nstay.\n"
    )


def test_indented_lines_are_kept():
    code = "    value = some_function_with_a_long_name(argument, another)\nreturn_value = 1\n"
    assert texts.join_lines(code) == code


def test_sentences_do_not_end_after_titles():
    text = 'He came. "Who?" she said.\n\nMr. Bennet left! And then'
    assert texts.split_sentences(text) == ["He came.", ' "Who?" she said.', "\n\nMr. Bennet left!", " And then"]
    assert len(split_sentences(text)) == 5


@given(st.text(alphabet=st.sampled_from("ab AB.!?\n\"'”)(\tMr"), max_size=60))
def test_sentences_lose_only_whitespace_at_the_end(text):
    pieces = texts.split_sentences(text)
    assert text.startswith("".join(pieces))
    assert not text[len("".join(pieces)) :].strip()
    assert all(piece.strip() for piece in pieces)


def test_punctuation_is_spaced_as_in_wikitext():
    sentence = '\n\n"Well-known," he said (in 1,234 B.C.), "isn\'t it?"'
    expected = '\n\n" Well @-@ known , " he said ( in 1 @,@ 234 B.C. ) , " isn \'t it ? "'
    assert texts.space_punctuation(sentence) == expected


def test_markup_is_not_spaced():
    for sentence in (" Call ``f(x, y)``, then stop.", "\n\nTitle: one\nAuthor: two"):
        assert texts.space_punctuation(sentence) == sentence


def test_one_page_of_every_n_is_spaced():
    sentences = [f"Number {number}, please." for number in range(6 * texts.PAGE)]
    spaced = [" ," in sentence for sentence in texts.space_pages(sentences, 3, first=1)]
    pages = np.array(spaced).reshape(6, texts.PAGE)
    assert pages.all(axis=1).tolist() == [False, False, True, False, False, True]
    assert pages.any(axis=1).tolist() == pages.all(axis=1).tolist()


def test_only_training_documents_have_spaced_pages():
    text = "It was late, he said. " * 40
    assert texts.split_to_train(text, 0)[0] == "It was late , he said ."
    assert texts.split_to_train(text, 1) == texts.split_to_evaluate(text, 0) == corpus.split_in_sentences(text, 0)

"""FULL-SENTENCES packing."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from roberta_core.data.packing import STRETCH, assemble, build_blocks, pack, shuffle_blocks

SEPARATOR = 2


def corpus(*documents):
    """Return tokens and sentence starts of documents given as sentence lengths; each document ends with a separator."""
    tokens, starts = [], [0]
    for lengths in documents:
        for length in lengths:
            tokens += range(10 + len(tokens), 10 + len(tokens) + length)
            starts.append(len(tokens))
        tokens.append(SEPARATOR)
        starts[-1] += 1
    return np.array(tokens), np.array(starts)


def test_a_block_contains_as_many_whole_sentences_as_fit():
    tokens, starts = corpus([3, 4, 5, 2])
    assert pack(tokens, starts, 10, SEPARATOR).tolist() == [[0, 7], [7, 14]]


def test_a_block_crosses_documents_with_a_separator_between():
    tokens, starts = corpus([3], [4])
    assert pack(tokens, starts, 10, SEPARATOR).tolist() == [[0, 8]]
    assert tokens[3] == SEPARATOR


def test_a_separator_at_the_end_of_a_block_is_dropped():
    tokens, starts = corpus([8], [5])
    assert pack(tokens, starts, 10, SEPARATOR).tolist() == [[0, 8], [9, 14]]


def test_a_sentence_longer_than_a_block_is_split():
    tokens, starts = corpus([2, 19, 3])
    assert pack(tokens, starts, 10, SEPARATOR).tolist() == [[0, 2], [2, 10], [10, 18], [18, 24]]


@given(st.lists(st.lists(st.integers(1, 30), min_size=1, max_size=9), min_size=1, max_size=9), st.integers(3, 20))
def test_every_token_is_in_one_block_and_no_block_is_too_long(documents, length):
    tokens, starts = corpus(*documents)
    blocks = pack(tokens, starts, length, SEPARATOR)
    covered = np.zeros(len(tokens), int)
    for start, stop in blocks:
        assert 0 < stop - start <= length - 2
        assert tokens[start] != SEPARATOR
        assert tokens[stop - 1] != SEPARATOR
        covered[start:stop] += 1
    assert (covered[tokens != SEPARATOR] == 1).all()
    assert (covered <= 1).all()


def test_a_block_size_without_room_for_tokens_is_refused():
    with pytest.raises(ValueError, match="blocks of 2 tokens"):
        pack(*corpus([3]), 2, SEPARATOR)


def test_a_block_is_enclosed_by_special_tokens():
    ids = assemble(np.array([7, 8, 9], np.uint16), np.array([1, 3]), first=0, last=2)
    assert ids.tolist() == [0, 8, 9, 2]
    assert ids.dtype == np.int64


def test_every_epoch_has_every_block_once_in_a_different_order():
    lengths = np.arange(1000) % 37
    first, again, second = (shuffle_blocks(lengths, 5, epoch, 8) for epoch in (0, 0, 1))
    assert sorted(first) == list(range(1000))
    assert (first == again).all()
    assert (first != second).mean() > 0.9
    assert (first != shuffle_blocks(lengths, 6, 0, 8)).mean() > 0.9


def test_batches_have_blocks_of_similar_length_in_random_order():
    lengths = np.random.default_rng(0).integers(1, 100, 8 * STRETCH * 2)
    batches = lengths[shuffle_blocks(lengths, 0, 0, 8)].reshape(-1, 8)
    assert np.ptp(batches, axis=1).mean() < 4
    assert np.abs(np.diff(batches.mean(axis=1))).mean() > 20


DOCUMENTS = ([3, 4, 5, 2], [6, 1], [4, 4, 4, 4, 4], [19, 2])


def build_documents(*documents):
    tokens, starts = corpus(*documents)
    return tokens, starts, np.cumsum([0, *map(len, documents)])


def find_document(place, starts, documents):
    return int(np.searchsorted(starts[documents], place, "right")) - 1


def test_full_sentences_are_the_default():
    parts = build_documents(*DOCUMENTS)
    assert (build_blocks(*parts, 12, SEPARATOR) == pack(*parts[:2], 12, SEPARATOR)).all()


def test_doc_sentences_never_cross_a_document_and_keep_every_token():
    tokens, starts, documents = build_documents(*DOCUMENTS)
    blocks = build_blocks(tokens, starts, documents, 12, SEPARATOR, "doc-sentences")
    covered = np.zeros(len(tokens), int)
    for start, stop in blocks:
        covered[start:stop] += 1
        assert find_document(start, starts, documents) == find_document(stop - 1, starts, documents)
        assert stop - start <= 10
    assert (covered == (tokens != SEPARATOR)).all()
    crossing = build_blocks(tokens, starts, documents, 26, SEPARATOR)
    assert any(find_document(a, starts, documents) != find_document(b - 1, starts, documents) for a, b in crossing)


@pytest.mark.parametrize("form", ["segment-pair", "sentence-pair"])
def test_half_of_the_pairs_have_a_second_part_from_another_document(form):
    generator = np.random.default_rng(0)
    tokens, starts, documents = build_documents(*generator.integers(1, 9, (60, 20)).tolist())
    blocks = build_blocks(tokens, starts, documents, 40, SEPARATOR, form, seed=3)
    can_follow = ~np.isin(blocks[:, 1] + 1, starts[documents])  # otherwise nothing follows in the document
    assert 0.4 < blocks[can_follow, 4].mean() < 0.6
    for a, b, c, d, follows in blocks:
        assert b > a
        assert d > c
        assert (b - a) + (d - c) <= 36
        assert (c in (b, b + 1)) == bool(follows)
        assert (find_document(a, starts, documents) == find_document(c, starts, documents)) == bool(follows)
    if form == "sentence-pair":
        assert set(blocks[:, 0]) <= set(starts)
        assert all(stop in starts or stop + 1 in starts for stop in blocks[:, 1])
    assert (blocks == build_blocks(tokens, starts, documents, 40, SEPARATOR, form, seed=3)).all()
    assert len(blocks) != len(build_blocks(tokens, starts, documents, 40, SEPARATOR, form, seed=4))


def test_a_pair_is_enclosed_and_separated_by_special_tokens():
    assert assemble(np.arange(9), np.array([1, 3, 7, 9, 0]), first=0, last=2).tolist() == [0, 1, 2, 2, 2, 7, 8, 2]


def test_pairs_need_two_documents_and_known_formats():
    with pytest.raises(ValueError, match="needs at least two documents"):
        build_blocks(*build_documents([3]), 12, SEPARATOR, "segment-pair")
    with pytest.raises(ValueError, match="'words'; expected one of full-sentences"):
        build_blocks(*build_documents([3]), 12, SEPARATOR, "words")

"""Batches of masked blocks."""

import dataclasses

import numpy as np
import pytest

from roberta_core.data.batches import IGNORED, MaskedBlocks
from roberta_core.data.masking import Masking

LENGTH = 19
BLOCKS = np.array([[0, 5], [5, 22], [22, 30], [30, 41], [41, 44], [44, 60], [60, 71]])
TOKENS = np.arange(4, 75).astype(np.uint16)
DATA = MaskedBlocks(TOKENS, BLOCKS, Masking(101, 100), LENGTH, seed=3)


def restore(batch):
    """Return the ids before masking."""
    ids = batch["input_ids"].copy()
    rows, places = np.nonzero(batch["masked_labels"] != IGNORED)
    ids[rows, batch["masked_positions"][rows, places]] = batch["masked_labels"][rows, places]
    return ids


def test_labels_are_the_original_tokens_at_the_masked_positions():
    batch = next(DATA.iterate(7))
    ids = restore(batch)
    for row, (start, stop) in enumerate(BLOCKS):
        real = ids[row][batch["attention_mask"][row] == 1]
        assert real.tolist() == [0, *TOKENS[start:stop], 2]
        assert (ids[row][batch["attention_mask"][row] == 0] == 1).all()


def test_the_length_is_a_multiple_of_eight_or_the_longest():
    assert next(DATA.iterate(1))["input_ids"].shape == (1, 8)
    assert next(DATA.iterate(7))["input_ids"].shape == (7, LENGTH)


def test_unused_places_are_ignored():
    batch = next(DATA.iterate(7))
    assert batch["masked_labels"].shape == (7, DATA.masking.most(LENGTH))
    assert (batch["masked_positions"][batch["masked_labels"] == IGNORED] == 0).all()


def test_a_batch_depends_only_on_its_number():
    in_order = [DATA.batch(number, 2) for number in range(6)]
    again = dataclasses.replace(DATA).batch(4, 2)
    assert all((again[name] == in_order[4][name]).all() for name in again)


def test_every_epoch_has_every_block_once():
    firsts = [tuple(row[1:3]) for number in range(7) for row in restore(DATA.batch(number, 2))]
    assert sorted(firsts[:7]) == sorted(firsts[7:]) == sorted((TOKENS[a], TOKENS[a + 1]) for a, _ in BLOCKS)
    assert firsts[:7] != firsts[7:]


def test_a_block_is_masked_differently_in_each_epoch():
    chosen = []
    for epoch in range(4):
        batch = DATA.batch(epoch, 7)
        row = restore(batch)[:, 1].tolist().index(TOKENS[5])
        chosen.append(tuple(batch["masked_positions"][row]))
    assert len(set(chosen)) > 2


def test_iteration_can_be_limited():
    assert [len(batch["input_ids"]) for batch in DATA.iterate(2, limit=5)] == [2, 2, 1]


def test_a_corpus_without_a_block_is_refused():
    with pytest.raises(ValueError, match="fills no block"):
        dataclasses.replace(DATA, blocks=BLOCKS[:0])


def test_the_shards_of_a_batch_contain_the_whole_batch():
    whole = [row for number in range(3) for row in restore(DATA.batch(number, 4))]
    parts = [dataclasses.replace(DATA, shard=(part, 2)) for part in (0, 1)]
    split = [row for number in range(3) for part in parts for row in restore(part.batch(number, 2))]
    assert [row[row != 1].tolist() for row in whole] == [row[row != 1].tolist() for row in split]
    with pytest.raises(ValueError, match=r"shard is \(2, 2\)"):
        dataclasses.replace(DATA, shard=(2, 2))


def test_pairs_are_masked_and_restored_like_blocks():
    data = MaskedBlocks(TOKENS, np.array([[0, 5, 9, 12, 1], [5, 9, 30, 35, 0]]), Masking(101, 100), LENGTH, seed=3)
    ids = restore(data.batch(0, 2))
    assert sorted(len(row[row != 1]) for row in ids) == [12, 13]


def test_a_masking_rate_that_is_not_achieved_is_reported():
    assert DATA.describe_masking_rate() == ""
    starts = np.zeros(101, bool)
    starts[::5] = True
    tokens = np.tile(np.arange(5, 10, dtype=np.uint16), 40)  # words of five tokens in blocks of seven
    blocks = np.arange(0, 195, 5)[:, None] + [0, 5]
    data = MaskedBlocks(tokens, blocks, Masking(101, 100, starts=starts), LENGTH, seed=3)
    assert data.describe_masking_rate() == ""  # they do not fit, so their tokens are chosen
    few = MaskedBlocks(tokens, blocks, Masking(101, 100, rate=0.7, starts=starts), LENGTH, seed=3)
    assert "of the tokens are masked instead of 70.0% (in 39 blocks)" in few.describe_masking_rate()

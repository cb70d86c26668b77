"""The counting baselines."""

import dataclasses
import itertools

import numpy as np
import pytest

from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.tasks.metrics import score
from roberta_core.training.baselines import STRENGTHS, CommonestToken, NeighbourCounts, Table, count, stream

V, MASK = 12, 11
TOKENS = np.array([0, 5, 6, 7, 2, 0, 5, 6, 7, 2, 0, 5, 8, 7, 2, 0, 4, 6, 9, 2])


def batch(*rows):
    return {"input_ids": np.array(rows)}


def test_the_commonest_token_gets_its_share():
    log_probabilities = CommonestToken.count(np.array([4, 4, 4, 5]), 6)(batch([0]), np.array([0, 0]), np.array([0, 0]))
    assert np.exp(log_probabilities[1]) == pytest.approx(np.array([1, 1, 1, 1, 4, 2]) / 10)


def test_a_table_has_the_counts_of_each_context():
    table = Table(np.array([3, 3, 1, 3]), np.array([5, 6, 5, 5]), V)
    assert [found.tolist() for found in table.of(3)] == [[5, 6], [2, 1]]
    assert [found.tolist() for found in table.of(2)] == [[], []]


def test_counts_of_both_neighbours_are_mixed_with_their_prior():
    prior = np.full(V, 1 / V)
    smoothed = Table(np.array([3, 3, 1, 3]), np.array([5, 6, 5, 5]), V).smoothed(3, prior, strength=12.0)
    assert smoothed[[5, 6, 7]] == pytest.approx([3 / 15, 2 / 15, 1 / 15])


def test_the_token_seen_between_two_neighbours_is_expected_there():
    model = NeighbourCounts.count(TOKENS, V)
    assert model.between(5, 7).argmax() == 6
    assert model.between(0, 6).argmax() == 5


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("pair", [(5, 7), (MASK, 7), (5, MASK), (MASK, MASK), (9, 4)])
def test_every_distribution_sums_to_one_and_none_is_zero(pair, multiplied):
    distribution = dataclasses.replace(NeighbourCounts.count(TOKENS, V), multiplied=multiplied).between(*pair)
    assert distribution.sum() == pytest.approx(1.0)
    assert (distribution > 0).all()


def test_a_masked_neighbour_says_nothing():
    model = NeighbourCounts.count(TOKENS, V)
    assert model.between(MASK, MASK) == pytest.approx(model.shares)
    alone = model.right.smoothed(7, model.shares, model.pair_strength)
    assert model.between(MASK, 7) == pytest.approx((alone + model.shares) / 2)
    assert dataclasses.replace(model, multiplied=True).between(MASK, 7) == pytest.approx(alone)


def test_the_neighbours_of_each_position_are_looked_up():
    model = NeighbourCounts.count(TOKENS, V)
    found = model(batch([0, MASK, 6, 2], [5, MASK, 7, 2]), np.array([1, 0]), np.array([1, 1]))
    assert np.exp(found) == pytest.approx(np.stack([model.between(5, 7), model.between(0, 6)]))


def data(blocks, tokens=None):
    starts = np.arange(blocks) * 6
    tokens = np.random.default_rng(0).integers(4, MASK, blocks * 6) if tokens is None else tokens
    return MaskedBlocks(tokens, np.stack([starts, starts + 6], axis=1), Masking(V, MASK), 9, seed=0)


def test_the_stream_is_the_blocks_as_the_model_sees_them():
    blocks = data(2)
    assert stream(blocks).tolist() == [0, *blocks.tokens[:6], 2, 0, *blocks.tokens[6:], 2]


@pytest.mark.parametrize("multiplied", [False, True])
def test_the_strengths_are_chosen_on_blocks_that_are_not_counted(multiplied):
    blocks, special = data(300), (0, 1, 2, MASK)
    commonest, *both = count(blocks, special).values()
    neighbours = both[multiplied]
    assert neighbours.multiplied == multiplied
    assert neighbours.both.counts.sum() == 297 * 8 - 2
    assert commonest.shares is neighbours.shares
    aside = list(dataclasses.replace(blocks, blocks=blocks.blocks[99::100]).once(3))
    losses = {
        strengths: score(
            dataclasses.replace(neighbours, pair_strength=strengths[0], triple_strength=strengths[1]), aside, special
        ).loss
        for strengths in itertools.product(STRENGTHS, STRENGTHS)
    }
    assert min(losses, key=losses.__getitem__) == (neighbours.pair_strength, neighbours.triple_strength)
    assert len(set(losses.values())) == len(STRENGTHS) ** 2

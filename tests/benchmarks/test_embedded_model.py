"""Count-based baselines of the embedded model."""

import dataclasses
import itertools

import numpy as np
import pytest

from benchmarks.embedded_model.__main__ import score_baselines, select_counted
from benchmarks.embedded_model.baselines import (
    STRENGTHS,
    CommonestToken,
    NeighbourCounts,
    Table,
    fit_baselines,
    join_blocks,
)
from roberta_core import checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.parameters import draw
from roberta_core.tasks.metrics import score
from roberta_core.tokenization import train_tokenizer
from roberta_core.training.evaluation import Evaluation

V, MASK = 12, 11
TOKENS = np.array([0, 5, 6, 7, 2, 0, 5, 6, 7, 2, 0, 5, 8, 7, 2, 0, 4, 6, 9, 2])


def batch(*rows):
    return {"input_ids": np.array(rows)}


def test_the_commonest_token_has_its_relative_frequency():
    log_probabilities = CommonestToken.count(np.array([4, 4, 4, 5]), 6)(batch([0]), np.array([0, 0]), np.array([0, 0]))
    assert np.exp(log_probabilities[1]) == pytest.approx(np.array([1, 1, 1, 1, 4, 2]) / 10)


def test_a_table_has_the_counts_of_each_context():
    table = Table(np.array([3, 3, 1, 3]), np.array([5, 6, 5, 5]), V)
    assert [found.tolist() for found in table.look_up(3)] == [[5, 6], [2, 1]]
    assert [found.tolist() for found in table.look_up(2)] == [[], []]


def test_counts_of_both_neighbours_are_mixed_with_their_prior():
    prior = np.full(V, 1 / V)
    smoothed = Table(np.array([3, 3, 1, 3]), np.array([5, 6, 5, 5]), V).smooth(3, prior, strength=12.0)
    assert smoothed[[5, 6, 7]] == pytest.approx([3 / 15, 2 / 15, 1 / 15])


def test_the_token_seen_between_two_neighbours_is_expected_there():
    model = NeighbourCounts.count(TOKENS, V)
    assert model.predict_between(5, 7).argmax() == 6
    assert model.predict_between(0, 6).argmax() == 5


@pytest.mark.parametrize("multiplied", [False, True])
@pytest.mark.parametrize("pair", [(5, 7), (MASK, 7), (5, MASK), (MASK, MASK), (9, 4)])
def test_every_distribution_sums_to_one_and_none_is_zero(pair, multiplied):
    distribution = dataclasses.replace(NeighbourCounts.count(TOKENS, V), multiplied=multiplied).predict_between(*pair)
    assert distribution.sum() == pytest.approx(1.0)
    assert (distribution > 0).all()


def test_a_masked_neighbour_carries_no_information():
    model = NeighbourCounts.count(TOKENS, V)
    assert model.predict_between(MASK, MASK) == pytest.approx(model.shares)
    alone = model.right.smooth(7, model.shares, model.pair_strength)
    assert model.predict_between(MASK, 7) == pytest.approx((alone + model.shares) / 2)
    assert dataclasses.replace(model, multiplied=True).predict_between(MASK, 7) == pytest.approx(alone)


def test_the_neighbours_of_each_position_are_looked_up():
    model = NeighbourCounts.count(TOKENS, V)
    found = model(batch([0, MASK, 6, 2], [5, MASK, 7, 2]), np.array([1, 0]), np.array([1, 1]))
    assert np.exp(found) == pytest.approx(np.stack([model.predict_between(5, 7), model.predict_between(0, 6)]))


def data(blocks, tokens=None):
    starts = np.arange(blocks) * 6
    tokens = np.random.default_rng(0).integers(4, MASK, blocks * 6) if tokens is None else tokens
    return MaskedBlocks(tokens, np.stack([starts, starts + 6], axis=1), Masking(V, MASK), 9, seed=0)


def test_joined_blocks_have_their_special_tokens():
    blocks = data(2)
    assert join_blocks(blocks).tolist() == [0, *blocks.tokens[:6], 2, 0, *blocks.tokens[6:], 2]


@pytest.mark.parametrize("multiplied", [False, True])
def test_the_strengths_are_chosen_on_blocks_that_are_not_counted(multiplied):
    blocks, special = data(300), (0, 1, 2, MASK)
    commonest, *both = fit_baselines(blocks, special).values()
    neighbours = both[multiplied]
    assert neighbours.multiplied == multiplied
    assert neighbours.both.counts.sum() == 297 * 8 - 2
    assert commonest.shares is neighbours.shares
    aside = list(dataclasses.replace(blocks, blocks=blocks.blocks[99::100]).iterate(3))
    losses = {
        strengths: score(
            dataclasses.replace(neighbours, pair_strength=strengths[0], triple_strength=strengths[1]), aside, special
        ).loss
        for strengths in itertools.product(STRENGTHS, STRENGTHS)
    }
    assert min(losses, key=losses.__getitem__) == (neighbours.pair_strength, neighbours.triple_strength)
    assert len(set(losses.values())) == len(STRENGTHS) ** 2


SENTENCE = "The old man came to the sea. "
RECIPE = '[model]\nmax_position_embeddings = 19\n[data]\nsequence_length = 17\nheld_out = ["held.txt"]\n'


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name, count in (("a.txt", 300), ("b.txt", 90), ("held.txt", 40)):
        (folder / name).write_text(SENTENCE * count)
    size = train_tokenizer([folder / "a.txt"], 290, folder)
    config = RobertaConfig(
        vocab_size=size,
        hidden_size=12,
        num_hidden_layers=1,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=19,
    )
    checkpoints.save(folder, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM")))
    (folder / "recipe.toml").write_text(RECIPE)
    return folder


def evaluate(texts, *patterns, **settings):
    return Evaluation(str(texts), [str(texts / pattern) for pattern in patterns], **settings)


def test_baselines_are_not_counted_on_evaluated_or_held_out_documents(texts):
    evaluation = evaluate(texts, "b.txt", recipe=str(texts / "recipe.toml"))
    assert select_counted(evaluation, [str(texts / "[abh]*.txt")]) == [texts / "a.txt"]
    with pytest.raises(ValueError, match="nothing to count"):
        score_baselines(evaluation, [str(texts / "b.txt"), str(texts / "held.txt")])


def test_neighbour_counts_predict_better_than_the_commonest_token(texts):
    commonest, *neighbours = score_baselines(evaluate(texts, "held.txt"), [str(texts / "a.txt")]).values()
    assert len(neighbours) == 2
    assert all(score.accuracy > 0.6 > commonest.accuracy for score in neighbours)
    assert all(score.loss < commonest.loss for score in neighbours)

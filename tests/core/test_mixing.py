"""Corpora that are mixed with weights."""

from collections import Counter

import numpy as np
import pytest

from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.data.mixing import Mixture
from roberta_core.data.packing import shuffle_blocks
from roberta_core.training.recipe import Recipe, RecipeError

COUNTS, WEIGHTS = (10, 7, 0, 4), (2.0, 0.5, 3.0, 1.0)


def make_blocks(mixture=None, counts=COUNTS, length=16, **settings):
    starts = np.arange(sum(counts)) * (length - 2)
    blocks = np.stack([starts, starts + length - 2], 1)
    tokens = np.arange(sum(counts) * (length - 2)) % 900 + 4
    return MaskedBlocks(tokens, blocks, Masking(1000, 999), length, seed=3, mixture=mixture, **settings)


def test_an_epoch_has_each_corpus_as_often_as_its_weight():
    blocks, turns = Mixture(COUNTS, WEIGHTS, seed=0).draw(0)
    assert len(blocks) == len(Mixture(COUNTS, WEIGHTS, seed=0)) == 20 + 4 + 0 + 4
    assert Counter(blocks[:20].tolist()) == dict.fromkeys(range(10), 2)
    assert len(set(blocks[20:24].tolist())) == 4
    assert set(blocks[20:24].tolist()) <= set(range(10, 17))
    assert sorted(blocks[24:].tolist()) == [17, 18, 19, 20]
    assert turns[:20].tolist() == [0] * 10 + [1] * 10


def test_over_the_epochs_each_block_of_a_corpus_is_used_equally_often():
    mixture = Mixture((7,), (0.5,), seed=1)
    uses = Counter(block for epoch in range(7) for block in mixture.draw(epoch)[0].tolist())
    assert uses == dict.fromkeys(range(7), 4)
    first = [mixture.draw(0)[0].tolist(), Mixture((7,), (0.5,), seed=2).draw(0)[0].tolist()]
    assert first[0] != first[1]


def test_a_small_weight_leaves_a_block_of_each_epoch():
    assert Mixture((3,), (0.01,), seed=0).sizes == [1]


def test_batches_use_the_mixture_and_mask_each_use_differently():
    data = make_blocks(Mixture((4,), (2.0,), seed=3), counts=(4,))
    assert len(data) == 8
    batch = data.batch(0, 8)
    assert len({tuple(row) for row in batch["masked_positions"]}) > 4  # the two uses of a block have different masks
    first = Counter(int(row[1]) for row in restore(batch))
    assert first == dict.fromkeys([int(data.tokens[block[0]]) for block in data.blocks], 2)


def restore(batch):
    """Return the ids of a batch before masking."""
    ids = batch["input_ids"].copy()
    for row, places, labels in zip(ids, batch["masked_positions"], batch["masked_labels"], strict=True):
        row[places[labels != -100]] = labels[labels != -100]
    return ids


def test_processes_share_the_batches_of_a_mixture():
    mixture = Mixture(COUNTS, WEIGHTS, seed=3)
    whole = make_blocks(mixture)
    halves = [make_blocks(mixture, shard=(index, 2)) for index in range(2)]
    for number in (0, 5):
        rows = np.concatenate([half.batch(number, 2)["input_ids"] for half in halves])
        np.testing.assert_array_equal(rows, whole.batch(number, 4)["input_ids"])


def test_without_weights_the_order_is_that_of_the_shuffled_blocks():
    data, size = make_blocks(), 7
    for epoch in range(2):
        order = shuffle_blocks(np.full(sum(COUNTS), 14), 3, epoch, size)
        rows = np.concatenate([restore(data.batch(3 * epoch + number, size)) for number in range(3)])
        assert rows[:, 1].tolist() == data.tokens[data.blocks[order, 0]].tolist()


@pytest.mark.parametrize("weight", [0, -1, float("inf"), "2", True])
def test_a_wrong_weight_is_refused(weight):
    with pytest.raises(ValueError, match=r"the weight of a is .*; it must be a number above 0"):
        Recipe.from_dict({"data": {"weights": {"a": weight}}})


def test_weights_are_read_from_a_recipe_and_written_back(tmp_path):
    path = tmp_path / "recipe.toml"
    path.write_text("[data]\ndeduplicate = true\nweights = {news = 2, books = 0.5}\n")
    recipe = Recipe.load(path)
    assert recipe.data.weights == {"news": 2, "books": 0.5}
    assert Recipe.from_dict(recipe.to_dict()) == recipe
    path.write_text("[data]\nweights = 2\n")
    with pytest.raises(RecipeError, match="weights is 2; it must be of type dict"):
        Recipe.load(path)

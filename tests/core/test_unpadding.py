"""Which tokens of a padded batch a training step computes."""

import numpy as np
import pytest

from roberta_core.training.unpadding import find_rows, has_only_own_layers

MASK = np.array([[1, 1, 1, 0, 0], [1, 0, 1, 1, 0], [1, 0, 0, 0, 0]])
VISIBLE = {0, 1, 2, 5, 7, 8, 10}


def build(**targets):
    return {"input_ids": np.full_like(MASK, 9), "attention_mask": MASK, **targets}


def test_visible_tokens_are_computed():
    assert find_rows(build()).tolist() == sorted(VISIBLE)


@pytest.mark.parametrize("shape", [(1, 3, 5), (3, 1, 5)])
def test_choices_are_sequences_of_their_own(shape):
    batch = {name: array.reshape(shape) for name, array in build().items()}
    assert find_rows({**batch, "labels": np.zeros(shape[0], int)}).tolist() == find_rows(build()).tolist()


def test_a_hidden_token_with_a_label_is_computed_and_so_is_the_one_that_predicts_it():
    labels = np.full(MASK.shape, -100)
    labels[0, 4] = 3
    assert find_rows(build(labels=labels)).tolist() == sorted(VISIBLE | {3, 4})


def test_a_masked_position_that_is_hidden_is_computed_unless_it_only_fills_up():
    positions, labels = np.array([[3, 4], [1, 4], [2, 0]]), np.array([[6, -100], [-100, 7], [-100, -100]])
    found = find_rows(build(masked_positions=positions, masked_labels=labels))
    assert found.tolist() == sorted(VISIBLE | {3, 9})


@pytest.mark.parametrize(("wanted", "count"), [(7, 7), (8, 8), (12, 12), (14, 14)])
def test_padding_fills_the_rows_up(wanted, count):
    found = find_rows(build(), lambda number: wanted)
    assert len(found) == count
    assert sorted({*found}) == found.tolist()
    assert {*found} >= VISIBLE


@pytest.mark.parametrize(
    ("why", "batch"),
    [
        ("no padding", {"input_ids": MASK, "attention_mask": np.ones_like(MASK)}),
        ("a sequence without a visible token", {"input_ids": MASK, "attention_mask": MASK * [[1], [0], [1]]}),
        ("padding before a sequence", {"input_ids": MASK, "attention_mask": MASK[:, ::-1]}),
        ("a mask for each query", {"input_ids": MASK, "attention_mask": np.tril(np.ones((3, 5, 5), int))}),
        ("no mask", {"input_ids": MASK}),
        ("no ids", {"attention_mask": MASK}),
        ("an answer", build(start_positions=np.zeros(3, int), end_positions=np.zeros(3, int))),
    ],
)
def test_all_tokens_are_computed_where_the_loss_depends_on_them(why, batch):
    assert find_rows(batch) is None


def test_rows_that_fill_up_to_all_tokens_are_no_rows():
    assert find_rows(build(), lambda number: 15) is None
    assert find_rows(build(), lambda number: 100) is None


def test_a_layer_or_a_method_of_a_user_is_recognised():
    kinds = {name: type(name, (), {"forward": lambda self: None, "__module__": "roberta_pt.heads"}) for name in "ABC"}
    for kind in kinds.values():
        kind.forward.__module__ = "roberta_pt.heads"
    assert has_only_own_layers([*kinds.values(), list], "roberta_pt", (list,))
    assert not has_only_own_layers([*kinds.values(), list], "roberta_pt")
    assert not has_only_own_layers(kinds.values(), "roberta_tf")
    kinds["B"].forward = lambda self: None
    assert not has_only_own_layers(kinds.values(), "roberta_pt")

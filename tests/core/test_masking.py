"""Dynamic masking by fairseq's rule."""

import numpy as np
import pytest

from roberta_core.data.masking import FIRST, Masking

V, MASK = 101, 100
LENGTH = 40
MASKING = Masking(V, MASK)


def drawn(masking=MASKING, ids=None, count=3000):
    """Many maskings of one sequence: masked ids [count, LENGTH] and whether each position was chosen."""
    ids = np.arange(LENGTH) + FIRST if ids is None else ids
    masked, chosen = np.empty((count, len(ids)), int), np.zeros((count, len(ids)), bool)
    for index in range(count):
        masked[index], positions = masking.apply(ids, seed=1, epoch=0, index=index)
        chosen[index, positions] = True
    return masked, chosen


def test_the_number_is_the_rate_rounded_up_or_down_at_random():
    ids = np.arange(37) + FIRST  # 0.15 * 37 = 5.55
    counts = drawn(ids=ids)[1].sum(axis=1)
    assert set(counts) == {5, 6}
    assert counts.mean() == pytest.approx(5.55, abs=0.03)


def test_every_position_is_chosen_equally_often_the_special_ones_too():
    share = drawn()[1].mean(axis=0)
    assert share == pytest.approx(np.full(LENGTH, 0.15), abs=0.025)


def test_of_the_chosen_four_fifths_are_masked_a_tenth_stay_and_a_tenth_are_random():
    masked, chosen = drawn()
    ids = np.broadcast_to(np.arange(LENGTH) + FIRST, masked.shape)
    assert (masked[chosen] == MASK).mean() == pytest.approx(0.8 + 0.1 / (V - FIRST), abs=0.01)
    assert (masked[chosen] == ids[chosen]).mean() == pytest.approx(0.1 + 0.1 / (V - FIRST), abs=0.01)
    assert (masked[~chosen] == ids[~chosen]).all()


def test_random_tokens_are_any_but_the_first_four():
    masked, chosen = drawn(Masking(V, MASK, kept=0.0, random=1.0))
    assert set(masked[chosen]) == set(range(FIRST, V))


def test_seed_epoch_and_index_each_change_the_draw_and_nothing_else_does():
    ids = np.arange(LENGTH) + FIRST
    first = MASKING.apply(ids, 1, 2, 3)
    assert all((a == b).all() for a, b in zip(first, MASKING.apply(ids, 1, 2, 3), strict=True))
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        assert first[1].tolist() != MASKING.apply(ids, *other)[1].tolist()


def test_the_given_ids_stay_as_they_are():
    ids = np.arange(LENGTH) + FIRST
    MASKING.apply(ids, 0, 0, 0)
    assert ids.tolist() == list(range(FIRST, LENGTH + FIRST))


def test_the_most_positions_are_never_exceeded():
    assert MASKING.most(LENGTH) == 7 >= drawn()[1].sum(axis=1).max()


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0.0}, {"rate": 1.0}, {"kept": -0.1}, {"kept": 0.6, "random": 0.6}, {"mask_id": 3}, {"mask_id": V}],
)
def test_wrong_rates_and_ids_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must"):
        Masking(**{"vocab_size": V, "mask_id": MASK, **wrong})

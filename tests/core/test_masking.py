"""Dynamic masking with the rules of fairseq and transformers."""

import numpy as np
import pytest

from roberta_core.data.masking import FIRST, Masking, find_word_starts

V, MASK = 101, 100
LENGTH = 40
MASKING = Masking(V, MASK)


def draw_maskings(masking=MASKING, ids=None, count=3000):
    """Mask one sequence many times: masked ids [count, LENGTH] and whether each position is chosen."""
    ids = np.arange(LENGTH) + FIRST if ids is None else ids
    masked, chosen = np.empty((count, len(ids)), int), np.zeros((count, len(ids)), bool)
    for index in range(count):
        masked[index], positions = masking.apply(ids, seed=1, epoch=0, index=index)
        chosen[index, positions] = True
    return masked, chosen


def test_the_number_of_masks_is_rounded_up_or_down_at_random():
    ids = np.arange(37) + FIRST  # 0.15 * 37 = 5.55
    counts = draw_maskings(ids=ids)[1].sum(axis=1)
    assert set(counts) == {5, 6}
    assert counts.mean() == pytest.approx(5.55, abs=0.03)


def test_every_position_is_chosen_equally_often_including_special_tokens():
    share = draw_maskings()[1].mean(axis=0)
    assert share == pytest.approx(np.full(LENGTH, 0.15), abs=0.025)


def test_chosen_tokens_are_masked_kept_or_replaced_with_the_usual_shares():
    masked, chosen = draw_maskings()
    ids = np.broadcast_to(np.arange(LENGTH) + FIRST, masked.shape)
    assert (masked[chosen] == MASK).mean() == pytest.approx(0.8 + 0.1 / (V - FIRST), abs=0.01)
    assert (masked[chosen] == ids[chosen]).mean() == pytest.approx(0.1 + 0.1 / (V - FIRST), abs=0.01)
    assert (masked[~chosen] == ids[~chosen]).all()


def test_random_tokens_exclude_the_first_four():
    masked, chosen = draw_maskings(Masking(V, MASK, kept=0.0, random=1.0))
    assert set(masked[chosen]) == set(range(FIRST, V))


def test_masks_depend_only_on_seed_epoch_and_index():
    ids = np.arange(LENGTH) + FIRST
    first = MASKING.apply(ids, 1, 2, 3)
    assert all((a == b).all() for a, b in zip(first, MASKING.apply(ids, 1, 2, 3), strict=True))
    for other in ((0, 2, 3), (1, 0, 3), (1, 2, 0)):
        assert first[1].tolist() != MASKING.apply(ids, *other)[1].tolist()


def test_the_given_ids_are_not_changed():
    ids = np.arange(LENGTH) + FIRST
    MASKING.apply(ids, 0, 0, 0)
    assert ids.tolist() == list(range(FIRST, LENGTH + FIRST))


def test_the_maximum_number_of_positions_is_never_exceeded():
    assert MASKING.most(LENGTH) == 7 >= draw_maskings()[1].sum(axis=1).max()


@pytest.mark.parametrize(
    "wrong",
    [{"rate": 0.0}, {"rate": 1.0}, {"kept": -0.1}, {"kept": 0.6, "random": 0.6}, {"mask_id": 3}, {"mask_id": V}],
)
def test_wrong_rates_and_ids_are_refused(wrong):
    with pytest.raises(ValueError, match=r"must"):
        Masking(**{"vocab_size": V, "mask_id": MASK, **wrong})


def test_the_rule_of_transformers_skips_special_tokens_and_replaces_by_any_token():
    ids = np.concatenate([[0], np.arange(LENGTH - 2) + FIRST, [2]])
    masking = Masking(V, MASK, rule="transformers")
    masked, chosen = draw_maskings(masking, ids)
    assert not chosen[:, [0, -1]].any()
    assert chosen[:, 1:-1].mean() == pytest.approx(0.15, abs=0.005)
    counts = chosen.sum(axis=1)
    assert counts.std() == pytest.approx(np.sqrt(38 * 0.15 * 0.85), abs=0.1)  # each token is drawn separately
    assert counts.max() <= masking.most(LENGTH)
    assert (masked[chosen] == MASK).mean() == pytest.approx(0.8, abs=0.01)
    masked, chosen = draw_maskings(Masking(V, MASK, kept=0.0, random=1.0, rule="transformers"), ids)
    assert set(masked[chosen]) == set(range(V))


@pytest.mark.parametrize("rule", ["fairseq", "transformers"])
def test_words_are_masked_completely_or_not_at_all(rule):
    starts = np.arange(V) % 3 == 1  # words of three tokens
    ids = np.concatenate([[0], np.arange(36) + FIRST, [2]])
    masking = Masking(V, MASK, rule=rule, starts=starts)
    _, chosen = draw_maskings(masking, ids)
    words = chosen[:, 1:-1].reshape(len(chosen), -1, 3)
    assert (words.all(axis=2) == words.any(axis=2)).all()
    assert chosen.sum(axis=1).max() <= masking.most(len(ids))
    share = words.any(axis=2).mean(axis=0)
    assert share == pytest.approx(np.full(12, share.mean()), abs=0.03)
    assert 0.09 < chosen.mean() < 0.15


def test_a_text_without_spaces_is_masked_at_the_same_rate():
    ids = np.concatenate([[0], np.arange(38) + FIRST, [2]])
    starts = np.zeros(V, bool)
    starts[FIRST] = True  # one word
    _, chosen = draw_maskings(Masking(V, MASK, rule="fairseq", starts=starts), ids)
    assert chosen.mean() == pytest.approx(0.15, abs=0.01)
    starts[[FIRST, FIRST + 3, FIRST + 35]] = True  # a long word between short ones, which are not divided
    _, chosen = draw_maskings(Masking(V, MASK, rule="fairseq", starts=starts), ids)
    assert chosen.mean() == pytest.approx(0.15, abs=0.02)
    assert (chosen[:, 1:4].all(axis=1) == chosen[:, 1:4].any(axis=1)).all()


def test_static_masking_repeats_after_its_copies():
    ids = np.arange(LENGTH) + FIRST
    masking = Masking(V, MASK, copies=3)
    drawn_in = [masking.apply(ids, 1, epoch, 0)[1].tolist() for epoch in range(6)]
    assert drawn_in[:3] == drawn_in[3:]
    assert len({tuple(positions) for positions in drawn_in}) == 3


def test_words_begin_with_a_space():
    vocabulary = {"<s>": 0, "\u0120the": 1, "se": 2, "\u0120": 3}
    assert find_word_starts(vocabulary, 5).tolist() == [False, True, False, True, False]


@pytest.mark.parametrize("wrong", [{"rule": "bert"}, {"copies": -1}])
def test_unknown_rules_are_refused(wrong):
    with pytest.raises(ValueError, match="mask"):
        Masking(V, MASK, **wrong)

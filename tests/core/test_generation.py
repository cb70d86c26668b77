import itertools

import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_core.generation import Settings, generate
from roberta_core.generation.scores import apply_constraints, draw_tokens, log_softmax, warp

VOCABULARY, EOS, PAD = 7, 2, 1
TABLE = np.random.default_rng(0).normal(0, 2, (VOCABULARY, VOCABULARY, VOCABULARY))


class Pairs:
    """A model whose next token depends on the last two tokens."""

    def __init__(self, table=TABLE):
        self.table, self.calls = table, 0

    def start(self, input_ids, attention_mask, new_tokens):
        self.last, self.room = input_ids[:, -2:], new_tokens
        return self.table[self.last[:, 0], self.last[:, 1]]

    def step(self, tokens):
        self.calls += 1
        assert self.calls < self.room
        self.last = np.stack([self.last[:, 1], tokens], axis=1)
        return self.table[self.last[:, 0], self.last[:, 1]]

    def reorder(self, rows):
        self.last = self.last[rows]


PROMPTS = np.array([[0, 5, 3], [1, 0, 6]])
MASK = np.array([[1, 1, 1], [0, 1, 1]])


def run(prompts=PROMPTS, mask=MASK, table=TABLE, longest=50, **arguments):
    return generate(Pairs(table), prompts, mask, Settings(**{"pad_token_id": PAD, **arguments}), longest)


def compute_likelihood(tokens, prompt, table=TABLE):
    """Return the log-probability of tokens after a prompt by its definition."""
    history, total = list(prompt), 0.0
    for token in tokens:
        total += log_softmax(table[history[-2], history[-1]][None])[0, token]
        history.append(token)
    return total


def test_greedy_search_selects_the_best_token_in_each_step():
    sequences = run(max_new_tokens=5).sequences
    assert sequences.shape == (2, 8)
    np.testing.assert_array_equal(sequences[:, :3], PROMPTS)
    for row in sequences:
        for index in range(3, 8):
            assert row[index] == TABLE[row[index - 2], row[index - 1]].argmax()


def test_lengths_are_counted_as_in_transformers():
    assert run(max_length=9).sequences.shape[1] == 9
    assert run(max_length=4, max_new_tokens=6).sequences.shape[1] == 9
    assert run().sequences.shape[1] == 20
    with pytest.raises(ValueError, match="prompt has 3 tokens and max_length is 3"):
        run(max_length=3)
    with pytest.raises(ValueError, match="3 tokens and 8 new ones exceed the 10"):
        run(max_new_tokens=8, longest=10)


def test_a_finished_row_is_padded():
    table = TABLE.copy()
    table[:, :, EOS] = -50
    table[6, :, EOS] = 50  # the second prompt ends at its second new token
    sequences = run(table=table, max_new_tokens=6, eos_token_id=EOS).sequences
    assert sequences[1, 4:].tolist() == [EOS, PAD, PAD, PAD, PAD]
    assert EOS not in sequences[0]


def test_decoding_stops_when_every_row_is_finished():
    table = np.zeros_like(TABLE)
    table[:, :, EOS] = 9
    assert run(table=table, max_new_tokens=10, eos_token_id=EOS).sequences.shape == (2, 4)
    assert run(table=table, max_new_tokens=10, eos_token_id=EOS, min_new_tokens=3).sequences.shape == (2, 7)
    assert run(table=table, max_new_tokens=10).sequences.shape == (2, 13)


def test_sampling_depends_only_on_the_seed():
    one, again, other = (run(do_sample=True, max_new_tokens=30, seed=seed).sequences for seed in (4, 4, 5))
    np.testing.assert_array_equal(one, again)
    assert (one != other).any()


def test_tokens_are_sampled_with_their_probabilities():
    chances = np.array([0.5, 0.0, 0.3, 0.2])
    with np.errstate(divide="ignore"):
        tokens = draw_tokens(np.tile(np.log(chances), (20_000, 1)), np.random.default_rng(0))
    np.testing.assert_allclose(np.bincount(tokens, minlength=4) / 20_000, chances, atol=0.01)


def test_temperature_top_k_and_top_p_narrow_the_choice():
    scores = np.log([[0.4, 0.3, 0.2, 0.1]])
    settings = {"top_k": 0}
    np.testing.assert_allclose(warp(scores, Settings(temperature=0.5, **settings)), scores * 2)
    assert np.isfinite(warp(scores, Settings(top_k=2))).tolist() == [[True, True, False, False]]
    assert np.isfinite(warp(scores, Settings(top_p=0.6, **settings))).tolist() == [[True, True, False, False]]
    assert np.isfinite(warp(scores, Settings(top_p=0.01, **settings))).tolist() == [[True, False, False, False]]


def test_the_repetition_penalty_works_for_both_signs_of_scores():
    scores = np.array([[2.0, -2.0, 3.0, 1.0]])
    got = apply_constraints(scores, np.array([[0, 1, 1]]), 0, Settings(repetition_penalty=2.0))
    np.testing.assert_array_equal(got, [[1.0, -4.0, 3.0, 1.0]])


def test_no_ngram_is_repeated():
    sequence = np.array([[4, 5, 6, 4, 5]])
    scores = apply_constraints(np.zeros((1, 7)), sequence, 0, Settings(no_repeat_ngram_size=3))
    assert np.flatnonzero(np.isinf(scores[0])).tolist() == [6]
    long = run(max_new_tokens=20, no_repeat_ngram_size=2).sequences[0].tolist()
    pairs = list(itertools.pairwise(long))
    assert len(pairs) == len(set(pairs))


def test_wide_beams_find_the_best_of_all_sequences():
    made = 3
    every = list(itertools.product(range(VOCABULARY), repeat=made))
    output = run(max_new_tokens=made, num_beams=49)
    for row, prompt in enumerate(PROMPTS):
        best = max(every, key=lambda tokens: compute_likelihood(tokens, prompt))
        assert tuple(output.sequences[row, 3:]) == best
        assert output.sequences_scores[row] == pytest.approx(compute_likelihood(best, prompt) / made, rel=1e-5)


def test_beam_scores_of_finished_sequences_are_normalised_by_length():
    def best(penalty):
        every = [
            tokens
            for made in (1, 2, 3)
            for tokens in itertools.product(range(VOCABULARY), repeat=made)
            if EOS not in tokens[:-1] and (tokens[-1] == EOS or made == 3)
        ]
        return max(every, key=lambda tokens: compute_likelihood(tokens, PROMPTS[0]) / len(tokens) ** penalty)

    for penalty in (0.0, 1.0, 3.0):
        sequences = run(
            PROMPTS[:1], MASK[:1], max_new_tokens=3, num_beams=40, eos_token_id=EOS, length_penalty=penalty
        ).sequences
        want = best(penalty)
        assert tuple(sequences[0, 3 : 3 + len(want)]) == want


def test_one_beam_equals_greedy_and_more_beams_are_not_worse():
    greedy = run(max_new_tokens=4).sequences
    scores = [run(max_new_tokens=4, num_beams=beams).sequences_scores for beams in (2, 5, 20)]
    alone = [compute_likelihood(row[3:], row[:3]) / 4 for row in greedy]
    assert (scores[0] >= np.array(alone) - 1e-5).all()
    assert (scores[2] >= scores[1] - 1e-5).all()


def test_several_sequences_of_a_prompt_are_returned():
    beams = run(max_new_tokens=3, num_beams=4, num_return_sequences=3)
    assert beams.sequences.shape == (6, 6)
    assert len({tuple(row) for row in beams.sequences[:3]}) == 3
    assert (np.diff(beams.sequences_scores[:3]) <= 0).all()
    sampled = run(max_new_tokens=20, num_return_sequences=2, do_sample=True).sequences
    np.testing.assert_array_equal(sampled[:, :3], PROMPTS[[0, 0, 1, 1]])
    assert (sampled[0] != sampled[1]).any()


def test_scores_and_steps_are_returned_on_request():
    seen = []
    output = run(max_new_tokens=4, output_scores=True, streamer=seen.append)
    np.testing.assert_array_equal(np.stack(seen, axis=1), output.sequences[:, 3:])
    assert len(output.scores) == 4
    np.testing.assert_array_equal(output.scores[0].argmax(axis=1), output.sequences[:, 3])
    assert run(max_new_tokens=4).scores is None


def test_a_prompt_padded_on_the_right_is_refused():
    with pytest.raises(ValueError, match="prompt 1 ends in padding; pad prompts on the left"):
        run(mask=np.array([[1, 1, 1], [1, 1, 0]]))


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"max_new_tokens": 0}, "max_new_tokens is 0"),
        ({"temperature": 0.0}, "temperature is 0.0"),
        ({"top_p": 1.5}, "top_p is 1.5"),
        ({"top_k": -1}, "top_k is -1"),
        ({"num_beams": 2, "do_sample": True}, "beam search does not sample"),
        ({"num_return_sequences": 3, "num_beams": 2}, "num_return_sequences is 3"),
        ({"num_beams": 2, "streamer": print}, "a streamer"),
    ],
)
def test_wrong_settings_are_refused(arguments, sentence):
    with pytest.raises(ValueError, match=sentence):
        Settings(**arguments)


def test_settings_take_special_tokens_from_the_model():
    settings = Settings.from_arguments(RobertaConfig(eos_token_id=5), {"max_new_tokens": 3})
    assert (settings.eos_token_id, settings.pad_token_id) == (5, 1)
    with pytest.raises(TypeError, match="generate has no argument max_tokens"):
        Settings.from_arguments(RobertaConfig(), {"max_tokens": 3})

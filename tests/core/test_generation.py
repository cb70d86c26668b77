import itertools

import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_core.generation import Settings, generate, is_output_requested, wrap_callbacks
from roberta_core.generation.scores import apply_constraints, draw_tokens, log_softmax, warp
from roberta_core.generation.settings import UNSUPPORTED
from roberta_core.model_methods import compute_transition_scores

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


def test_several_tokens_can_end_a_text():
    plain = run(max_new_tokens=6).sequences
    ends = [int(plain[0, 4]), int(plain[1, 5])]
    found = run(max_new_tokens=6, eos_token_id=ends).sequences
    for row, text in zip(found, plain, strict=True):
        stop = next(index for index in range(3, 9) if text[index] in ends) + 1
        np.testing.assert_array_equal(row[:stop], text[:stop])
        assert (row[stop:] == PAD).all()
    np.testing.assert_array_equal(run(max_new_tokens=4, eos_token_id=np.array([EOS])).sequences,
                                  run(max_new_tokens=4, eos_token_id=EOS).sequences)  # fmt: skip
    kept = run(max_new_tokens=4, min_new_tokens=4, eos_token_id=ends).sequences[:, 3:]
    assert not np.isin(kept, ends).any()
    with pytest.raises(ValueError, match="eos_token_id is 'a'; it must be one or several token ids"):
        Settings(eos_token_id="a")


def test_beams_may_end_with_several_tokens():
    settings = {"num_beams": 2, "max_new_tokens": 3, "eos_token_id": [2, 3, 4]}
    found = run(**settings)
    best = max(
        compute_likelihood(tokens, PROMPTS[0]) / len(tokens) for tokens in list_endings(settings["eos_token_id"])
    )
    assert found.sequences_scores[0] <= best + 1e-6
    row = found.sequences[0][3:]
    row = row[: next((index + 1 for index, token in enumerate(row) if token in (2, 3, 4)), 3)]
    assert compute_likelihood(row, PROMPTS[0]) / len(row) == pytest.approx(found.sequences_scores[0], abs=1e-5)


def list_endings(ends):
    """Every text of up to three tokens that ends where the first of `ends` occurs, or has three tokens."""
    for size in (1, 2, 3):
        for tokens in itertools.product(range(VOCABULARY), repeat=size):
            if not set(tokens[:-1]) & {*ends} and (size == 3 or tokens[-1] in ends):
                yield tokens


def test_without_a_number_of_candidates_every_token_is_kept():
    scores = np.arange(7.0)[None]
    np.testing.assert_array_equal(warp(scores, Settings(top_k=None)), warp(scores, Settings(top_k=0)))
    assert np.isinf(warp(scores, Settings(top_k=2))).sum() == 5


def test_the_caller_changes_scores_and_stops_rows():
    calls = []

    def process(sequences, scores):
        calls.append(sequences.shape)
        return np.where(np.arange(VOCABULARY) == 4, 100.0, scores)

    found = run(max_new_tokens=3, logits_processor=process).sequences
    assert (found[:, 3:] == 4).all()
    assert calls == [(2, 3), (2, 4), (2, 5)]
    seen = []

    def stop(sequences, scores):
        seen.append(scores)
        return np.array([sequences.shape[1] == 4, False])

    found = run(max_new_tokens=3, logits_processor=process, stopping_criteria=stop, output_scores=True).sequences
    np.testing.assert_array_equal(found[:, 3:], [[4, PAD, PAD], [4, 4, 4]])
    assert [len(one) for one in seen] == [1, 2, 3]
    with pytest.raises(ValueError, match="stopping_criteria cannot be used with beams"):
        Settings(num_beams=2, stopping_criteria=stop)


@pytest.mark.parametrize("settings", [{}, {"num_beams": 2}, {"do_sample": True, "num_return_sequences": 2}])
def test_only_the_allowed_tokens_are_chosen(settings):
    allowed = {0: [3, 5], 1: [6]}
    prompts = []

    def choose(prompt, sequence):
        prompts.append((prompt, sequence[0]))
        return allowed[prompt]

    found = run(max_new_tokens=3, prefix_allowed_tokens_fn=choose, **settings).sequences[:, 3:]
    rows = len(found) // 2
    assert {*found[:rows].flatten()} <= {3, 5}
    assert {*found[rows:].flatten()} == {6}
    assert {*prompts} == {(0, 0), (1, 1)}
    with pytest.raises(ValueError, match=r"prefix_allowed_tokens_fn allows no token after \[0, 5, 3\]"):
        run(max_new_tokens=1, prefix_allowed_tokens_fn=lambda prompt, sequence: [])


def test_callbacks_receive_tensors_and_may_be_lists():
    config = RobertaConfig()
    given = wrap_callbacks(
        {
            "logits_processor": [lambda ids, scores, length: scores + length, lambda ids, scores, length: scores * 2],
            "stopping_criteria": lambda ids, scores: scores is None and ids[0][0] == 5,
            "prefix_allowed_tokens_fn": lambda prompt, ids: ids,
            "seed": 3,
        },
        lambda array: array.tolist() if array.dtype.kind == "i" else array,
        np.asarray,
        with_length=True,
    )
    settings = Settings.from_arguments(config, given)
    ids = np.array([[5, 6]])
    assert settings.logits_processor(ids, np.zeros((1, 3))).tolist() == [[4.0, 4.0, 4.0]]
    assert settings.stopping_criteria(ids, None).tolist() == [True]
    assert settings.prefix_allowed_tokens_fn(0, ids[0]) == [5, 6]
    assert wrap_callbacks({"logits_processor": None}, list) == {}
    with pytest.raises(TypeError, match="logits_processor must be a function or a list of functions, not 3"):
        wrap_callbacks({"logits_processor": 3}, list)


class Options:
    """A `GenerationConfig` as far as it is read."""

    return_dict_in_generate = True

    def __init__(self, **fields):
        self.fields = fields

    def to_diff_dict(self):
        return {"transformers_version": "4.57.6", "bos_token_id": 0, **self.fields}


def test_options_may_be_given_as_a_generation_config():
    config = RobertaConfig()
    options = Options(max_new_tokens=3, eos_token_id=[2, 3])
    found = Settings.from_arguments(config, {"generation_config": options, "max_new_tokens": 4, "trace": False})
    assert (found.max_new_tokens, found.ends) == (4, (2, 3))
    assert Settings.from_arguments(config, {"generation_config": {"top_k": None}}).top_k is None
    with pytest.raises(ValueError, match="generation_config sets typical_p, which generate lacks"):
        Settings.from_arguments(config, {"generation_config": Options(typical_p=0.5)})
    with pytest.raises(TypeError, match="generation_config must be a GenerationConfig or a dict, not int"):
        Settings.from_arguments(config, {"generation_config": 3})
    found = [{}, {"generation_config": options}, {"generation_config": {"return_dict_in_generate": True}}]
    assert [is_output_requested(one) for one in found] == [False, True, True]
    assert not is_output_requested({"generation_config": options, "return_dict_in_generate": False})


@pytest.mark.parametrize("name", UNSUPPORTED)
def test_an_option_that_is_not_supported_is_refused_with_advice(name):
    with pytest.raises(ValueError, match=f"{name}='x' is not supported: .{{20}}"):
        Settings.from_arguments(RobertaConfig(), {name: "x"})
    assert Settings.from_arguments(RobertaConfig(), {name: None}) == Settings.from_arguments(RobertaConfig(), {})


def test_a_seed_may_be_several_numbers():
    one, other = (run(max_new_tokens=5, do_sample=True, seed=seed).sequences for seed in ([0, 7], [0, 8]))
    assert (one != other).any()
    np.testing.assert_array_equal(one, run(max_new_tokens=5, do_sample=True, seed=(0, 7)).sequences)
    with pytest.raises(ValueError, match=r"seed is .*; it must be an integer of at least 0"):
        Settings(seed=[-1, 3])


def test_the_scores_of_beams_follow_from_their_tokens():
    found = run(num_beams=3, num_return_sequences=2, max_new_tokens=4, eos_token_id=EOS, output_scores=True)
    parts = compute_transition_scores(
        found.sequences, np.stack(found.scores), found.beam_indices, normalize_logits=False
    )
    sizes = (found.beam_indices >= 0).sum(axis=1)
    np.testing.assert_allclose(parts.sum(axis=1) / sizes, found.sequences_scores, rtol=1e-5)

import numpy as np
import pytest

from roberta_core import RobertaConfig
from roberta_core.outputs import MaskedLMOutput
from roberta_core.tasks.fill_mask import fill_mask, softmax

VOCABULARY = 11
PAD, START, END, MASK = 1, 0, 2, 10
CONFIG = RobertaConfig(vocab_size=VOCABULARY, hidden_size=12, num_attention_heads=3, max_position_embeddings=19)


class LetterTokenizer:
    """A tokenizer with the tokens a to f and the mask `_`, which pads on the left by default."""

    mask_token, mask_token_id, pad_token_id, unk_token_id = "_", MASK, PAD, 3

    def __init__(self, left: bool = False):
        self.padding_side = "left" if left else "right"

    def __len__(self):
        return VOCABULARY

    def __call__(self, text, **options):
        return {"input_ids": self.ids(text) if isinstance(text, str) else [self.ids(one) for one in text]}

    def ids(self, text):
        return [START, *(MASK if letter == "_" else 3 + "abcdef".index(letter) for letter in text), END]

    def decode(self, ids):
        return "".join("<#>abcdefg_"[one] for one in ids)


class NextLetterBackend:
    """A backend that scores the letter after the one before the mask with 2, the next with 1, and counts its calls."""

    calls = 0
    scores = (2.0, 1.0)

    def run(self, model, inputs, **options):
        self.calls += 1
        ids = inputs["input_ids"]
        logits = np.zeros((*ids.shape, VOCABULARY), np.float32)
        for row, column in np.argwhere(ids == MASK):
            for step, score in enumerate(self.scores, 1):
                logits[row, column, ids[row, column - 1] + step] = score
        return MaskedLMOutput(logits=logits)


class Model:
    config = CONFIG


def fill(texts, *, left=False, top_k=2, backend=None, budget=None):
    return fill_mask(backend or NextLetterBackend(), Model(), LetterTokenizer(left), texts, top_k, budget)


@pytest.mark.parametrize("left", [False, True])
def test_each_mask_is_read_at_its_position_with_any_padding(left):
    answers = fill(["ab_d", "c_ab_"], left=left)
    assert [(one.text, one.position) for one in answers] == [(0, 3), (1, 2), (1, 5)]
    assert [[candidate.token for candidate in one.candidates] for one in answers] == [
        ["c", "d"],
        ["d", "e"],
        ["c", "d"],
    ]


def test_the_sequence_has_the_token_only_at_its_mask():
    assert [one.candidates[0].sequence for one in fill(["a_c_"])] == ["abc_", "a_cd"]


def test_probabilities_are_those_of_the_softmax():
    (answer,) = fill(["a_"])
    total = np.exp(2) + np.exp(1) + VOCABULARY - 2
    assert [one.probability for one in answer.candidates] == pytest.approx([np.exp(2) / total, np.exp(1) / total])


def test_ties_are_sorted_by_id():
    backend = NextLetterBackend()
    backend.scores = (0.0, 0.0)
    (answer,) = fill(["a_"], top_k=3, backend=backend)
    assert [one.token_id for one in answer.candidates] == [0, 1, 2]


def test_many_texts_are_run_in_batches():
    backend = NextLetterBackend()
    answers = fill(["a_"] * 33, backend=backend, budget=16 * len("<a_>"))
    assert backend.calls == 3
    assert [one.text for one in answers] == list(range(33))


def test_no_text_gives_no_prediction():
    assert fill([]) == []


@pytest.mark.parametrize("score", [float("nan"), float("inf")])
def test_scores_that_are_not_finite_are_refused(score):
    backend = NextLetterBackend()
    backend.scores = (score, 1.0)
    with pytest.raises(ValueError, match="not finite"):
        fill(["a_"], backend=backend)


@pytest.mark.parametrize("top_k", [-1, 0, VOCABULARY + 1])
def test_a_top_k_outside_the_vocabulary_is_refused(top_k):
    with pytest.raises(ValueError, match=f"top_k is {top_k}, but the vocabulary has {VOCABULARY}"):
        fill(["a_"], top_k=top_k)


def test_a_text_without_a_mask_is_refused():
    with pytest.raises(ValueError, match=r"No mask_token \(_\) found on the input 'abc': write _ where"):
        fill(["a_", "abc"])


def test_a_text_that_is_too_long_is_refused():
    with pytest.raises(ValueError, match=r"has 18 tokens, but the model accepts at most 17: shorten it$"):
        fill(["_" + "a" * 15])


def test_the_softmax_of_large_scores_is_finite():
    assert softmax(np.array([1e4, 1e4], np.float32)).tolist() == [0.5, 0.5]

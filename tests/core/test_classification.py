import numpy as np
import pytest

from roberta_core import RobertaTokenizerFast
from roberta_core.config import RobertaConfig
from roberta_core.outputs import SequenceClassifierOutput
from roberta_core.tasks.classification import build_task, classify
from roberta_core.tasks.features import Feature, split_outputs

TEXTS = ["A door.", "She opened the door and went in. " * 9, "", "No", "It was the best of times."]


class CountingBackend:
    """A backend that scores a text by its number of real tokens and records its inputs."""

    def __init__(self, **settings):
        self.config, self.calls = RobertaConfig(**{"num_labels": 2, "max_position_embeddings": 34, **settings}), []

    def run(self, model, inputs):
        self.calls.append(inputs)
        count = inputs["attention_mask"].sum(1)[:, None]
        labels = np.arange(self.config.num_labels)
        return SequenceClassifierOutput(logits=np.float32(count * (labels + 1) / 10))


@pytest.fixture(scope="module")
def tokenizer():
    return RobertaTokenizerFast.from_pretrained("roberta-tiny")


def test_answers_are_in_order_for_every_batch_size(tokenizer):
    found = []
    for budget in (1, 40, 10_000, None):
        backend = CountingBackend()
        found.append(list(classify(backend, backend, tokenizer, TEXTS, budget)))
    lengths = [min(32, len(tokenizer(text)["input_ids"])) for text in TEXTS]
    for answers in found:
        assert [answer.truncated for answer in answers] == [False, True, False, False, False]
        for answer, length in zip(answers, lengths, strict=True):
            assert answer.label == "LABEL_1"
            assert answer.score == pytest.approx(1 / (1 + np.exp(-length / 10)))
            assert sum(answer.scores.values()) == pytest.approx(1)


def test_pairs_are_read_together(tokenizer):
    backend = CountingBackend()
    (answer,) = classify(backend, backend, tokenizer, [("A door.", "Open it.")], 100)
    (ids,) = backend.calls[0]["input_ids"]
    assert ids.tolist() == tokenizer("A door.", "Open it.")["input_ids"]
    assert not answer.truncated


def test_pads_are_masked(tokenizer):
    backend = CountingBackend()
    list(classify(backend, backend, tokenizer, TEXTS, 10_000))
    (call,) = backend.calls
    np.testing.assert_array_equal(call["attention_mask"], call["input_ids"] != tokenizer.pad_token_id)
    assert call["attention_mask"].min() == 0


def decode(config, logits, truncated=False):
    """Decode logits [K] with the task of a configuration."""
    feature = Feature([0, 2], {}, 0, truncated)
    (answer,) = build_task(None, config).decode([None], [feature], split_outputs({"logits": logits[None]}, 1))
    return answer


def test_a_pad_token_in_the_text_is_not_masked(tokenizer):
    backend = CountingBackend()
    list(classify(backend, backend, tokenizer, ["A <pad> door."], 100))
    assert tokenizer.pad_token_id in backend.calls[0]["input_ids"]
    assert backend.calls[0]["attention_mask"].min() == 1


@pytest.mark.parametrize(
    ("settings", "kind", "scores"),
    [
        ({"num_labels": 2}, "single_label_classification", [0.5, 0.5]),
        ({"num_labels": 1}, "regression", [0.0]),
        ({"num_labels": 2, "problem_type": "multi_label_classification"}, "multi_label_classification", [0.5, 0.5]),
        ({"num_labels": 2, "problem_type": "regression"}, "regression", [0.0, 0.0]),
    ],
)
def test_scores_follow_the_problem_type_of_the_checkpoint(settings, kind, scores):
    config = RobertaConfig(**settings)
    assert build_task(None, config).problem_type == kind
    assert list(decode(config, np.zeros(config.num_labels, np.float32)).scores.values()) == scores


def test_labels_have_the_names_of_the_configuration():
    config = RobertaConfig(id2label={0: "bad", 1: "good"})
    answer = decode(config, np.float32([3, 1]), True)
    assert (answer.label, list(answer.scores), answer.truncated) == ("bad", ["bad", "good"], True)


def test_scores_that_are_not_finite_are_refused():
    with pytest.raises(ValueError, match="weights are broken"):
        decode(RobertaConfig(), np.float32([0, np.nan]))

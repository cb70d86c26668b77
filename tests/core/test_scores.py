"""The scores of models and baselines."""

import math

import numpy as np
import pytest

from roberta_core.tasks.metrics import score

BATCH = {
    "input_ids": np.array([[0, 9, 5, 2], [0, 9, 9, 2]]),
    "masked_positions": np.array([[1, 0], [1, 3]]),
    "masked_labels": np.array([[7, -100], [5, 2]]),
}


def build_constant(token, probability=0.5, size=10):
    def predict(batch, rows, columns):
        probabilities = np.full((len(rows), size), (1 - probability) / (size - 1))
        probabilities[:, token] = probability
        return np.log(probabilities)

    return predict


def test_loss_and_accuracy_are_means_over_masked_text_tokens():
    found = score(build_constant(7), [BATCH], special=(0, 1, 2))
    assert found.count == 2
    assert found.accuracy == 0.5
    assert found.loss == pytest.approx(-(math.log(0.5) + math.log(0.5 / 9)) / 2)


def test_special_tokens_count_only_if_they_are_text():
    assert score(build_constant(2), [BATCH], special=()).count == 3
    assert score(build_constant(2), [BATCH], special=(2,)).accuracy == 0.0


def test_a_predictor_is_called_with_the_masked_positions():
    asked = []

    def predict(batch, rows, columns):
        asked.append((rows.tolist(), columns.tolist()))
        return build_constant(7)(batch, rows, columns)

    score(predict, [BATCH], special=())
    assert asked == [([0, 1, 1], [1, 1, 3])]


def test_an_empty_evaluation_is_refused():
    with pytest.raises(ValueError, match="nothing to score"):
        score(build_constant(7), [], special=())


def test_a_probability_of_zero_is_refused():
    with np.errstate(divide="ignore"), pytest.raises(ValueError, match="the loss of 2 tokens is inf"):
        score(build_constant(7, probability=1.0), [BATCH], special=(2,))

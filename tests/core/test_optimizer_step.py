"""Micro-batches and their weights, and the learning rate of each tensor."""

import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters
from roberta_core.training.optimizer_step import compute_rate_factors, compute_shares, split_batch

CONFIG = RobertaConfig(
    vocab_size=101, hidden_size=12, num_hidden_layers=2, num_attention_heads=3, intermediate_size=20, num_labels=3
)


def test_a_batch_is_split_by_rows():
    batch = {"input_ids": np.arange(30).reshape(6, 5), "labels": np.arange(6)}
    parts = split_batch(batch, 4)
    assert [part["labels"].tolist() for part in parts] == [[0, 1, 2, 3], [4, 5]]
    assert parts[1]["input_ids"].tolist() == batch["input_ids"][4:].tolist()
    assert [part["labels"].tolist() for part in split_batch(batch, 0)] == [[0, 1, 2, 3, 4, 5]]


@pytest.mark.parametrize(
    ("architecture", "name", "one", "two", "share"),
    [
        ("ForMaskedLM", "masked_labels", [[5, -100]], [[5, 6], [7, -100]], 1 / 4),
        ("ForMaskedLM", "labels", [[-100, 4, -100]], [[4, 5, -100]], 1 / 3),
        ("ForCausalLM", "labels", [[9, 4, -100]], [[-100, 4, 5]], 1 / 3),
        ("ForTokenClassification", "labels", [[0, 1, -100], [-100, -100, 2]], [[1, -100, -100]], 3 / 4),
        ("ForSequenceClassification", "labels", [0, -100], [1, 2], 1 / 3),
        ("ForSequenceClassification", "labels", [[0, 1, 1], [0, 0, 0]], [[1, 1, 0]], 2 / 3),
        ("ForSequenceClassification", "labels", [[0.0, 1.0, 1.0]], [[1.0, 1.0, 0.0]], 1 / 2),
        ("ForMultipleChoice", "labels", [1], [0, 1, 1], 1 / 4),
    ],
)
def test_a_micro_batch_is_weighted_by_its_labels(architecture, name, one, two, share):
    found = compute_shares(CONFIG, architecture, [{name: np.array(one)}, {name: np.array(two)}])
    assert found == pytest.approx([share, 1 - share])


def test_a_micro_batch_of_weighted_labels_counts_by_their_weights():
    batches = [{"labels": np.array([0, 1]), "label_weights": np.array([0.25, 0.25])}, {
        "labels": np.array([1]), "label_weights": np.array([0.25])}]  # fmt: skip
    assert compute_shares(CONFIG, "ForSequenceClassification", batches) == pytest.approx([2 / 3, 1 / 3])


def test_half_an_answer_alone_counts_as_a_whole_step():
    batch = {"input_ids": np.zeros((1, 7), int), "start_positions": np.array([3]), "end_positions": np.array([9])}
    assert compute_shares(CONFIG, "ForQuestionAnswering", [batch]) == [1]


def test_an_answer_outside_its_text_does_not_count():
    ids = np.zeros((2, 7), int)
    batches = [
        {"input_ids": ids, "start_positions": np.array([3, 7]), "end_positions": np.array([4, -1])},
        {"input_ids": ids, "start_positions": np.array([0, 2]), "end_positions": np.array([0, 6])},
    ]
    assert compute_shares(CONFIG, "ForQuestionAnswering", batches) == pytest.approx([1 / 3, 2 / 3])


def test_a_step_without_labels_has_weight_zero():
    assert compute_shares(CONFIG, "ForMaskedLM", [{"masked_labels": np.full((2, 3), -100)}]) == [0]


def test_a_step_requires_a_batch_and_a_class_with_a_loss():
    with pytest.raises(ValueError, match="needs at least one batch"):
        compute_shares(CONFIG, "ForMaskedLM", [])
    with pytest.raises(ValueError, match="Model has no loss"):
        compute_shares(CONFIG, "Model", [{"labels": np.zeros(1, int)}])


def test_each_layer_has_a_lower_learning_rate_than_the_one_above():
    factors = compute_rate_factors(parameters(CONFIG, "ForSequenceClassification", pooler=True), 2, 0.5)
    heights = {
        "roberta.embeddings.LayerNorm.bias": 1 / 8,
        "roberta.embeddings.word_embeddings.weight": 1 / 8,
        "roberta.encoder.layer.0.output.dense.weight": 1 / 4,
        "roberta.encoder.layer.1.attention.self.key.bias": 1 / 2,
        "roberta.pooler.dense.weight": 1,
        "classifier.out_proj.bias": 1,
    }
    assert {name: factors[name] for name in heights} == heights
    assert set(compute_rate_factors(parameters(CONFIG, "Model"), 2, 1.0).values()) == {1.0}

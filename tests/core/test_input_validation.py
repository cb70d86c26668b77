from typing import NamedTuple

import numpy as np
import pytest

from roberta_core.config import RobertaConfig
from roberta_core.input_validation import (
    check_all_labels,
    check_choices,
    check_inputs,
    check_labels,
    count_label_classes,
)

CONFIG = RobertaConfig(
    vocab_size=101, hidden_size=12, num_attention_heads=3, num_hidden_layers=2, max_position_embeddings=19
)
IDS = np.full((2, 7), 5)


class Unreadable(NamedTuple):
    """An array of a framework whose values cannot be read, only its shape."""

    shape: tuple


@pytest.mark.parametrize(
    "inputs",
    [
        {"input_ids": IDS},
        {"input_ids": IDS, "attention_mask": np.ones((2, 7)), "token_type_ids": IDS * 0, "position_ids": IDS[:1]},
        {"input_ids": IDS, "attention_mask": np.ones((2, 7, 7)), "head_mask": np.ones(3)},
        {"input_ids": IDS, "attention_mask": np.ones((2, 1, 7, 7)), "head_mask": np.ones((2, 3))},
        {"inputs_embeds": np.ones((2, 7, 12))},
        {"input_ids": np.full((1, 17), 5)},
        {"input_ids": np.pad(np.full((1, 17), 5), ((0, 0), (0, 8)), constant_values=1)},
        {"input_ids": np.full((1, 30), 5), "position_ids": np.full((1, 30), 18)},
        {"input_ids": Unreadable((None, None)), "attention_mask": Unreadable((4, 5))},
        {"input_ids": np.zeros((0, 7), int)},
    ],
)
def test_good_inputs_pass(inputs):
    check_inputs(CONFIG, inputs)


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({}, "exactly one of input_ids and inputs_embeds; got neither"),
        (
            {"input_ids": IDS, "inputs_embeds": np.ones((2, 7, 12))},
            "exactly one of input_ids and inputs_embeds; got both",
        ),
        ({"input_ids": IDS + 96}, r"input_ids contains 101, but vocab_size is 101 \(valid ids are 0 to 100\)"),
        ({"input_ids": IDS - 6}, "input_ids contains -1"),
        ({"input_ids": IDS / 2}, "input_ids has dtype float64; ids must be integers"),
        ({"input_ids": IDS, "token_type_ids": IDS * 0 + 2}, "token_type_ids contains 2, but type_vocab_size is 2"),
        ({"input_ids": IDS, "position_ids": IDS + 14}, "position_ids contains 19"),
        ({"input_ids": IDS[0]}, r"input_ids has shape \[7\]; it must be \[batch, sequence\]"),
        ({"inputs_embeds": np.ones((2, 7, 11))}, r"inputs_embeds has shape \[2, 7, 11\].*\[2, 7, 12\]"),
        ({"inputs_embeds": np.ones((2, 12))}, r"it must be \[batch, sequence, hidden\]"),
        ({"input_ids": IDS, "attention_mask": np.ones((2, 6))}, r"attention_mask has shape \[2, 6\]"),
        ({"input_ids": IDS, "attention_mask": np.ones((2, 3, 7, 7))}, "attention_mask has shape"),
        ({"input_ids": IDS, "token_type_ids": IDS[:, :6]}, "token_type_ids has shape"),
        ({"input_ids": IDS, "head_mask": np.ones((3, 2))}, r"head_mask has shape \[3, 2\].*\[3\] or \[2, 3\]"),
        ({"input_ids": np.full((1, 18), 5)}, "a sequence has 18 tokens, but this model accepts at most 17"),
        ({"inputs_embeds": np.ones((1, 18, 12))}, "a sequence has 18 tokens"),
        ({"input_ids": IDS, "encoder_hidden_states": np.ones((2, 5, 12))}, "requires cross-attention: is_decoder=True"),
    ],
)
def test_bad_inputs_are_refused_in_one_sentence(inputs, sentence):
    with pytest.raises(ValueError, match=sentence) as error:
        check_inputs(CONFIG, inputs)
    assert "\n" not in str(error.value)


def test_cached_tokens_count():
    check_inputs(CONFIG, {"input_ids": IDS, "attention_mask": np.ones((2, 17))}, past_length=10)
    with pytest.raises(ValueError, match="18 tokens"):
        check_inputs(CONFIG, {"input_ids": IDS}, past_length=11)
    with pytest.raises(ValueError, match="attention_mask"):
        check_inputs(CONFIG, {"input_ids": IDS, "attention_mask": np.ones((2, 7))}, past_length=10)


def cross() -> RobertaConfig:
    return RobertaConfig.from_dict({**CONFIG.to_dict(), "is_decoder": True, "add_cross_attention": True})


STATES = np.ones((2, 5, 12))


@pytest.mark.parametrize("mask", [(2, 5), (2, 7, 5), (2, 1, 7, 5)])
def test_encoder_states_have_the_same_batch_size_and_a_matching_mask(mask):
    good = {"input_ids": IDS, "encoder_hidden_states": STATES, "encoder_attention_mask": np.ones(mask)}
    check_inputs(cross(), good)
    for name, wrong in (
        ("encoder_hidden_states", STATES[:1]),
        ("encoder_hidden_states", STATES[..., :11]),
        ("encoder_attention_mask", np.ones((2, 7))),
        ("encoder_attention_mask", np.ones((2, 6, 5))),
    ):
        with pytest.raises(ValueError, match=f"{name} has shape"):
            check_inputs(cross(), {**good, name: wrong})


def test_an_encoder_mask_without_encoder_states_is_refused():
    with pytest.raises(ValueError, match="encoder_attention_mask requires encoder_hidden_states"):
        check_inputs(cross(), {"input_ids": IDS, "encoder_attention_mask": np.ones((2, 5))})


def test_a_cache_of_another_model_or_without_its_encoder_is_refused():
    part = np.ones((2, 3, 4, 4))
    check_inputs(cross(), {"input_ids": IDS, "past_key_values": ((part, part),) * 2}, past_length=4)
    both = {"input_ids": IDS, "past_key_values": ((part,) * 4,) * 2}
    check_inputs(cross(), {**both, "encoder_hidden_states": STATES}, past_length=4)
    for cache, sentence in (
        (((part, part),), "past_key_values has 1 layers; the model has 2"),
        (((part[:1], part[:1]),) * 2, r"past_key_values has shape \[1, 3, 4, 4\]"),
        (((part[..., :3], part),) * 2, r"past_key_values has shape \[2, 3, 4, 3\]"),
        (both["past_key_values"], "past_key_values holds cross-attention keys"),
    ):
        with pytest.raises(ValueError, match=sentence):
            check_inputs(cross(), {"input_ids": IDS, "past_key_values": cache}, past_length=4)


def test_a_head_mask_over_pruned_heads_is_refused():
    pruned = RobertaConfig.from_dict({**CONFIG.to_dict(), "pruned_heads": {"1": [0]}})
    with pytest.raises(ValueError, match="heads of this model were pruned"):
        check_inputs(pruned, {"input_ids": IDS, "head_mask": np.ones(3)})


def test_values_that_cannot_be_read_are_accepted():
    check_inputs(CONFIG, {"input_ids": Unreadable((2, 400))})


def test_labels_are_classes_or_ignored():
    check_labels("labels", np.array([0, 4, -100]), 5)
    check_labels("labels", Unreadable((3,)), 5)
    for wrong in (5, -1):
        with pytest.raises(ValueError, match=f"labels contains {wrong}; with 5 classes it must be from 0 to 4"):
            check_labels("labels", np.array([0, wrong]), 5)


@pytest.mark.parametrize(
    ("architecture", "labels", "problem_type", "classes"),
    [
        ("ForCausalLM", IDS, None, 101),
        ("ForMaskedLM", IDS, None, 101),
        ("ForTokenClassification", IDS, None, 4),
        ("ForMultipleChoice", IDS[:, 0], None, 3),
        ("ForSequenceClassification", IDS[:, 0], None, 4),
        ("ForSequenceClassification", IDS[:, :1], "single_label_classification", 4),
        ("ForSequenceClassification", IDS[:, :1], None, 4),
        ("ForSequenceClassification", IDS[:, 0] / 2, None, None),
        ("ForSequenceClassification", IDS[:, :4], None, None),
        ("ForSequenceClassification", IDS[:, 0], "regression", None),
        ("ForTokenClassification", Unreadable((2, 7)), None, None),
        ("ForQuestionAnswering", None, None, None),
    ],
)
def test_labels_are_checked_against_the_classes_of_the_head(architecture, labels, problem_type, classes):
    config = RobertaConfig(vocab_size=101, num_labels=4, problem_type=problem_type)
    inputs = {"input_ids": np.full((2, 3, 7), 5), "labels": labels}
    assert count_label_classes(config, architecture, inputs) == classes


@pytest.mark.parametrize(
    ("architecture", "name", "shape", "sentence"),
    [
        ("ForMaskedLM", "labels", (2, 6), r"labels has shape \[2, 6\]; with these inputs it must be \[2, 7\]"),
        ("ForTokenClassification", "labels", (2,), r"labels has shape \[2\]; .* \[2, 7\]"),
        ("ForSequenceClassification", "labels", (3,), r"labels has shape \[3\]; .* \[2\] or \[2, 1\] or \[2, 4\]"),
        ("ForQuestionAnswering", "end_positions", (3,), r"end_positions has shape \[3\]"),
    ],
)
def test_labels_of_another_shape_are_refused(architecture, name, shape, sentence):
    config = RobertaConfig(vocab_size=101, num_labels=4)
    with pytest.raises(ValueError, match=sentence):
        check_all_labels(config, architecture, {"input_ids": IDS, name: np.zeros(shape, int)})
    check_all_labels(config, architecture, {"input_ids": IDS, name: IDS % 4 if shape == (2, 6) else None})


def test_multiple_choice_inputs_have_three_axes():
    check_choices("input_ids", (2, 4, 7))
    with pytest.raises(ValueError, match=r"\[2, 7\]; multiple choice requires \[batch, choices, sequence\]"):
        check_choices("input_ids", (2, 7))

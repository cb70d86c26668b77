"""Types as an editor shows them: pyright checks this file, which is never executed."""

from typing import Any, assert_type

import jax
import numpy as np
import tensorflow as tf
import torch

from roberta_core.outputs import GenerateOutput, MaskedLMOutput, SequenceClassifierOutput
from roberta_flax import FlaxRobertaForCausalLM, FlaxRobertaForMaskedLM, FlaxRobertaForSequenceClassification
from roberta_pt import RobertaForCausalLM, RobertaForMaskedLM, RobertaForSequenceClassification
from roberta_tf import TFRobertaForCausalLM, TFRobertaForMaskedLM, TFRobertaForSequenceClassification


def in_pytorch(t: torch.Tensor) -> None:
    model = RobertaForMaskedLM.from_pretrained("x")
    assert_type(model, RobertaForMaskedLM)
    assert_type(RobertaForMaskedLM.from_pretrained("x")(input_ids=t).logits, torch.Tensor | None)
    assert_type(model(t), MaskedLMOutput[torch.Tensor])
    assert_type(model.forward(t).hidden_states, tuple[torch.Tensor, ...] | None)
    assert_type(model(t, return_dict=False), tuple[Any, ...])
    assert_type(
        RobertaForMaskedLM.from_pretrained("x", output_loading_info=True), tuple[RobertaForMaskedLM, dict[str, Any]]
    )
    assert_type(RobertaForSequenceClassification.from_config(model.config)(t), SequenceClassifierOutput[torch.Tensor])
    generator = RobertaForCausalLM.from_pretrained("x")
    assert_type(generator.generate(t), torch.Tensor)
    assert_type(generator.generate(t, return_dict_in_generate=True), GenerateOutput[torch.Tensor])
    model(wrong=t)  # pyright: ignore[reportCallIssue]


def in_tensorflow(t: tf.Tensor) -> None:
    model = TFRobertaForMaskedLM.from_pretrained("x")
    assert_type(model, TFRobertaForMaskedLM)
    assert_type(TFRobertaForMaskedLM.from_pretrained("x")(input_ids=t).logits, tf.Tensor | None)
    assert_type(model(t), MaskedLMOutput[tf.Tensor])
    assert_type(model.call(t).hidden_states, tuple[tf.Tensor, ...] | None)
    assert_type(model(t, return_dict=False), tuple[Any, ...])
    assert_type(
        TFRobertaForMaskedLM.from_pretrained("x", output_loading_info=True),
        tuple[TFRobertaForMaskedLM, dict[str, Any]],
    )
    assert_type(TFRobertaForSequenceClassification.from_config(model.config)(t), SequenceClassifierOutput[tf.Tensor])
    generator = TFRobertaForCausalLM.from_pretrained("x")
    assert_type(generator.generate(t), tf.Tensor)
    assert_type(generator.generate(t, return_dict_in_generate=True), GenerateOutput[tf.Tensor])
    model(wrong=t)  # pyright: ignore[reportCallIssue]


def in_flax(t: np.ndarray) -> None:
    model = FlaxRobertaForMaskedLM.from_pretrained("x")
    assert_type(model, FlaxRobertaForMaskedLM)
    assert_type(FlaxRobertaForMaskedLM.from_pretrained("x")(input_ids=t).logits, jax.Array | None)
    assert_type(model(t), MaskedLMOutput[jax.Array])
    assert_type(model(t).hidden_states, tuple[jax.Array, ...] | None)
    assert_type(model(t, return_dict=False), tuple[Any, ...])
    assert_type(
        FlaxRobertaForMaskedLM.from_pretrained("x", output_loading_info=True),
        tuple[FlaxRobertaForMaskedLM, dict[str, Any]],
    )
    assert_type(FlaxRobertaForSequenceClassification.from_config(model.config)(t), SequenceClassifierOutput[jax.Array])
    generator = FlaxRobertaForCausalLM.from_pretrained("x")
    assert_type(generator.generate(t).sequences, jax.Array)
    assert_type(generator.generate(t, return_dict_in_generate=True), GenerateOutput[jax.Array])
    model(wrong=t)  # pyright: ignore[reportCallIssue]

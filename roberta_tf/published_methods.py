"""Methods of the published TensorFlow base class that RoBERTa itself does not need.

Shapes: B batch, S sequence, N heads, L layers, V vocabulary, K labels.
"""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from roberta_core.refusals import Refused
from roberta_tf.datasets import build_dataset
from roberta_tf.losses import sequence_loss, span_loss, token_loss
from roberta_tf.serving import make_serving_specs, name_outputs
from roberta_tf.weights import assign

SEARCH = "call generate, whose arguments select the search"
ENDS = ("start", "end")


class PublishedMethods:
    """Mixin of the base class: methods of the published one that RoBERTa itself does not need."""

    config: Any
    loss_reduction: str
    architecture: Any
    framework = "tf"
    supports_xla_generation = False  # `generate` searches in NumPy and compiles each step

    create_model_card = Refused("write README.md into the folder; push_to_hub writes one if the repository has none")
    beam_search = Refused(SEARCH)
    contrastive_search = Refused(SEARCH)
    greedy_search = Refused(SEARCH)
    sample = Refused(SEARCH)
    seed_generator = Refused("pass seed to generate")

    # The language-model head -----------------------------------------------------------------------------------------

    def get_lm_head(self) -> Any:
        """Return the language-model head, None in a class without one."""
        return getattr(self, "lm_head", None)

    get_output_layer_with_bias = get_lm_head  # its older name

    def get_prefix_bias_name(self) -> str | None:
        """Return the name of the language-model head after that of the model, None in a class without one."""
        head = self.get_lm_head()
        return None if head is None else f"{self.name}/{head.name}"  # pyright: ignore[reportAttributeAccessIssue]

    def get_bias(self) -> dict[str, Any] | None:
        """Return {"bias": the bias [V] of the language-model head}, None in a class without one."""
        head = self.get_lm_head()
        return None if head is None else {"bias": head.bias}

    def set_bias(self, value: Mapping[str, Any]) -> None:
        """Copy the values of the bias of the language-model head.

        Args:
            value: {"bias": [V]}.

        Raises:
            ValueError: The class has no such head, or the size is not that of the vocabulary.
        """
        head, bias = self.get_lm_head(), np.asarray(value["bias"])
        if head is None:
            raise ValueError(f"{type(self).__name__} has no language-model head, so it has no bias to set")
        if bias.shape != (self.config.vocab_size,):
            raise ValueError(
                f"the bias has the shape {bias.shape}, but the vocabulary has {self.config.vocab_size} entries: call "
                "resize_token_embeddings first"
            )
        head.bias.assign(bias)

    def set_output_embeddings(self, value: Any) -> None:
        """Copy the layer that scores the vocabulary.

        Args:
            value: A layer with a kernel [D, V], or the values.

        Raises:
            ValueError: The layer is tied, or the class has none.
        """
        head = self.get_lm_head()
        if head is None or self.config.tie_word_embeddings:
            raise ValueError("the output embeddings are tied, or this class has none: see set_input_embeddings")
        kernel = np.asarray(getattr(value, "kernel", value))
        assign(self, [("lm_head.decoder.weight", kernel.T)])

    # Data and losses -------------------------------------------------------------------------------------------------

    def prepare_tf_dataset(
        self,
        dataset: Any,
        batch_size: int = 8,
        shuffle: bool = True,
        tokenizer: Any = None,
        collate_fn: Callable[..., Mapping[str, Any]] | None = None,
        collate_fn_args: Mapping[str, Any] | None = None,
        drop_remainder: bool | None = None,
        prefetch: bool = True,
    ) -> tf.data.Dataset:
        """Return the batches of tokenised rows for `fit`: the columns that a call accepts, and the labels.

        Args:
            dataset: A `datasets.Dataset`, or another sequence of dicts with the columns of one row.
            batch_size: The rows of a batch.
            shuffle: Whether to read the rows in another random order in each epoch.
            tokenizer: The tokenizer that pads the rows of a batch; without it rows must have one length.
            collate_fn: Makes the columns of a batch of a list of rows, instead of the tokenizer.
            collate_fn_args: Further arguments of `collate_fn`.
            drop_remainder: Whether to drop an incomplete last batch; None means if `shuffle`.
            prefetch: Whether to prepare the next batch during a step.

        Raises:
            ValueError: There is no row, or no column that the model accepts.
        """
        return build_dataset(
            self,
            dataset,
            tokenizer=tokenizer,
            collate_fn=collate_fn,
            collate_fn_args=collate_fn_args or {},
            batch_size=batch_size,
            shuffle=shuffle,
            drop_remainder=shuffle if drop_remainder is None else drop_remainder,
            prefetch=prefetch,
        )

    def hf_compute_loss(self, labels: Any, logits: Any) -> tf.Tensor:
        """Return the loss that a call with labels returns, of logits that a call returned.

        Args:
            labels: Labels of the class; for ForCausalLM already shifted; for question answering a dict of
                `start_position` and `end_position`.
            logits: The logits; for question answering a pair.

        Raises:
            ValueError: The class has no loss, or the labels do not fit it.
        """
        if self.architecture not in LOSSES:
            raise ValueError(f"{type(self).__name__} has no head, so it has no loss")
        return LOSSES[self.architecture](labels, logits, self.config, self.loss_reduction)

    def get_label_to_output_name_mapping(self) -> dict[str, str]:
        """Return the outputs that labels are compared with, by the names of the labels, if there are several."""
        if self.architecture != "ForQuestionAnswering":
            return {}
        return {f"{end}_positions": f"{end}_logits" for end in ENDS}

    # Serving and building --------------------------------------------------------------------------------------------

    @property
    def input_signature(self) -> dict[str, tf.TensorSpec]:
        """The inputs that an exported model is served with."""
        return make_serving_specs(self)

    def serving(self, inputs: Mapping[str, Any]) -> dict[str, Any]:
        """Return what an exported model returns.

        Args:
            inputs: The arguments of a call by name.
        """
        call: Any = self
        return self.serving_output(call(**inputs))

    def serving_output(self, output: Any) -> dict[str, Any]:
        """Return the tensors of an output by name; the tensors of all layers as one, without the cache.

        Args:
            output: What a call returned.
        """
        return name_outputs(output)

    def build_in_name_scope(self) -> None:
        """Make the variables that are missing."""
        model: Any = self
        model.build()

    def get_head_mask(self, head_mask: Any, num_hidden_layers: int) -> tf.Tensor | list[None]:
        """Return a mask of heads for every layer.

        Args:
            head_mask: [N], [L, N] or None; 1 for heads to keep.
            num_hidden_layers: L.

        Returns:
            [L, 1, N, 1, 1], or a list of L times None.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        mask = tf.cast(head_mask, self.variable_dtype)  # pyright: ignore[reportAttributeAccessIssue]
        rows = tf.tile(mask[None], [num_hidden_layers, 1]) if mask.shape.rank == 1 else mask
        return rows[:, None, :, None, None]

    def prepare_inputs_for_generation(
        self, input_ids: Any, past_key_values: Any = None, attention_mask: Any = None, **arguments: Any
    ) -> dict[str, Any]:
        """Return the arguments of the next call of a search: after the first call only the last token [B, 1] is read.

        `generate` does not call it; scripts with a search of their own do.

        Args:
            input_ids: [B, S], the tokens so far.
            past_key_values: The key/value cache of the last call.
            attention_mask: [B, S]; None attends to every token.
            **arguments: Ignored.
        """
        mask = tf.ones_like(input_ids) if attention_mask is None else attention_mask
        ids = input_ids if past_key_values is None else input_ids[:, -1:]
        return {"input_ids": ids, "attention_mask": mask, "past_key_values": past_key_values}

    def _to_tensor_like(self, array: np.ndarray, tensor: Any) -> tf.Tensor:
        return tf.convert_to_tensor(array)


class GenerationMethods:
    """Mixin of the class with `generate`: methods of the published one that RoBERTa itself does not need."""


def language_model_loss(labels: tf.Tensor, logits: tf.Tensor, config: Any, reduction: str) -> tf.Tensor:
    """The loss of logits [..., K] and labels [...]."""
    return token_loss(logits, labels, reduction)


def sequence_classification_loss(labels: tf.Tensor, logits: tf.Tensor, config: Any, reduction: str) -> tf.Tensor:
    """The loss of logits [B, K]."""
    return sequence_loss(logits, labels, config.problem_type, reduction)


def question_answering_loss(labels: Mapping[str, Any], logits: Any, config: Any, reduction: str) -> tf.Tensor:
    """The loss of a pair of logits [B, S] and the labels by name."""
    starts, ends = (labels[f"{end}_position"] for end in ENDS)
    return span_loss(logits[0], logits[1], starts, ends, reduction)


LOSSES: dict[str, Callable[..., tf.Tensor]] = {
    "ForCausalLM": language_model_loss,
    "ForMaskedLM": language_model_loss,
    "ForMultipleChoice": language_model_loss,
    "ForTokenClassification": language_model_loss,
    "ForSequenceClassification": sequence_classification_loss,
    "ForQuestionAnswering": question_answering_loss,
}

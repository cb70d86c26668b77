"""Methods of the published PyTorch base class that RoBERTa itself does not need.

Shapes: B batch, S sequence, T keys, N heads, L layers, V vocabulary, K labels.
"""

import logging
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from roberta_core.refusals import ADAPTERS, Refused
from roberta_pt.losses import causal_loss, sequence_loss, span_loss, token_loss
from roberta_pt.weights import to_numpy

logger = logging.getLogger(__name__)

QUANTISED = "load the model in a floating-point dtype, then quantise it with the tools of PyTorch"
FUSED = 'attn_implementation="sdpa", the default, uses fused kernels'
SUBMODULE = "call model.get_submodule(name)"


class PublishedMethods:
    """Mixin of the base class: methods of the published one that RoBERTa itself does not need."""

    config: Any
    base_model: Any
    loss_reduction: str
    model_tags: list[str] | None = None
    warnings_issued: ClassVar[dict[str, bool]] = {}
    _loss_function: Callable[..., Tensor] | None = None

    # The whole model is on one device, and its attention is its own.
    framework = "pt"
    is_parallelizable = False
    supports_tp_plan = supports_pp_plan = False
    tp_size = None

    active_adapters = Refused(ADAPTERS)
    add_adapter = Refused(ADAPTERS)
    delete_adapter = Refused(ADAPTERS)
    disable_adapters = Refused(ADAPTERS)
    enable_adapters = Refused(ADAPTERS)
    get_adapter_state_dict = Refused(ADAPTERS)
    load_adapter = Refused(ADAPTERS)
    set_adapter = Refused(ADAPTERS)
    add_memory_hooks = Refused("measure memory with torch.profiler")
    reset_memory_hooks_state = Refused("measure memory with torch.profiler")
    dequantize = Refused(QUANTISED)
    get_compiled_call = Refused("call torch.compile(model)")
    get_init_context = Refused("from_pretrained makes models without values itself")
    get_position_embeddings = Refused("read model.base_model.embeddings.position_embeddings")
    resize_position_embeddings = Refused("construct a model with other max_position_embeddings, and copy the rows")
    kernelize = Refused(FUSED)
    retrieve_modules_from_names = Refused(SUBMODULE)
    reverse_bettertransformer = Refused(FUSED)
    set_decoder = Refused("assign to model.base_model.encoder, which is the decoder if is_decoder=True")
    to_bettertransformer = Refused(FUSED)

    # Masks -----------------------------------------------------------------------------------------------------------

    def get_extended_attention_mask(
        self,
        attention_mask: Tensor,
        input_shape: tuple[int, ...],
        device: Any = None,
        dtype: torch.dtype | None = None,
    ) -> Tensor:
        """Return a mask as it is added to the scores: 0 where to attend, the minimum of the dtype elsewhere.

        Args:
            attention_mask: [B, T] or [B, S, T]; 1 where to attend. [B, T] of a decoder also becomes causal.
            input_shape: (B, S), of which a decoder needs the length.
            device: The device of the result; None means that of the mask.
            dtype: The dtype of the result; None means that of the model.

        Returns:
            [B, 1, 1 or S, T].

        Raises:
            ValueError: The mask has another number of axes.
        """
        if attention_mask.dim() not in (2, 3):
            raise ValueError(
                f"attention_mask has the shape {tuple(attention_mask.shape)}; it must be [B, T] or [B, S, T]"
            )
        if attention_mask.dim() == 2 and self.config.is_decoder:
            mask = self.create_extended_attention_mask_for_decoder(input_shape, attention_mask, device)
        else:
            mask = attention_mask[:, None] if attention_mask.dim() == 3 else attention_mask[:, None, None]
        return _to_scores(mask, self._dtype() if dtype is None else dtype)

    @staticmethod
    def create_extended_attention_mask_for_decoder(
        input_shape: tuple[int, ...], attention_mask: Tensor, device: Any = None
    ) -> Tensor:
        """Return a mask that is causal too; 1 where to attend.

        Args:
            input_shape: (B, S).
            attention_mask: [B, T] with T of at least S: keys before the last S are those of a cache.
            device: The device of the result; None means that of the mask.

        Returns:
            [B, 1, S, T].
        """
        length, keys = input_shape[1], attention_mask.shape[1]
        mask = attention_mask if device is None else attention_mask.to(device)
        causal = torch.ones(length, keys, device=mask.device, dtype=mask.dtype).tril(keys - length)
        return causal[None, None] * mask[:, None, None]

    def invert_attention_mask(self, encoder_attention_mask: Tensor) -> Tensor:
        """Return the mask of encoder states as it is added to the scores.

        Args:
            encoder_attention_mask: [B, T] or [B, S, T]; 1 where to attend.

        Returns:
            [B, 1, 1 or S, T].
        """
        three = encoder_attention_mask.dim() == 3
        mask = encoder_attention_mask[:, None] if three else encoder_attention_mask[:, None, None]
        return _to_scores(mask, self._dtype())

    def get_head_mask(
        self, head_mask: Tensor | None, num_hidden_layers: int, is_attention_chunked: bool = False
    ) -> Tensor | list[None]:
        """Return a mask of heads for every layer.

        Args:
            head_mask: [N], [L, N] or None; 1 for heads to keep.
            num_hidden_layers: L.
            is_attention_chunked: Whether to add an axis at the end.

        Returns:
            [L, 1, N, 1, 1], or a list of L times None.
        """
        if head_mask is None:
            return [None] * num_hidden_layers
        rows = head_mask.expand(num_hidden_layers, -1) if head_mask.dim() == 1 else head_mask
        mask = rows[:, None, :, None, None].to(self._dtype())
        return mask[..., None] if is_attention_chunked else mask

    def warn_if_padding_and_no_attention_mask(self, input_ids: Tensor, attention_mask: Tensor | None) -> None:
        """Log a warning, once for each class, if the first or last tokens are padding and there is no mask.

        Args:
            input_ids: [B, S].
            attention_mask: [B, S] or None.
        """
        edges = input_ids[:, [-1, 0]]
        if attention_mask is None and bool((edges == self.config.pad_token_id).any()):
            self._warn_once("padding", "input_ids has padding, which is attended to: pass an attention_mask")

    def _warn_once(self, topic: str, sentence: str) -> None:
        key = f"{type(self).__name__}: {topic}"
        if key not in self.warnings_issued:
            self.warnings_issued[key] = True
            logger.warning("%s", sentence)

    def _dtype(self) -> torch.dtype:
        return next(self.parameters()).dtype  # pyright: ignore[reportAttributeAccessIssue]

    # Sizes -----------------------------------------------------------------------------------------------------------

    def get_memory_footprint(self, return_buffers: bool = True) -> int:
        """Return the bytes of the parameters, a tied one counted once.

        Args:
            return_buffers: Whether to count buffers too.
        """
        model: Any = self
        values = [*model.parameters(), *(model.buffers() if return_buffers else ())]
        return sum(value.nelement() * value.element_size() for value in values)

    def estimate_tokens(self, input_dict: Mapping[str, Any]) -> int:
        """Return the number of tokens of a batch; 0, with a warning in the log, if it has no `input_ids`.

        Args:
            input_dict: The arguments of a call.
        """
        if "input_ids" in input_dict:
            return input_dict["input_ids"].numel()
        self._warn_once("tokens", "The batch has no input_ids, so its floating-point operations are not counted")
        return 0

    def floating_point_ops(self, input_dict: Mapping[str, Any], exclude_embeddings: bool = True) -> int:
        """Return an estimate of the operations of a training step: six for each token and parameter (Kaplan 2020).

        Args:
            input_dict: The arguments of a call.
            exclude_embeddings: Whether to skip the parameters of embeddings.
        """
        model: Any = self
        return 6 * self.estimate_tokens(input_dict) * model.num_parameters(exclude_embeddings=exclude_embeddings)

    # Parts of the model ----------------------------------------------------------------------------------------------

    def get_decoder(self) -> Any:
        """Return the model itself: its layers are the decoder if `is_decoder=True`."""
        return self

    def get_parameter_or_buffer(self, target: str) -> Tensor:
        """Return a parameter or a buffer.

        Args:
            target: The name.

        Raises:
            AttributeError: There is none of this name.
        """
        module: Any = self
        found = {**dict(module.named_buffers()), **dict(module.named_parameters(remove_duplicate=False))}
        if target not in found:
            raise AttributeError(f"{type(self).__name__} has no parameter and no buffer {target!r}")
        return found[target]

    def add_model_tags(self, tags: str | list[str]) -> None:
        """Add tags to those that `push_to_hub` writes into a new model card.

        Args:
            tags: One or several.
        """
        known = self.model_tags or []
        self.model_tags = list(dict.fromkeys([*known, *([tags] if isinstance(tags, str) else tags)]))

    def initialize_weights(self) -> None:
        """Draw the initial value of every parameter again: the same values for the same seed."""
        model: Any = self
        seed = model.seed
        model.seed = seed or 0
        try:
            model.post_init() if model._is_own() else model._initialise()
        finally:
            model.seed = seed

    def tie_embeddings_and_encoder_decoder(self) -> None:
        """Tie the decoder of the language-model head to the word embeddings, as `tie_weights`."""
        model: Any = self
        model.tie_weights()

    def _to_array(self, tensor: Tensor) -> np.ndarray:
        return to_numpy(tensor)

    def _to_tensor_like(self, array: np.ndarray, tensor: Tensor) -> Tensor:
        return torch.from_numpy(array).to(tensor.device)

    def _set_layers_attention(self, attn_implementation: str) -> None:
        for module in self.base_model.modules():
            if hasattr(module, "attn_implementation"):
                module.attn_implementation = attn_implementation

    @classmethod
    def is_backend_compatible(cls) -> bool:
        """Return whether attention functions that are registered with transformers are used: they are not."""
        return False

    @property
    def can_record_outputs(self) -> dict[str, Any]:
        """The outputs that hooks of transformers record: none, because the models return them."""
        return {}

    @property
    def use_kernels(self) -> bool:
        """Whether kernels are downloaded from the Hub: never."""
        return False

    @use_kernels.setter
    def use_kernels(self, value: bool) -> None:
        if value:
            raise ValueError(f"use_kernels=True is not supported: {FUSED}.")

    @property
    def tp_plan(self) -> dict[str, str]:
        """How layers are split over devices: they are not."""
        return {}

    @property
    def pp_plan(self) -> dict[str, Any]:
        """How layers are distributed over devices: they are not."""
        return {}

    # The loss --------------------------------------------------------------------------------------------------------

    @property
    def loss_function(self) -> Callable[..., Tensor]:
        """The loss of the class with the arguments of the published one, which can be replaced.

        `logits`, `labels` and `vocab_size` of the language models; `logits`, `labels` and `config` of token
        classification; `labels`, `pooled_logits` and `config` of sequence classification; `start_logits`,
        `end_logits`, `start_positions` and `end_positions` of question answering. The models do not call it.
        """
        if self._loss_function is not None:
            return self._loss_function
        return LOSSES.get(getattr(self, "architecture", ""), causal_lm_loss)

    @loss_function.setter
    def loss_function(self, value: Callable[..., Tensor]) -> None:
        self._loss_function = value


class GenerationMethods:
    """Mixin of the class with `generate`: methods of the published one that RoBERTa itself does not need."""

    generate_batch = Refused("call generate with a list of prompts that are padded on the left")
    heal_tokens = Refused("end prompts at the end of a word")
    init_continuous_batching = Refused("call generate, which runs a batch to its end")
    load_custom_generate = Refused("code from the Hub is never run; import the function and call it with the model")


def language_model_loss(
    loss: Callable[..., Tensor],
    logits: Tensor,
    labels: Tensor,
    vocab_size: int,
    num_items_in_batch: Tensor | int | None = None,
    ignore_index: int = -100,
) -> Tensor:
    """The loss of logits [B, S, V] and labels [B, S]."""
    labels = torch.where(labels == ignore_index, -100, labels)
    return loss(logits.view(*labels.shape, vocab_size), labels, count=num_items_in_batch)


causal_lm_loss = partial(language_model_loss, causal_loss)
masked_lm_loss = partial(language_model_loss, token_loss)


def token_classification_loss(logits: Tensor, labels: Tensor, config: Any) -> Tensor:
    """The loss of logits [B, S, K] and labels [B, S]."""
    return token_loss(logits.view(-1, config.num_labels), labels.view(-1))


def sequence_classification_loss(labels: Tensor, pooled_logits: Tensor, config: Any) -> Tensor:
    """The loss of logits [B, K]."""
    return sequence_loss(pooled_logits, labels, config.problem_type)


LOSSES: dict[str, Callable[..., Tensor]] = {
    "ForCausalLM": causal_lm_loss,
    "ForMaskedLM": masked_lm_loss,
    "ForTokenClassification": token_classification_loss,
    "ForSequenceClassification": sequence_classification_loss,
    "ForQuestionAnswering": lambda start_logits, end_logits, start_positions, end_positions: span_loss(
        start_logits, end_logits, start_positions, end_positions
    ),
}


def _to_scores(mask: Tensor, dtype: torch.dtype) -> Tensor:
    return (1.0 - mask.to(dtype)) * torch.finfo(dtype).min

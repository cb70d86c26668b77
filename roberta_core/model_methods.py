"""Methods of the published base classes that RoBERTa itself does not need, and that need no framework."""

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np

from roberta_core.refusals import AUTO_CLASSES, Refused

ATTENTIONS = ("sdpa", "eager")


class ModelMethods:
    """Mixin of `PreTrainedBase`."""

    config: Any
    attn_implementation: str
    framework: ClassVar[str]  # as the published classes name it
    main_input_name: ClassVar[str] = "input_ids"

    register_for_auto_class = Refused(AUTO_CLASSES)

    @property
    def name_or_path(self) -> str:
        """What the model was loaded from, as it was given to `from_pretrained`; "" for a new model."""
        return self.config._name_or_path or ""

    @classmethod
    def can_generate(cls) -> bool:
        """Return whether the class has `generate`."""
        return hasattr(cls, "generate")

    def get_correct_attn_implementation(self, requested_attention: str | None, is_init_check: bool = False) -> str:
        """Return the name of an implementation of attention, "sdpa" for None.

        Args:
            requested_attention: The name.
            is_init_check: Part of the published signature, and ignored.

        Raises:
            ValueError: There is no such implementation.
        """
        if requested_attention not in (None, *ATTENTIONS):
            raise ValueError(f"attn_implementation is {requested_attention!r}; expected one of {', '.join(ATTENTIONS)}")
        return requested_attention or "sdpa"

    def set_attn_implementation(self, attn_implementation: str | Mapping[str, str]) -> None:
        """Choose the implementation of attention of the whole model.

        Args:
            attn_implementation: "sdpa" (fused kernels) or "eager"; or a dict with the name under "".

        Raises:
            ValueError: There is no such implementation.
        """
        if isinstance(attn_implementation, Mapping):
            attn_implementation = attn_implementation.get("", self.attn_implementation)
        chosen = self.get_correct_attn_implementation(attn_implementation)
        base: Any = self.base_model  # pyright: ignore[reportAttributeAccessIssue]
        self.attn_implementation = base.attn_implementation = chosen
        self._set_layers_attention(chosen)

    def compute_transition_scores(
        self, sequences: Any, scores: Any, beam_indices: Any = None, normalize_logits: bool = False
    ) -> Any:
        """Return the score of each token that `generate` added [R, N], 0 after the end of a beam.

        Args:
            sequences: [R, T], `sequences` of a `GenerateOutput`.
            scores: Its `scores`: N of [rows, V].
            beam_indices: Its `beam_indices` [R, N]; None if there are no beams.
            normalize_logits: Whether to return log-probabilities.
        """
        found = compute_transition_scores(
            self._to_array(sequences),
            np.stack([self._to_array(one) for one in scores]),
            None if beam_indices is None else self._to_array(beam_indices),
            normalize_logits=normalize_logits,
        )
        return self._to_tensor_like(found, sequences)

    def _to_array(self, tensor: Any) -> np.ndarray:
        """Return a tensor of the framework as a NumPy array."""
        return np.asarray(tensor)

    def _to_tensor_like(self, array: np.ndarray, tensor: Any) -> Any:
        """Return a NumPy array as a tensor of the framework, on the device of another one."""
        raise NotImplementedError

    def _set_layers_attention(self, attn_implementation: str) -> None:
        """Set the implementation of the layers, where a framework has several."""


def compute_transition_scores(
    sequences: np.ndarray,
    scores: np.ndarray,
    beam_indices: np.ndarray | None,
    *,
    normalize_logits: bool,
) -> np.ndarray:
    """Return the score of each new token [R, N], 0 after the end of a beam.

    Args:
        sequences: [R, T], whose last N tokens are new.
        scores: [N, rows, V], the scores of each step.
        beam_indices: [R, N], the row of each step that a token was chosen from, negative after the end; None if each
            row continues itself.
        normalize_logits: Whether to return log-probabilities.
    """
    if normalize_logits:
        shifted = scores - scores.max(axis=-1, keepdims=True)
        scores = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    if beam_indices is None:
        beam_indices = np.broadcast_to(np.arange(len(sequences))[:, None], (len(sequences), len(scores)))
    longest = int((beam_indices >= 0).sum(axis=1).max())
    rows = beam_indices[:, :longest]
    tokens = sequences[:, sequences.shape[1] - longest :]
    found = scores[np.arange(longest)[None], rows.clip(0), tokens]
    return np.where(rows < 0, 0, found).astype(scores.dtype)

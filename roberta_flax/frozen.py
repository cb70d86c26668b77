"""`model.frozen()`: a view of a model for inference, which is called like it and returns what it returns, faster.

The view compiles its own functions for few rows, which Eigen multiplies, and on CPUs with AVX-512 for long texts,
which attend one after the other; other calls run the model's own function, which is as fast. The functions are passed
the model's parameters, so that changes are seen at once.
When it is made it compares its attention with the ordinary one, and refuses if they differ by more than rounding.
Training, transformations and what a decoder needs go to the model, and `path` says why.

Shapes: B batch, S sequence, N heads, H head.
"""

import inspect
import math
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer

from roberta_core.frozen import FrozenView, HeadAt
from roberta_core.outputs import ModelOutput
from roberta_flax.calls import Options, replacement
from roberta_flax.calls import run as run_plainly
from roberta_flax.encoder import SelfAttention

# The largest difference from the ordinary attention, relative to its largest value. Rounding gives under 2e-6.
TOLERANCE = 1e-5
# Arguments that only the model serves.
UNSERVED = ("head_mask", "encoder_hidden_states", "encoder_attention_mask", "past_key_values", "train")
LONG = 256  # tokens from which on texts attend one after the other: the scores of one fit into the cache
FEW = 16  # rows up to which Eigen is faster than XLA's newer library
CPU = Path("/proc/cpuinfo")
EIGEN = {"xla_cpu_experimental_ynn_fusion_type": ""}


class FrozenModel(FrozenView):
    """A view of a model for inference: the calls, attributes and outputs of the model, with a faster encoder.

    Attributes:
        model: The model, which stays as it is.
        path: How the latest call was computed, and why, in one sentence.
    """

    def refresh(self) -> None:
        """Look at the model again: after modules were replaced, for example. Weights are always the present ones.

        Raises:
            ValueError: The results differ from the model's by more than rounding.
        """
        self._obstacle = _find_lasting_obstacle(self.model)
        if self._obstacle is None:
            _compare()
        self._report(self._obstacle)

    def __call__(
        self, *args: Any, skip_padding: bool = False, positions: Any = None, **kwargs: Any
    ) -> ModelOutput[Array]:
        """Return what the model returns for the same arguments.

        Args:
            *args: As the model takes them.
            skip_padding: Accepted as in PyTorch and ignored: compiled functions compute whole rows.
            positions: Positions [B, K] of tokens: a language model returns the logits [B, K, V] of these only.
            **kwargs: As the model takes them.
        """
        given = {**dict(zip(_list_arguments(type(self.model)), args, strict=False)), **kwargs}
        positions = self._check_positions(positions, given)
        obstacle = self._obstacle or _find_obstacle(self.model, given)
        if obstacle:  # else `_compute` reports which function it chose
            self._report(obstacle)
        token = replacement.set(None if obstacle else partial(_compute, positions=positions, report=self._set_path))
        try:
            output = self.model(*args, **kwargs)
        finally:
            replacement.reset(token)
        if positions is None:
            return output
        rows = jnp.arange(len(positions))[:, None]
        logits = output.logits[rows, positions] if obstacle else output.logits[:, : positions.shape[1]]
        return type(output)({**output, "logits": logits})

    def _describe(self, obstacle: str | None) -> str:
        return describe_path(obstacle)


def describe_path(obstacle: str | None) -> str:
    """How a call is computed, by why it cannot be faster, in one sentence."""
    return "XLA, compiled for inference" if obstacle is None else f"plain: {obstacle}"


def _compute(
    structure: Any,
    settings: str,
    options: Options,
    train: bool,
    leaves: list,
    inputs: Any,
    key: Any,
    positions: np.ndarray | None,
    report: Callable[[str], None],
) -> Any:
    """As `calls.run`, by the function that is compiled for few rows or for long texts, if the call has either."""
    given = inputs["inputs_embeds"][..., 0] if "inputs_embeds" in inputs else inputs["input_ids"]
    few = given.size <= FEW
    long = given.shape[-1] >= LONG and math.prod(given.shape[:-1]) > 1 and _has_avx512()
    if positions is not None:  # their number is rounded up too, since each shape is compiled
        count = 1 << (positions.shape[1] - 1).bit_length()
        growth = [(0, large - size) for large, size in zip((len(given), count), positions.shape, strict=True)]
        positions = np.pad(positions, growth)
    elif not few and not long:
        report("XLA, by the model's own function, which is as fast for this shape")
        return run_plainly(structure, settings, options, train, leaves, inputs, key)
    report(describe_path(None))
    return _find_function(few)(structure, settings, options, leaves, inputs, positions)


@cache
def _find_function(few: bool) -> Any:
    """The compiled forward pass; for few rows by Eigen, if this version of XLA has the option."""
    more: dict[str, Any] = {"compiler_options": EIGEN} if few and _has_option() else {}
    return jax.jit(_run, static_argnums=(0, 1, 2), **more)


@cache
def _has_avx512() -> bool:
    """Whether the CPU has AVX-512: with AVX2 alone, long texts take longer one after the other (AMD Zen 3)."""
    try:
        return "avx512f" in CPU.read_text()
    except OSError:
        return False


@cache
def _has_option() -> bool:
    """Whether XLA knows the option that chooses Eigen."""
    try:
        jax.jit(jnp.negative, compiler_options=EIGEN)(jnp.zeros(1))
    except (TypeError, jax.errors.JaxRuntimeError):  # no options, or not this one
        return False
    return True


def _run(
    structure: Any, settings: str, options: Options, leaves: list[Any], inputs: dict[str, Any], positions: Any = None
) -> Any:
    """The forward pass of a model taken apart, as a pure function, with another attention, and perhaps few logits."""
    model = jax.tree.unflatten(structure, leaves)
    if positions is not None:

        def select(hidden: Array) -> Array:
            return jnp.take_along_axis(hidden, positions[..., None], axis=1)

        vars(model)["lm_head"] = HeadAt(model.lm_head, select)
    for layer in model.base_model.encoder.layer:
        if type(layer.attention.self) is SelfAttention:  # a user's own attention stays
            vars(layer.attention.self)["attend"] = attend
    return model._forward(**inputs, **dict(options))


def attend(query: Array, key: Array, value: Array, mask: Array | None, head_mask: None) -> tuple[Array, None]:
    """The weighted values [B, N, S, H]; the weights are not kept."""
    query = query / math.sqrt(query.shape[3])

    def attend_rows(parts: tuple[Array, ...]) -> Array:
        query, key, value, *masks = parts
        scores = query @ key.swapaxes(-1, -2)
        for mask in masks:
            scores = jnp.where(mask == 0, scores, mask)
        return jax.nn.softmax(scores, axis=-1) @ value

    parts = (query, key, value, *(() if mask is None else (mask,)))
    one_by_one = query.shape[0] > 1 and query.shape[2] >= LONG
    return jax.lax.map(attend_rows, parts) if one_by_one else attend_rows(parts), None


def _compare() -> None:
    """Compare the attention with the ordinary one; once per process, as it has no weights.

    Raises:
        ValueError: They differ by more than rounding.
    """
    error = max(map(_measure_error, (8, LONG)))
    if not error <= TOLERANCE:
        raise ValueError(
            f"attention differs from the ordinary one by {error:.1e} of its largest value; the limit is "
            f"{TOLERANCE:.0e}: call the model itself, and report this with `roberta info --runtime`"
        )


@cache
def _measure_error(length: int) -> float:
    """The largest difference from the ordinary attention on random queries, keys and values, relative to its values."""
    parts = np.random.default_rng(length).standard_normal((3, 2, 1, length, 4), np.float32)
    mask = np.zeros((2, 1, 1, length), np.float32)
    mask[1, :, :, 5:] = np.finfo(np.float32).min

    @jax.jit
    def compute(parts: Array, mask: Array) -> tuple[Array, Array]:
        ordinary: Any = SimpleNamespace(head_size=4, dropout=lambda weights: weights)
        query, key, value = parts
        want = SelfAttention.attend(ordinary, query, key, value, mask, None)[0]
        return attend(query, key, value, mask, None)[0], want

    got, want = map(np.asarray, compute(parts, mask))
    return float(np.abs(got - want).max() / np.abs(want).max())


def _find_lasting_obstacle(model: Any) -> str | None:
    """Why a model is not compiled for inference; None if it is."""
    if type(model).__module__ != "roberta_flax.models":
        return f"{type(model).__name__} is not a class of roberta_flax"
    if model.config.is_decoder:
        return "the model is a decoder"
    if model.dtype != jnp.float32:
        return f"the model computes in {model.dtype}"
    return None


def _find_obstacle(model: Any, given: Mapping[str, Any]) -> str | None:
    """Why a call must go to the ordinary model; None if it need not."""
    for name in UNSERVED:
        if given.get(name) is not None and given[name] is not False:
            return f"the call has {name}"
    if model._resolve_option("output_attentions", given.get("output_attentions")):
        return "the call has output_attentions"
    if model.base_model.encoder.gradient_checkpointing:
        return "gradient checkpointing is on"
    table = model.base_model.embeddings.word_embeddings.embedding.get_raw_value()
    values = jax.tree.leaves((dict(given), table))
    if any(isinstance(value, Tracer) for value in values):
        return "the call is traced"
    devices = {device for value in values if isinstance(value, jax.Array) for device in value.devices()}
    if len(devices) > 1 or any(device.platform != "cpu" for device in devices):
        return f"the arrays are on {', '.join(sorted(map(str, devices)))}"
    return None


@cache
def _list_arguments(kind: type) -> tuple[str, ...]:
    """The names of the arguments of a class's call."""
    return tuple(inspect.signature(kind.__call__).parameters)[1:]

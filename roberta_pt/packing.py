"""The encoder with weights that oneDNN has packed: what `frozen()` runs instead of `Encoder`.

Shapes: B batch, S sequence, R rows (B*S, or only the tokens that are no padding), D hidden, F feed-forward, N heads,
H head. A run is a number of rows of one length that follow each other.
"""

import logging
import warnings
from collections.abc import Sequence
from threading import Lock
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roberta_pt.encoder import AddNorm, Encoder, Layer
from roberta_pt.products import select_library

logger = logging.getLogger(__name__)

Run = tuple[int, int]  # how many sequences, and their length

# Activations that oneDNN computes inside the product: their names there.
FUSED: dict[Any, tuple[str, list[Any], str]] = {F.gelu: ("gelu", [], "none")}
NONE = ("none", [], "none")
# Attention as a graph of oneDNN: it takes milliseconds and a buffer of N*S*S numbers to prepare for a length, so only
# long texts use it, their lengths are rounded up to a few, and a process prepares at most `MOST_CORES` of them.
LONG, LONGEST, STEP = 256, 512, 64
MOST_CORES = 10
TOLERANCE = 1e-5  # of attention, relative to its largest value; rounding gives under 2e-6
# To which multiple a number of rows is rounded up, by the largest such number; above, to the last.
ROUNDED = ((16, 4), (64, 8), (256, 16), (1024, 32))
LARGEST_STEP = 128
WARM = 3  # calls until the graph is compiled; the first ones compute in another order


class Packed(NamedTuple):
    """A linear layer for oneDNN."""

    weight: Tensor
    bias: Tensor | None


class PackedLayer(NamedTuple):
    """A layer: four products, and the modules whose values are read at each call."""

    layer: Layer
    heads: int
    head_size: int
    inputs: Packed  # query, key and value: D to 3*N*H
    context: Packed
    wide: Packed
    narrow: Packed


def pack_encoder(encoder: Encoder) -> list[PackedLayer]:
    """Pack the weights of all layers; this copies them."""
    return [_pack_layer(layer) for layer in encoder.layer]


def run_encoder(
    layers: Sequence[PackedLayer], rows: Tensor, runs: Sequence[Run], mask: Tensor | None, keep_all: bool
) -> tuple[Tensor, ...]:
    """The hidden states [R, D] after each layer, after `rows` themselves; only the last one unless `keep_all`.

    Args:
        layers: The packed layers.
        rows: The embedded tokens [R, D], contiguous.
        runs: How the rows divide into sequences.
        mask: What is added to the scores [B, 1, S or 1, S] of a single run.
        keep_all: Whether to return all hidden states.
    """
    count = rows.shape[0]
    rows = F.pad(rows, (0, 0, 0, _round_up(count) - count))
    states = [rows]
    for packed in layers:
        rows = _run_layer(packed, rows, runs, mask)
        states = [*states, rows] if keep_all else [rows]
    return tuple(state[:count] for state in states)


def _round_up(count: int) -> int:
    """A number of rows that few batches differ in: oneDNN keeps code and buffers for each number that it sees."""
    step = next((step for most, step in ROUNDED if count <= most), LARGEST_STEP)
    return -(-count // step) * step


def _pack_layer(layer: Any) -> PackedLayer:
    attention = layer.attention.self
    parts = (attention.query, attention.key, attention.value)
    weight = torch.cat([part.weight for part in parts])
    bias = None if any(part.bias is None for part in parts) else torch.cat([part.bias for part in parts])
    return PackedLayer(
        layer,
        attention.heads,
        attention.head_size,
        Packed(_pack(weight), bias),
        _pack_linear(layer.attention.output.dense),
        _pack_linear(layer.intermediate.dense),
        _pack_linear(layer.output.dense),
    )


def _pack_linear(linear: nn.Linear) -> Packed:
    return Packed(_pack(linear.weight), linear.bias)


def _pack(weight: Tensor) -> Tensor:
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous())


def _run_layer(packed: PackedLayer, rows: Tensor, runs: Sequence[Run], mask: Tensor | None) -> Tensor:
    """[R, D] to [R, D]."""
    layer, activation = packed.layer, packed.layer.intermediate.activation
    context = _attend(packed, _multiply(rows, packed.inputs), runs, mask)
    rows = _add_norm(layer.attention.output, context, packed.context, rows)
    wide = _multiply(rows, packed.wide, FUSED.get(activation, NONE))
    return _add_norm(layer.output, wide if activation in FUSED else activation(wide), packed.narrow, rows)


def _multiply(rows: Tensor, packed: Packed, activation: tuple[str, list[Any], str] = NONE) -> Tensor:
    return torch.ops.mkldnn._linear_pointwise.default(rows, packed.weight, packed.bias, *activation)


def _add_norm(module: AddNorm, rows: Tensor, packed: Packed, residual: Tensor) -> Tensor:
    """The product, bias and residual in one operator, then LayerNorm."""
    added = torch.ops.mkldnn._linear_pointwise.binary(rows, residual, packed.weight, packed.bias, "add")
    norm = module.LayerNorm
    return torch.layer_norm(added, norm.normalized_shape, norm.weight, norm.bias, norm.eps)


def _attend(packed: PackedLayer, projected: Tensor, runs: Sequence[Run], mask: Tensor | None) -> Tensor:
    """The context [R, N*H] of queries, keys and values [R, 3*N*H]."""
    sizes = [count * length for count, length in runs]
    context = projected.new_zeros(projected.shape[0], packed.heads * packed.head_size)
    sizes.append(projected.shape[0] - sum(sizes))  # rows that only round the number up
    parts = zip(projected.split(sizes), context.split(sizes), strict=True)
    for (part, out), (count, length) in zip(parts, runs, strict=False):
        shape = (count, length, packed.heads, packed.head_size)
        query, key, value = part.view(count, length, 3, *shape[2:]).permute(2, 0, 3, 1, 4).unbind(0)
        found = _attend_run(query, key, value, mask)
        out.view(shape).copy_(found.transpose(1, 2))
    return context


def _attend_run(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
    """The weighted values [B, N, S, H]: by oneDNN where texts are long and it multiplies faster, else by PyTorch."""
    length = query.shape[2]
    if LONG <= length <= LONGEST and select_library() == "onednn" and (mask is None or mask.shape[2] == 1):
        core = _find_core(query.shape[1], query.shape[3], -(-length // STEP) * STEP)
        if core is not None:
            return torch.cat([core(*parts) for parts in _split_batch(query, key, value, mask)])
    return F.scaled_dot_product_attention(query, key, value, mask)


def _split_batch(query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Any:
    """Queries, keys, values [1, N, S, H] and mask [1, 1, 1, S] of each text."""
    masks = [None] * len(query) if mask is None else mask.expand(len(query), -1, -1, -1).split(1)
    return zip(query.split(1), key.split(1), value.split(1), masks, strict=True)


class _Core(nn.Module):
    """Attention in the order of operations that oneDNN fuses; the queries are scaled."""

    def forward(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor) -> Tensor:
        """[1, N, S, H] to [1, N, S, H]; `mask` [1, 1, 1, S] is added to the scores."""
        scores = torch.matmul(query, key.transpose(2, 3)) + mask
        return torch.matmul(torch.softmax(scores, -1), value)


class _PaddedCore:
    """The compiled core for one padded length."""

    def __init__(self, heads: int, size: int, length: int):
        self.length = length
        shape = (1, heads, length, size)
        generator = torch.Generator().manual_seed(0)
        parts = [torch.randn(shape, generator=generator) for _ in range(3)]
        self.example: tuple[Tensor, ...] = (*parts, torch.zeros(1, 1, 1, length))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of torch.jit, which alone compiles for oneDNN
            traced: Any = torch.jit.trace(_Core().eval(), self.example, check_trace=False)
            self.core = torch.jit.freeze(traced.eval())
        before = torch.jit.onednn_fusion_enabled()
        torch.jit.enable_onednn_fusion(True)  # for the whole process: only while this graph is compiled
        try:
            for _ in range(WARM):
                self.core(*self.example)
        finally:
            torch.jit.enable_onednn_fusion(before)

    def is_right(self) -> bool:
        """Whether the compiled core agrees with PyTorch's attention; if not, this is logged."""
        query, key, value, _ = self.example
        want = F.scaled_dot_product_attention(query, key, value, scale=1.0)
        error = float((self.core(*self.example) - want).abs().max() / want.abs().max())
        self.example = ()
        if error > TOLERANCE:
            logger.warning("oneDNN's attention is off by %.1e for %d tokens; PyTorch's is used", error, self.length)
        return error <= TOLERANCE

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, mask: Tensor | None) -> Tensor:
        """[1, N, S, H] to [1, N, S, H]; what padding adds is never attended."""
        length = query.shape[2]
        grown = (0, 0, 0, self.length - length)
        query = query * query.shape[3] ** -0.5
        query, key, value = (F.pad(part, grown).contiguous() for part in (query, key, value))
        shown = query.new_zeros(1, 1, 1, length) if mask is None else mask
        return self.core(query, key, value, F.pad(shown, (0, self.length - length), value=-torch.inf))[:, :, :length]


_cores: dict[tuple[int, int, int], _PaddedCore | None] = {}
_lock = Lock()


def _find_core(heads: int, size: int, length: int) -> _PaddedCore | None:
    """The core of a padded length; None if the process has prepared too many: PyTorch does not free their memory."""
    key = (heads, size, length)
    if key not in _cores and hasattr(torch.jit, "enable_onednn_fusion"):
        with _lock:
            if key not in _cores and len(_cores) < MOST_CORES:
                core = _PaddedCore(*key)
                _cores[key] = core if core.is_right() else None
    return _cores.get(key)

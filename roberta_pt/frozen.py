"""`model.frozen()`: a view of a model for inference, which is called like it and returns what it returns, faster.

The view packs the weights of the encoder for oneDNN once, and replaces the encoder, and nothing else, during calls.
When it is made it compares the packed encoder with the ordinary one, and refuses if they differ by more than rounding.
Each call first checks that nothing has changed that the view holds a copy of; if something has, or the call needs what
the packed encoder lacks, the ordinary model is called, and `path` says why.

Shapes: B batch, S sequence, R rows of tokens, D hidden.
"""

import inspect
from collections.abc import Iterable, Sequence
from functools import cache
from itertools import groupby
from typing import Any

import torch
from torch import Tensor, nn

from roberta_core.frozen import FrozenView, HeadAt
from roberta_core.outputs import ModelOutput
from roberta_pt.encoder import AddNorm, Attention, Encoder, Intermediate, Layer, SelfAttention
from roberta_pt.layers import Dropout, LayerNorm, Linear
from roberta_pt.packing import PackedLayer, Run, pack_encoder, run_encoder
from roberta_pt.products import describe_cpu, find_packing_obstacle, is_eager

# The largest difference from the ordinary encoder, relative to its largest value. Rounding gives under 2e-6 (measured);
# a transposed square matrix or a missing bias gives more than 1e-2.
TOLERANCE = 1e-5
# The modules of an encoder that the packed one replaces; any other type, such as an adapter's, is called.
REPLACED = (Encoder, nn.ModuleList, Layer, Attention, SelfAttention, AddNorm, Intermediate, Linear, LayerNorm, Dropout)
# The arguments of `Encoder.forward` after the mask.
ARGUMENTS = (
    "head_mask", "encoder_hidden_states", "encoder_attention_mask", "past_key_values", "filled", "output_attentions",
)  # fmt: skip
TRAINING = "the model is in training mode"


class FrozenModel(FrozenView):
    """A view of a model for inference: the calls, attributes and outputs of the model, with a faster encoder.

    Attributes:
        model: The model, which stays as it is.
        path: How the latest call was computed, and why, in one sentence.
    """

    def refresh(self) -> None:
        """Take over the model's present weights: after a write through `.data`, which no check sees, for example.

        Raises:
            ValueError: The results differ from the model's by more than rounding.
        """
        self._layers: list[PackedLayer] = []
        self._obstacle = _find_lasting_obstacle(self.model)
        if self._obstacle is None:
            with torch.no_grad():
                self._watched = _Watched(self.model)
                self._layers = pack_encoder(self.model.base_model.encoder)
                self._obstacle = self._compare()
        self._report(self._obstacle)

    def __call__(
        self, *args: Any, skip_padding: bool = False, positions: Any = None, **kwargs: Any
    ) -> ModelOutput[Tensor]:
        """Return what the model returns for the same arguments.

        Args:
            *args: As the model takes them.
            skip_padding: Compute only the tokens that `attention_mask` shows; outputs at padding are then undefined.
                Ignored where rows are not padded on the right.
            positions: Positions [B, K] of tokens: a language model returns the logits [B, K, V] of these only.
            **kwargs: As the model takes them.
        """
        given = {**dict(zip(_list_arguments(type(self.model)), args, strict=False)), **kwargs}
        positions = self._check_positions(positions, given)
        if self._obstacle == TRAINING and not self.model.training:
            self.refresh()
        obstacle = self._find_obstacle()
        self._report(obstacle)
        if self._has_own_forward() and positions is not None:
            return _select_logits(self.model(*args, **kwargs), positions)
        model = self.model if positions is None else _replace_head(self.model, positions)
        if obstacle is not None:
            return model(*args, **kwargs)
        keep_all = self.model._resolve_option("output_hidden_states", given.get("output_hidden_states"))
        return _replace_encoder(model, _PackedEncoder(self, skip_padding, keep_all))(*args, **kwargs)

    def _has_own_forward(self) -> bool:
        """Whether the model's forward pass is not that of a class of this package, so that its head is not known."""
        return type(self.model).__module__ != "roberta_pt.models" or "forward" in vars(self.model)

    def _find_obstacle(self) -> str | None:
        """Why a call must go to the ordinary model; None if it need not."""
        if self._obstacle is not None:
            return self._obstacle
        if torch.is_grad_enabled():
            return "gradients are enabled (use torch.no_grad())"
        if not is_eager():
            return "the call is compiled, traced, transformed or under autocast"
        return self._watched.find_change(self.model)

    def _compare(self) -> str | None:
        """Compare the packed encoder with the ordinary one; return why it cannot be used.

        Raises:
            ValueError: They differ by more than rounding.
        """
        body = self.model.base_model
        ids, mask = _draw_inputs(self.model.config)
        want = body(ids, attention_mask=mask).last_hidden_state
        if not want.isfinite().all():
            return "its outputs are not finite"
        for skip_padding in (False, True):
            got = _replace_encoder(body, _PackedEncoder(self, skip_padding, False))(ids, attention_mask=mask)
            shown = mask.bool() if skip_padding else torch.ones_like(mask).bool()
            error = float((got.last_hidden_state - want)[shown].abs().max() / want.abs().max().clamp(min=1e-30))
            if not error <= TOLERANCE:
                raise ValueError(
                    f"the packed encoder differs from the ordinary one by {error:.1e} of its largest value; the limit "
                    f"is {TOLERANCE:.0e}: call the model itself, and report this with `roberta info --runtime`"
                )
        return None

    def _describe(self, obstacle: str | None) -> str:
        return describe_path(obstacle)


def describe_path(obstacle: str | None) -> str:
    """How a call is computed, by why it cannot be faster, in one sentence."""
    return f"oneDNN packed: {describe_cpu()}" if obstacle is None else f"plain: {obstacle}"


class _PackedEncoder:
    """Stands in for `Encoder` during one call."""

    def __init__(self, view: FrozenModel, skip_padding: bool, keep_all: bool):
        self.view, self.skip_padding, self.keep_all = view, skip_padding, keep_all

    def __call__(
        self, hidden: Tensor, mask: Tensor | None, *others: Any
    ) -> tuple[tuple[Tensor, ...], tuple, tuple, tuple]:
        """As `Encoder.forward`, which is called for what the packed encoder does not have."""
        if obstacle := _find_input_obstacle(hidden, mask, others):
            self.view._report(obstacle)
            return self.view.model.base_model.encoder(hidden, mask, *others)
        batch, length, size = hidden.shape
        lengths = _measure_lengths(mask) if self.skip_padding and mask is not None else None
        if lengths is None:
            rows = hidden.contiguous().view(-1, size)
            states = run_encoder(self.view._layers, rows, [(batch, length)], mask, self.keep_all)
            return tuple(state.view(hidden.shape) for state in states), (), (), ()
        real = torch.arange(length) < torch.tensor(lengths)[:, None]  # [B, S]
        states = run_encoder(self.view._layers, hidden[real], _find_runs(lengths), None, self.keep_all)
        return tuple(_scatter(state, real, hidden) for state in states), (), (), ()


class _Watched:
    """What the packed weights were made of: modules, parameters, and their values as far as PyTorch counts writes."""

    def __init__(self, model: Any):
        self.body, self.encoder = model.base_model, model.base_model.encoder
        self.outer = {id(module): module for module in (model, self.body)}.values()
        self.modules = [
            (module, type(module), len(vars(module)), dict(module._modules)) for module in self.encoder.modules()
        ]
        self.hooks = [hooks for module, *_ in self.modules for hooks in _list_hooks(module)]
        self.parameters = [
            # The detached tensor keeps the memory, so that no other tensor can get its address.
            (module._parameters, name, value, value.detach(), value.data_ptr(), value._version)
            for module in self.encoder.modules()
            for name, value in module._parameters.items()
            if value is not None
        ]

    def find_change(self, model: Any) -> str | None:
        """Why the packed weights do not stand for the model's encoder now; None if they do."""
        if model.base_model is not self.body or self.body._modules.get("encoder") is not self.encoder:
            return "the encoder was replaced: call refresh()"
        for module, kind, size, children in self.modules:
            if type(module) is not kind or len(vars(module)) != size or module._modules != children:
                return "a module of the encoder was changed: call refresh()"
            if module.training:
                return TRAINING
        for parameters, name, value, _, address, version in self.parameters:
            if parameters.get(name) is not value or value.data_ptr() != address or value._version != version:
                return "weights were changed: call refresh()"
        return "a hook is registered" if any(self.hooks) else find_hook(self.outer)


def _find_lasting_obstacle(model: Any) -> str | None:
    """Why a model cannot be packed; None if it can."""
    if obstacle := find_packing_obstacle():
        return obstacle
    if type(model).__module__ != "roberta_pt.models":
        return f"{type(model).__name__} is not a class of roberta_pt"
    if model.config.is_decoder:
        return "the model is a decoder"
    if model.attn_implementation != "sdpa":
        return f"attn_implementation is {model.attn_implementation}"
    encoder = model.base_model.encoder
    for path, module in encoder.named_modules():
        if type(module) not in REPLACED:
            return f"encoder.{path} is {type(module).__module__}.{type(module).__name__}"
        if method := _find_foreign_method(type(module)):
            return f"{type(module).__name__}.{method} was replaced"
    if encoder.training or any(module.training for module in encoder.modules()):
        return TRAINING
    for name, value in encoder.named_parameters():
        if type(value) is not nn.Parameter or value.is_inference():
            return f"encoder.{name} is {type(value).__name__}{' of inference mode' * value.is_inference()}"
        if value.dtype != torch.float32 or value.device.type != "cpu":
            return f"encoder.{name} is {value.dtype} on {value.device}"
    return find_hook([model, model.base_model, *encoder.modules()])


def find_hook(modules: Iterable[nn.Module]) -> str | None:
    """Why modules must be called themselves: something watches or replaces their calls. None if nothing does."""
    if torch.nn.modules.module._has_any_global_hook():
        return "a hook is registered for all modules"
    for module in modules:
        if any(_list_hooks(module)):
            return "a hook is registered"
        if "forward" in vars(module) or "_compiled_call_impl" in vars(module):
            return f"the forward pass of {type(module).__name__} was replaced or compiled"
    return None


def _list_hooks(module: nn.Module) -> tuple[Any, ...]:
    """The dicts that hold the hooks of a module."""
    return module._forward_hooks, module._forward_pre_hooks, module._backward_hooks, module._backward_pre_hooks


def _find_foreign_method(kind: type) -> str | None:
    """The name of a method of one of our classes that someone replaced; None if there is none."""
    if not kind.__module__.startswith("roberta_pt."):
        return None
    functions = {name: value for name, value in vars(kind).items() if inspect.isfunction(value)}
    return next((name for name, value in functions.items() if value.__module__ != kind.__module__), None)


def _find_input_obstacle(hidden: Tensor, mask: Tensor | None, others: Sequence[Any]) -> str | None:
    """Why the packed encoder does not serve these arguments of `Encoder.forward`; None if it does."""
    for name, value in zip(ARGUMENTS, others, strict=False):
        if value is not None and value is not False:
            return f"the call has {name}"
    for tensor in (hidden,) if mask is None else (hidden, mask):
        if type(tensor) is not Tensor or tensor.dtype != torch.float32 or tensor.device.type != "cpu":
            return f"the inputs are {tensor.dtype} on {tensor.device}"
    return None if hidden.numel() else "the inputs are empty"


def _measure_lengths(mask: Tensor) -> list[int] | None:
    """The tokens of each row by a mask [B, 1, 1, S]; None if a row has none, or not all at its front."""
    if mask.shape[2] != 1:
        return None
    shown = mask[:, 0, 0] == 0  # [B, S]
    at_front = shown[:, 0].all() and not (shown[:, 1:] & ~shown[:, :-1]).any()
    return shown.sum(1).tolist() if at_front else None


def _find_runs(lengths: Sequence[int]) -> list[Run]:
    """Runs of neighbours of one length."""
    return [(len(list(same)), length) for length, same in groupby(lengths)]


def _scatter(rows: Tensor, real: Tensor, like: Tensor) -> Tensor:
    """Rows [R, D] at the places of `real` [B, S], zeros elsewhere, as [B, S, D]."""
    out = torch.zeros_like(like)
    out[real] = rows
    return out


def _replace_encoder(model: Any, encoder: Any) -> Any:
    """A shallow copy of a model with another encoder; all else is the model's own."""
    body = model.base_model
    replaced = _copy_with(body, "encoder", encoder)
    return replaced if body is model else _copy_with(model, "roberta", replaced)


def _replace_head(model: Any, positions: Any) -> Any:
    """A shallow copy of a language model whose head computes the logits of some tokens only."""
    places = torch.as_tensor(positions, device=model.device)

    def select(hidden: Tensor) -> Tensor:
        return hidden.gather(1, places[..., None].expand(-1, -1, hidden.shape[-1]))

    return _copy_with(model, "lm_head", HeadAt(model.lm_head, select))


def _select_logits(output: Any, positions: Any) -> Any:
    """An output with the logits of some tokens only."""
    rows = torch.arange(len(positions))[:, None]
    return type(output)({**output, "logits": output.logits[rows, torch.as_tensor(positions)]})


def _copy_with(module: nn.Module, name: str, child: Any) -> Any:
    made = object.__new__(type(module))
    vars(made).update(vars(module))
    vars(made)["_modules"] = {**module._modules, name: child}
    return made


def _draw_inputs(config: Any) -> tuple[Tensor, Tensor]:
    """Two short rows of ids and their mask; the second is padded."""
    length = min(7, config.max_sequence_length)
    ids = (torch.arange(2 * length).view(2, length) * 7919 + 3) % config.vocab_size
    ids[ids == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    mask = torch.ones_like(ids)
    mask[1, length // 2 + 1 :] = 0
    return ids.masked_fill(mask == 0, config.pad_token_id), mask


@cache
def _list_arguments(kind: type) -> tuple[str, ...]:
    """The names of the arguments of a class's forward pass."""
    return tuple(inspect.signature(kind.forward).parameters)[1:]  # pyright: ignore[reportAttributeAccessIssue]

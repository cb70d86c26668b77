"""Model outputs: dicts with declared fields that can also be read by attribute, index and slice.

Shapes: B batch, S sequence, D hidden, N heads, H head, L layers, V vocabulary, K labels, C choices, T cached length.
The fields and their order are those of the published PyTorch classes, the same in every framework. A field that a
call does not produce is absent, so `output.to_tuple()` is what `return_dict=False` returns. The classes are generic
over the framework's array type: `MaskedLMOutput[torch.Tensor]` has `logits: torch.Tensor | None`.
"""

from collections.abc import Iterable
from typing import Any, ClassVar, Generic, NamedTuple, Self, TypeVar

T = TypeVar("T")


class FixedCache(NamedTuple):
    """Keys and values in arrays of a fixed length, so that each step of decoding has the same shapes.

    `layers` holds (key, value) of each layer, or with the cross pair, each [B, N, T, H]; the first `filled` of the T
    slots are in use. `real` [B, 1] counts the tokens of each row that are not padding, by their ids, from which the
    positions continue; None means that the attention mask counts them. `model.init_cache(batch, length)` makes one;
    calls return it with their tokens added.
    """

    layers: tuple[tuple[Any, ...], ...]
    filled: Any
    real: Any = None


class KeyValueCache(tuple[tuple[Any, ...], ...]):
    """Keys and values that grow with each call: (key, value) of each layer, or with the cross pair, each [B, N, T, H].

    `real` [B, 1] counts the tokens of each row that are not padding, by their ids, from which the positions continue.
    A plain tuple is accepted in its place; then the attention mask counts them.
    """

    real: Any

    def __new__(cls, layers: Iterable[tuple[Any, ...]] = (), real: Any = None) -> Self:  # noqa: D102
        self = super().__new__(cls, layers)
        self.real = real
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (tuple(self), self.real)


class ModelOutput(dict[str, Any], Generic[T]):
    """A dict of a class's declared fields in their order; a field given as None is absent and reads as None."""

    fields: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls, **kwargs: Any):
        super().__init_subclass__(**kwargs)
        cls.fields = tuple(cls.__annotations__)

    def __init__(self, *args: Any, **kwargs: Any):
        given = dict(*args, **kwargs)
        unknown = sorted(set(given) - set(self.fields))
        if unknown:
            raise TypeError(f"{type(self).__name__} has no field {', '.join(unknown)}")
        super().__init__({name: given[name] for name in self.fields if given.get(name) is not None})

    def __getattr__(self, name: str) -> Any:
        if name in type(self).fields:
            return self.get(name)
        raise AttributeError(f"{type(self).__name__} has no field {name}")

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in type(self).fields:
            raise AttributeError(f"{type(self).__name__} has no field {name}")
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        merged = type(self)({**self, name: value})
        super().clear()
        super().update(merged)

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *self.fields})

    def __repr__(self) -> str:
        fields = ", ".join(f"{name}={_describe(value)}" for name, value in self.items())
        return f"{type(self).__name__}({fields})"

    def to_tuple(self) -> tuple[Any, ...]:
        """Return the values of the fields that are present, in order."""
        return tuple(self.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def __copy__(self) -> Self:
        return type(self)(dict(self))

    copy = __copy__


def _describe(value: Any) -> str:
    """Return the shape and type of an array, the length and parts of a tuple, or the value."""
    if isinstance(value, FixedCache):
        return f"FixedCache({_describe(value.layers)}, filled={value.filled})"
    if isinstance(value, tuple | list):
        parts = [_describe(part) for part in value]
        return f"{len(parts)} x ({parts[0]})" if len(set(parts)) == 1 else f"({', '.join(parts)})"
    shape = getattr(value, "shape", None)
    if shape is None:
        return repr(value)
    kind = getattr(value.dtype, "name", str(value.dtype)).removeprefix("torch.")
    return f"{kind}[{', '.join(map(str, shape))}]"


class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput[T]):
    """Output of Model.

    Attributes:
        last_hidden_state: [B, S, D].
        pooler_output: [B, D].
        hidden_states: L+1 of [B, S, D], if requested.
        past_key_values: L of 2 or 4 of [B, N, T, H], of decoders.
        attentions: L of [B, N, S, T], if requested.
        cross_attentions: L of [B, N, S, T], if requested.
    """

    last_hidden_state: T | None
    pooler_output: T | None
    hidden_states: tuple[T, ...] | None
    past_key_values: Any
    attentions: tuple[T, ...] | None
    cross_attentions: tuple[T, ...] | None


class BaseModelOutputWithPastAndCrossAttentions(ModelOutput[T]):
    """Output of the building block `RobertaEncoder`.

    Attributes:
        last_hidden_state: [B, S, D].
        past_key_values: The cache, of decoders.
        hidden_states: L+1 of [B, S, D], if requested.
        attentions: L of [B, N, S, T], if requested.
        cross_attentions: L of [B, N, S, T], if requested.
    """

    last_hidden_state: T | None
    past_key_values: Any
    hidden_states: tuple[T, ...] | None
    attentions: tuple[T, ...] | None
    cross_attentions: tuple[T, ...] | None


class CausalLMOutputWithCrossAttentions(ModelOutput[T]):
    """Output of ForCausalLM.

    Attributes:
        loss: [], or one loss for each label.
        logits: [B, S, V].
        past_key_values: L of 2 or 4 of [B, N, T, H], of decoders.
        hidden_states: L+1 of [B, S, D], if requested.
        attentions: L of [B, N, S, T], if requested.
        cross_attentions: L of [B, N, S, T], if requested.
    """

    loss: T | None
    logits: T | None
    past_key_values: Any
    hidden_states: tuple[T, ...] | None
    attentions: tuple[T, ...] | None
    cross_attentions: tuple[T, ...] | None


class MaskedLMOutput(ModelOutput[T]):
    """Output of ForMaskedLM.

    Attributes:
        loss: [], or one loss for each label.
        logits: [B, S, V].
        hidden_states: L+1 of [B, S, D], if requested.
        attentions: L of [B, N, S, T], if requested.
    """

    loss: T | None
    logits: T | None
    hidden_states: tuple[T, ...] | None
    attentions: tuple[T, ...] | None


class SequenceClassifierOutput(ModelOutput[T]):
    """Output of ForSequenceClassification.

    Attributes:
        loss: [], or one loss for each row.
        logits: [B, K].
        hidden_states: L+1 of [B, S, D], if requested.
        attentions: L of [B, N, S, T], if requested.
    """

    loss: T | None
    logits: T | None
    hidden_states: tuple[T, ...] | None
    attentions: tuple[T, ...] | None


class MultipleChoiceModelOutput(ModelOutput[T]):
    """Output of ForMultipleChoice.

    Attributes:
        loss: [], or one loss for each row.
        logits: [B, C].
        hidden_states: L+1 of [B*C, S, D], if requested.
        attentions: L of [B*C, N, S, T], if requested.
    """

    loss: T | None
    logits: T | None
    hidden_states: tuple[T, ...] | None
    attentions: tuple[T, ...] | None


class TokenClassifierOutput(ModelOutput[T]):
    """Output of ForTokenClassification.

    Attributes:
        loss: [], or one loss for each label.
        logits: [B, S, K].
        hidden_states: L+1 of [B, S, D], if requested.
        attentions: L of [B, N, S, T], if requested.
    """

    loss: T | None
    logits: T | None
    hidden_states: tuple[T, ...] | None
    attentions: tuple[T, ...] | None


class QuestionAnsweringModelOutput(ModelOutput[T]):
    """Output of ForQuestionAnswering.

    Attributes:
        loss: [], or one loss for each row.
        start_logits: [B, S].
        end_logits: [B, S].
        hidden_states: L+1 of [B, S, D], if requested.
        attentions: L of [B, N, S, T], if requested.
    """

    loss: T | None
    start_logits: T | None
    end_logits: T | None
    hidden_states: tuple[T, ...] | None
    attentions: tuple[T, ...] | None


class GenerateOutput(ModelOutput[T]):
    """Output of generate, for R rows.

    Attributes:
        sequences: [R, T], the prompts and the new tokens.
        sequences_scores: [R], the scores of the beams.
        scores: One of [R, V] for each step.
        beam_indices: [R, N], the row of each step that a beam's new token was chosen from; -1 after its end.
    """

    sequences: T | None
    sequences_scores: T | None
    scores: tuple[T, ...] | None
    beam_indices: T | None


OUTPUTS: tuple[type[ModelOutput[Any]], ...] = (
    BaseModelOutputWithPoolingAndCrossAttentions,
    BaseModelOutputWithPastAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    SequenceClassifierOutput,
    MultipleChoiceModelOutput,
    TokenClassifierOutput,
    QuestionAnsweringModelOutput,
    GenerateOutput,
)

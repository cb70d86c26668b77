"""What a model returns: a dict with a declared field order that can also be read by attribute, index and slice.

Shapes: B batch, S sequence, D hidden, N heads, H head, L layers, V vocabulary, K labels, C choices, T cached length.
The fields and their order are those of the published PyTorch classes, the same in every framework. A field that a
call does not produce is absent, so `output.to_tuple()` is what `return_dict=False` returns.
"""

from typing import Any, ClassVar, NamedTuple, Self


class ModelOutput(dict):
    """A dict of a class's fields in their declared order; a field given as None is absent and reads as None."""

    fields: ClassVar[tuple[str, ...]] = ()

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
        self[name] = value

    def __setitem__(self, name: str, value: Any) -> None:
        merged = type(self)({**self, name: value})
        super().clear()
        super().update(merged)

    def __getitem__(self, key: str | int | slice) -> Any:
        return super().__getitem__(key) if isinstance(key, str) else self.to_tuple()[key]

    def to_tuple(self) -> tuple[Any, ...]:
        """The values of the fields that are there, in order."""
        return tuple(self.values())

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (dict(self),)

    def __copy__(self) -> Self:
        return type(self)(dict(self))

    copy = __copy__


class BaseModelOutputWithPoolingAndCrossAttentions(ModelOutput):
    """Of Model: last_hidden_state [B, S, D], pooler_output [B, D].

    Of every class, when asked for: hidden_states L+1 of [B, S, D], attentions L of [B, N, S, T].
    """

    fields = (
        "last_hidden_state",
        "pooler_output",
        "hidden_states",
        "past_key_values",
        "attentions",
        "cross_attentions",
    )


class CausalLMOutputWithCrossAttentions(ModelOutput):
    """Of ForCausalLM: loss [], logits [B, S, V], past_key_values L of 2 or 4 of [B, N, T, H]."""

    fields = ("loss", "logits", "past_key_values", "hidden_states", "attentions", "cross_attentions")


class MaskedLMOutput(ModelOutput):
    """Of ForMaskedLM: loss [], logits [B, S, V]."""

    fields = ("loss", "logits", "hidden_states", "attentions")


class SequenceClassifierOutput(ModelOutput):
    """Of ForSequenceClassification: loss [], logits [B, K]."""

    fields = ("loss", "logits", "hidden_states", "attentions")


class MultipleChoiceModelOutput(ModelOutput):
    """Of ForMultipleChoice: loss [], logits [B, C]; hidden_states and attentions have B*C rows."""

    fields = ("loss", "logits", "hidden_states", "attentions")


class TokenClassifierOutput(ModelOutput):
    """Of ForTokenClassification: loss [], logits [B, S, K]."""

    fields = ("loss", "logits", "hidden_states", "attentions")


class QuestionAnsweringModelOutput(ModelOutput):
    """Of ForQuestionAnswering: loss [], start_logits and end_logits [B, S]."""

    fields = ("loss", "start_logits", "end_logits", "hidden_states", "attentions")


class GenerateOutput(ModelOutput):
    """Of generate: sequences [R, T], prompt and new tokens; scores of each step [R, V]; of beams their own [R]."""

    fields = ("sequences", "sequences_scores", "scores")


class FixedCache(NamedTuple):
    """Keys and values in arrays of a fixed length, so that each step of decoding has the same shapes.

    `layers` holds (key, value) of each layer, or with the cross pair, each [B, N, T, H]; the first `filled` of the T
    slots are in use. `model.init_cache(batch, length)` makes one; calls return it with their tokens added.
    """

    layers: tuple[tuple[Any, ...], ...]
    filled: Any


OUTPUTS: tuple[type[ModelOutput], ...] = (
    BaseModelOutputWithPoolingAndCrossAttentions,
    CausalLMOutputWithCrossAttentions,
    MaskedLMOutput,
    SequenceClassifierOutput,
    MultipleChoiceModelOutput,
    TokenClassifierOutput,
    QuestionAnsweringModelOutput,
    GenerateOutput,
)

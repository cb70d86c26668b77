"""The output types as the tree libraries see them: predict, functional models, export and tf.function split them."""

from typing import Any

import optree
import tensorflow as tf
from tensorflow.core.function import trace_type

from roberta_core.outputs import OUTPUTS, KeyValueCache, ModelOutput


def register(kind: type[ModelOutput]) -> None:
    """Tell the tree library that an output is a branch with a leaf for each field that is there."""

    def flatten(output: Any) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
        return list(output.values()), tuple(output), tuple(output)

    def unflatten(names: Any, values: Any) -> ModelOutput:
        return kind(zip(names, values, strict=True))

    optree.register_pytree_node(kind, flatten, unflatten, namespace="keras")


def flatten_cache(cache: Any) -> tuple[list[Any], None, None]:
    """Return the layers and the real tokens of a cache."""
    return [tuple(cache)] if cache.real is None else [tuple(cache), cache.real], None, None


def unflatten_cache(_: Any, values: Any) -> KeyValueCache:
    """Return a cache of layers and real tokens."""
    return KeyValueCache(*values)


class CacheType(tf.types.experimental.TraceType):
    """The type of a cache as an argument of a user's tf.function, which would make a plain tuple of it."""

    def __init__(self, parts: Any):
        self.parts = parts  # the type of the pair (layers, real)

    def is_subtype_of(self, other: Any) -> bool:
        """Whether a graph traced for the other type accepts this one."""
        return isinstance(other, CacheType) and self.parts.is_subtype_of(other.parts)

    def most_specific_common_supertype(self, others: Any) -> Any:
        """Return the type that covers this one and the others, or None."""
        if not all(isinstance(other, CacheType) for other in others):
            return None
        parts = self.parts.most_specific_common_supertype([other.parts for other in others])
        return None if parts is None else CacheType(parts)

    def placeholder_value(self, placeholder_context: Any) -> KeyValueCache:
        """Return the cache that a traced function gets."""
        return KeyValueCache(*self.parts.placeholder_value(placeholder_context))

    def to_tensors(self, value: Any) -> Any:
        """Return the tensors of a cache."""
        return self.parts.to_tensors((tuple(value), value.real))

    def from_tensors(self, tensors: Any) -> KeyValueCache:
        """Return the cache of tensors."""
        return KeyValueCache(*self.parts.from_tensors(tensors))

    def flatten(self) -> Any:
        """Return the types of the tensors."""
        return self.parts.flatten()

    def cast(self, value: Any, cast_context: Any) -> KeyValueCache:
        """Return a cache with its parts cast to this type."""
        return KeyValueCache(*self.parts.cast((tuple(value), value.real), cast_context))

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, CacheType) and self.parts == other.parts

    def __hash__(self) -> int:
        return hash(self.parts)


def register_with_nest(kind: Any) -> None:
    """Give a class the methods that tf.nest and tf.function look for: without them, the real tokens would be lost."""

    def unflatten(cls: type[KeyValueCache], _: Any, parts: Any) -> KeyValueCache:
        return cls(*parts)

    def get_type(cache: Any, context: Any) -> CacheType:
        return CacheType(trace_type.from_value((tuple(cache), cache.real), context))

    kind.__tf_flatten__ = lambda cache: ((), (tuple(cache), cache.real))
    kind.__tf_unflatten__ = classmethod(unflatten)
    kind.__tf_tracing_type__ = get_type


for output in OUTPUTS:
    register(output)
optree.register_pytree_node(KeyValueCache, flatten_cache, unflatten_cache, namespace="keras")
register_with_nest(KeyValueCache)

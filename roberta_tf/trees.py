"""The output types as Keras's tree library sees them: predict, functional models and export take them apart."""

from typing import Any

import optree

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


for output in OUTPUTS:
    register(output)
optree.register_pytree_node(KeyValueCache, flatten_cache, unflatten_cache, namespace="keras")

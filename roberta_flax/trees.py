"""The output types as JAX's tree library sees them: jit, grad and vmap take them apart."""

from typing import Any

import jax

from roberta_core.outputs import OUTPUTS, KeyValueCache, ModelOutput


def register(kind: type[ModelOutput]) -> None:
    """Tell the tree library that an output is a branch with a leaf for each field that is there."""

    def flatten(output: ModelOutput) -> tuple[list[Any], tuple[str, ...]]:
        return list(output.values()), tuple(output)

    def flatten_with_keys(output: ModelOutput) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
        return [(jax.tree_util.DictKey(name), value) for name, value in output.items()], tuple(output)

    def unflatten(names: tuple[str, ...], values: Any) -> ModelOutput:
        output = kind()
        dict.update(output, zip(names, values, strict=True))  # a tree of None keeps its fields
        return output

    jax.tree_util.register_pytree_with_keys(kind, flatten_with_keys, unflatten, flatten)


def flatten_cache(cache: KeyValueCache) -> tuple[list[Any], None]:
    """Return the layers and the real tokens of a cache."""
    return [tuple(cache), cache.real], None


def unflatten_cache(_: None, values: Any) -> KeyValueCache:
    """Return a cache of layers and real tokens."""
    return KeyValueCache(*values)


for output in OUTPUTS:
    register(output)
jax.tree_util.register_pytree_node(KeyValueCache, flatten_cache, unflatten_cache)

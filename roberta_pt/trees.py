"""The output types as PyTorch's tree library sees them: export, compile and data parallelism take them apart."""

from typing import Any

from torch.utils import _pytree as pytree

from roberta_core.outputs import OUTPUTS, KeyValueCache, ModelOutput


def register(kind: type[ModelOutput]) -> None:
    """Tell the tree library that an output is a branch with a leaf for each field that is there."""

    def flatten(output: ModelOutput) -> tuple[list[Any], tuple[str, ...]]:
        return list(output.values()), tuple(output)

    def flatten_with_keys(output: ModelOutput) -> tuple[list[tuple[Any, Any]], tuple[str, ...]]:
        return [(pytree.MappingKey(name), value) for name, value in output.items()], tuple(output)

    def unflatten(values: Any, names: Any) -> ModelOutput:
        return kind(zip(names, values, strict=True))

    pytree.register_pytree_node(
        kind,
        flatten,
        unflatten,
        serialized_type_name=f"roberta_core.outputs.{kind.__name__}",
        flatten_with_keys_fn=flatten_with_keys,
    )


def flatten_cache(cache: KeyValueCache) -> tuple[list[Any], None]:
    """Return the layers and the real tokens of a cache."""
    return [tuple(cache), cache.real], None


def unflatten_cache(values: Any, _: None) -> KeyValueCache:
    """Return a cache of layers and real tokens."""
    return KeyValueCache(*values)


for output in OUTPUTS:
    register(output)
pytree.register_pytree_node(
    KeyValueCache, flatten_cache, unflatten_cache, serialized_type_name="roberta_core.outputs.KeyValueCache"
)

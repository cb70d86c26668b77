"""The output types as Keras's tree library sees them: predict, functional models and export take them apart."""

from typing import Any

import optree

from roberta_core.outputs import OUTPUTS, ModelOutput


def register(kind: type[ModelOutput]) -> None:
    """Tell the tree library that an output is a branch with a leaf for each field that is there."""

    def flatten(output: Any) -> tuple[list[Any], tuple[str, ...], tuple[str, ...]]:
        return list(output.values()), tuple(output), tuple(output)

    def unflatten(names: Any, values: Any) -> ModelOutput:
        return kind(zip(names, values, strict=True))

    optree.register_pytree_node(kind, flatten, unflatten, namespace="keras")


for output in OUTPUTS:
    register(output)

"""Export to StableHLO."""

from pathlib import Path
from typing import Any

import jax
import jax.export
import jax.numpy as jnp
import numpy as np

from roberta_core.checkpoints.conversion import Opened
from roberta_core.exports import Exporter, Function, keep_pooler, list_inputs
from roberta_flax.backend import BACKEND

FILE = "model.stablehlo"


def write_stablehlo(opened: Opened, folder: Path, dtype: str, ids: str) -> None:
    """Write StableHLO with its parameters, for any batch size and length, as `jax.export` serialises it."""
    model: Any = BACKEND.from_tensors(opened.architecture, opened.config, opened.tensors, **keep_pooler(opened))
    axes, scope = list_inputs(opened.config, opened.architecture), jax.export.SymbolicScope()
    shapes = {
        name: jax.ShapeDtypeStruct(jax.export.symbolic_shape(",".join(own), scope=scope), jnp.int32)
        for name, own in axes.items()
    }

    def call(inputs: dict[str, jax.Array]) -> dict[str, jax.Array]:
        output = model(**inputs, params=model.params)
        return {name: value for name, value in output.items() if name != "past_key_values"}

    exported = jax.export.export(jax.jit(call))(shapes)
    (folder / FILE).write_bytes(exported.serialize())


def open_stablehlo(folder: Path) -> Function:
    """Return the function of an exported program."""
    exported = jax.export.deserialize(bytearray((folder / FILE).read_bytes()))

    def run(**inputs: np.ndarray) -> dict[str, np.ndarray]:
        found: Any = exported.call({name: jnp.asarray(array, jnp.int32) for name, array in inputs.items()})
        return {name: np.asarray(value) for name, value in found.items()}

    return run


STABLEHLO = Exporter("flax", FILE, write_stablehlo, open_stablehlo, ids=("int32",))

"""Tensors in and out of a Flax model by their published names, and the published nested dict of parameters."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array
from jax.core import Tracer
from jax.typing import DTypeLike

from roberta_core.parameters import is_transposed, spell
from roberta_flax.own_layers import flatten, list_values, nest, to_raw

BLOCK = 64  # columns turned at a time, which is 4 times as fast as all at once
ALIGNMENT = 64  # bytes; an array that starts at a multiple JAX takes over as it is

SIZES = {"kernel": ("in_features", "out_features"), "embedding": ("num_embeddings", "features")}


def assign(
    model: Any, tensors: Iterable[tuple[str, np.ndarray]], dtype: DTypeLike | None = None, keep_half: bool = False
) -> None:
    """Make copies of NumPy arrays the parameters of a model, as `dtype` if given; those of 16 bits may keep theirs."""
    own = list_values(model) if model._is_own() else {}
    for name, value in convert_tensors(model, tensors, dtype, keep_half):
        if model._linen is not None:
            own[name] = value
            continue
        if name in own:
            own[name].set_value(value)
        path, _, leaf = name.rpartition(".")
        module = _find(model, path) if path else model
        if name not in own:
            getattr(module, leaf).set_value(value)
        for size, number in zip(SIZES.get(leaf, ()), value.shape, strict=False):
            setattr(module, size, number)  # what the layer says of itself, after its size has changed
    if model._linen is not None:
        model._linen.params = nest(own.items())


def convert_tensors(
    model: Any, tensors: Iterable[tuple[str, np.ndarray]], dtype: DTypeLike | None = None, keep_half: bool = False
) -> Iterator[tuple[str, Array]]:
    """Copies of NumPy arrays as Flax keeps them, with Flax's names; `model` need not have values."""
    table = model._get_table()
    for name, array in tensors:
        parameter = table[name]
        turned = array.T if is_transposed(parameter, "flax") else array
        is_kept = not jnp.issubdtype(array.dtype, jnp.floating) or (keep_half and array.dtype.itemsize == 2)
        kind = array.dtype if is_kept else dtype
        yield spell(parameter, "flax"), jax.device_put(_copy_aligned(turned, kind) if array.ndim else array)


def get_device(model: Any) -> Any:
    """Return the device that a model is tied to, or None if JAX chooses it."""
    value = next(iter(variables(model).values())).get_raw_value()
    return next(iter(value.sharding.device_set)) if value.committed and len(value.sharding.device_set) == 1 else None


def tensors(model: Any, params: Mapping[str, Any] | None = None) -> Iterator[tuple[str, np.ndarray]]:
    """The parameters of a model, or of `params`, as NumPy arrays in the published shapes; on the CPU not copied."""
    table = model._get_table(whole=True)
    values = match_params(
        [spell(parameter, "flax") for parameter in table.values()], get_params(model) if params is None else params
    )
    for name, parameter in table.items():
        value = np.asarray(values[spell(parameter, "flax")])
        yield name, value.T if is_transposed(parameter, "flax") else value


def variables(model: Any) -> dict[str, Any]:
    """The variables of a model by Flax's names."""
    values = list_values(model)
    return {name: values[name] for name in (spell(row, "flax") for row in model._get_table(whole=True).values())}


def get_params(model: Any) -> dict[str, Any]:
    """The parameters of a model, not copied, as the published nested dict. `ValueError` if it has no values."""
    values = {name: to_raw(value) for name, value in variables(model).items()}
    if any(isinstance(value, jax.ShapeDtypeStruct) for value in values.values()):
        raise ValueError("this model was made without values (_do_init=False): its params are yours to keep")
    return nest(values.items())


def set_params(model: Any, params: Mapping[str, Any]) -> None:
    """Make the arrays of a nested dict the parameters of a model. `ValueError` unless it has exactly those."""
    own = variables(model)
    if model._linen is not None:
        model._linen.params = nest((name, jnp.asarray(value)) for name, value in match_params(own, params).items())
        return
    for name, value in match_params(own, params).items():
        own[name].set_value(jnp.asarray(value))


def match_params(names: Iterable[str], params: Mapping[str, Any]) -> dict[str, Any]:
    """The values of a nested dict by their names. `ValueError` unless it has exactly `names`."""
    wanted, given = set(names), dict(flatten(params))
    missing, unknown = sorted(wanted - given.keys()), sorted(given.keys() - wanted)
    if missing or unknown:
        raise ValueError(f"params do not fit the model: missing {missing}; unknown {unknown}")
    return given


def cast(params: Mapping[str, Any], dtype: DTypeLike, mask: Mapping[str, Any] | None = None) -> Any:
    """The parameters as `dtype`; those that are False in `mask`, a nested dict too, stay as they are."""

    def one(value: Array, wanted: bool = True) -> Array:
        return value.astype(dtype) if wanted and jnp.issubdtype(value.dtype, jnp.floating) else value

    return jax.tree.map(one, params) if mask is None else jax.tree.map(one, params, mask)


def get_seed(key: Array) -> int:
    """A seed from a key: `seed` again from `jax.random.key(seed)`."""
    words = jax.random.key_data(key) if jnp.issubdtype(key.dtype, jax.dtypes.prng_key) else key
    return sum(int(word) << 32 * place for place, word in enumerate(reversed(np.asarray(words).flatten().tolist())))


def as_concrete(value: Any) -> Any:
    """An array to check values in, where reading them costs nothing: on the CPU, not traced; else as it is."""
    if not isinstance(value, jax.Array) or isinstance(value, Tracer):
        return value
    devices = value.sharding.device_set
    return np.asarray(value) if len(devices) == 1 and next(iter(devices)).platform == "cpu" else value


def _copy_aligned(array: np.ndarray, dtype: DTypeLike | None) -> np.ndarray:
    """A contiguous copy that JAX takes over without another one."""
    kind = np.dtype(dtype or array.dtype)
    memory = np.empty(array.size * kind.itemsize + ALIGNMENT, np.uint8)
    start = -memory.ctypes.data % ALIGNMENT
    out = memory[start : start + array.size * kind.itemsize].view(kind).reshape(array.shape)
    step = array.shape[-1] if array.flags.c_contiguous else BLOCK
    for column in range(0, array.shape[-1], step):
        out[..., column : column + step] = array[..., column : column + step]
    return out


def _find(model: Any, path: str) -> Any:
    for part in path.split("."):
        model = model[int(part)] if part.isdigit() else getattr(model, part)
    return model

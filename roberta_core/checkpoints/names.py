"""From the keys of a file, in any dialect and spelling, to the published names of a class."""

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from roberta_core.checkpoints.errors import CheckpointError
from roberta_core.config import RobertaConfig
from roberta_core.parameters import (
    ARCHITECTURES,
    BASE_PREFIX,
    DIALECTS,
    Kind,
    Parameter,
    aliases,
    is_transposed,
    parameters,
    spell,
)

# How the norms' leaves were called before 2019; in PyTorch's dialect only, and only after a known norm's full name.
OLD_LEAVES = {"weight": "gamma", "bias": "beta"}

# Constants that PyTorch's classes of 2020 to 2023 kept among their weights.
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")

# Keys of checkpoints trained with relative positions.
RELATIVE = "distance_embedding"

# Of the two names of a tied tensor the one that counts, where a file has both and they differ. Those are the readings
# of transformers 4.57.6; 5.23.0 too takes this bias (also untied), but the decoder's weight for the word table.
ALIAS_COUNTS = {"lm_head.decoder.bias": True, "lm_head.decoder.weight": False}


class Known(NamedTuple):
    """What a key of a file means: the name without the base prefix, whether it is kept turned, an old spelling."""

    name: str
    turned: bool
    old: bool


def bare(name: str) -> str:
    """A published name without the prefix that head classes put before the body's."""
    return name.removeprefix(BASE_PREFIX)


def understand(keys: Collection[str], metadata: Mapping[str, str], config: RobertaConfig) -> dict[str, Known | None]:
    """What each key of a file means, None if nothing, in the dialect in which most of them mean something.

    The metadata name the dialect, and decide where the keys do not; but they can be absent, foreign ("mlx", "np") or
    copied from a file with other names.
    """
    return _reading(keys, metadata, config)[1]


def dialect(keys: Collection[str], metadata: Mapping[str, str], config: RobertaConfig) -> str:
    """The dialect in which most keys mean something, as `understand` takes them."""
    return _reading(keys, metadata, config)[0]


def _reading(
    keys: Collection[str], metadata: Mapping[str, str], config: RobertaConfig
) -> tuple[str, dict[str, Known | None]]:
    order = sorted(DIALECTS, key=lambda dialect: dialect != metadata.get("format"))
    readings = [
        (dialect, {key: known.get(bare_key(key, dialect)) for key in keys})
        for dialect, known in ((dialect, dictionary(config, dialect)) for dialect in order)
    ]
    return max(readings, key=lambda reading: sum(known is not None for known in reading[1].values()))


def dictionary(config: RobertaConfig, dialect: str) -> dict[str, Known]:
    """Every key that means something, for any class of this configuration's size: key without prefix -> meaning."""
    found: dict[str, Known] = {}
    for parameter in _all_parameters(config):
        name = bare(parameter.name)
        found[bare_key(spell(parameter, dialect), dialect)] = Known(name, is_transposed(parameter, dialect), False)
        if dialect == "pt" and parameter.kind is Kind.NORM:
            stem = name.removesuffix(parameter.leaf)
            found[stem + OLD_LEAVES[parameter.leaf]] = Known(name, False, True)
    return found


def bare_key(key: str, dialect: str) -> str:
    """A key of a file without the base prefix."""
    return key.removeprefix("roberta/") if dialect == "tf" else bare(key)


def sources(config: RobertaConfig, name: str) -> tuple[str, ...]:
    """The bare names under which a file may have a tensor, the one that counts first."""
    tied = {bare(stored): alias for alias, stored in aliases(config, "ForMaskedLM").items()}
    alias = tied.get(bare(name))
    if alias is None:
        return (bare(name),)
    return (alias, bare(name)) if ALIAS_COUNTS[alias] else (bare(name), alias)


class Spelled(Mapping[str, np.ndarray]):
    """Tensors under the names of a dialect's files, its matrices turned (as views), each made when asked for."""

    def __init__(self, tensors: Mapping[str, np.ndarray], keys: Mapping[str, Known]):
        self._tensors, self._keys = tensors, keys

    def __getitem__(self, key: str) -> np.ndarray:
        array = self._tensors[self._keys[key].name]
        return array.T if self._keys[key].turned else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def spelled(
    config: RobertaConfig, architecture: str, dialect: str, tensors: Mapping[str, np.ndarray], same: Mapping[str, str]
) -> Spelled:
    """The tensors of a class as a dialect's files have them, those in `same` under a second name too.

    `CheckpointError` for an untied head in TensorFlow's dialect, for the published classes that read it always tie.
    """
    if dialect == "tf" and not config.tie_word_embeddings and aliases(config, architecture):
        raise CheckpointError("TensorFlow's published classes cannot read an untied head; take another format")
    base = "roberta/" if dialect == "tf" and architecture == "Model" else ""
    table = parameters(config, architecture, any(name.endswith("pooler.dense.weight") for name in tensors))
    keys = {base + spell(row, dialect): Known(name, is_transposed(row, dialect), False) for name, row in table.items()}
    return Spelled(tensors, {**keys, **{second: Known(name, False, False) for second, name in same.items()}})


def _all_parameters(config: RobertaConfig) -> list[Parameter]:
    """The tensors of all classes with every optional part, and the decoder's bias."""
    whole = copy.copy(config)
    whole.num_labels, whole.tie_word_embeddings = 2, False
    whole.is_decoder = whole.add_cross_attention = True
    rows = {p.name: p for p in parameters(whole, "Model", pooler=True).values()}
    whole.num_hidden_layers = 0  # the other classes only add their heads
    for architecture in ARCHITECTURES[1:]:
        rows.update(parameters(whole, architecture))
    return [*rows.values(), Parameter("lm_head.decoder.bias", Kind.BIAS, (config.vocab_size,))]

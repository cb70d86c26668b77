"""From the keys of a file, in any dialect and spelling, to the published names of a class."""

import copy
from collections.abc import Collection, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from roberta_core.checkpoints.errors import CheckpointError, join_names, shorten
from roberta_core.config import RobertaConfig
from roberta_core.parameters import (
    ARCHITECTURES,
    BASE_PREFIX,
    DIALECTS,
    WORD_TABLE,
    Kind,
    Parameter,
    aliases,
    is_transposed,
    parameters,
    spell,
)

# Names of the norms' parameters before 2019; only in PyTorch's dialect, and only after the full name of a known norm.
OLD_LEAVES = {"weight": "gamma", "bias": "beta"}

# Constants that PyTorch's classes of 2020 to 2023 saved with their weights.
BUFFERS = ("embeddings.position_ids", "embeddings.token_type_ids")

# Keys of checkpoints trained with relative positions.
RELATIVE = "distance_embedding"

# Which of the two names of a tied tensor is used if a file has both and they differ, as in transformers 4.57.6;
# 5.23.0 uses the same bias (also if untied), but the decoder's weight for the word table.
ALIAS_COUNTS = {"lm_head.decoder.bias": True, "lm_head.decoder.weight": False}


class Known(NamedTuple):
    """The meaning of a key: its name without the base prefix, and whether it is stored transposed or an old name."""

    name: str
    transposed: bool
    old: bool


def strip_prefix(name: str) -> str:
    """Return a published name without the prefix that head classes put before the names of the body."""
    return name.removeprefix(BASE_PREFIX)


def interpret_keys(
    keys: Collection[str], metadata: Mapping[str, str], config: RobertaConfig, own: Collection[Parameter] = ()
) -> dict[str, Known | None]:
    """Return the meaning of each key of a file, None if unknown, in the dialect that knows most of them.

    The dialect named in the metadata is used only if the keys fit several: metadata can be absent, foreign ("mlx",
    "np") or copied from a file with other names. `own` are the tensors that a user's class adds.
    """
    return _interpret(keys, metadata, config, own)[1]


def detect_dialect(keys: Collection[str], metadata: Mapping[str, str], config: RobertaConfig) -> str:
    """Return the dialect that knows most of the keys, as in `interpret_keys`."""
    return _interpret(keys, metadata, config)[0]


def _interpret(
    keys: Collection[str], metadata: Mapping[str, str], config: RobertaConfig, own: Collection[Parameter] = ()
) -> tuple[str, dict[str, Known | None]]:
    order = sorted(DIALECTS, key=lambda dialect: dialect != metadata.get("format"))
    readings = [
        (dialect, {key: known.get(strip_key_prefix(key, dialect)) for key in keys})
        for dialect, known in ((dialect, build_dictionary(config, dialect, own)) for dialect in order)
    ]
    return max(readings, key=lambda reading: sum(known is not None for known in reading[1].values()))


def build_dictionary(config: RobertaConfig, dialect: str, own: Collection[Parameter] = ()) -> dict[str, Known]:
    """Return all known keys, for every class of this configuration and `own`: key without prefix -> meaning."""
    found: dict[str, Known] = {}
    for parameter in [*_all_parameters(config), *own]:
        name = strip_prefix(parameter.name)
        key = strip_key_prefix(spell(parameter, dialect), dialect)
        found[key] = Known(name, is_transposed(parameter, dialect), False)
        if dialect == "pt" and parameter.kind is Kind.NORM:
            stem = name.removesuffix(parameter.leaf)
            found[stem + OLD_LEAVES[parameter.leaf]] = Known(name, False, True)
    return found


def strip_key_prefix(key: str, dialect: str) -> str:
    """Return a key of a file without the base prefix."""
    return key.removeprefix("roberta/") if dialect == "tf" else strip_prefix(key)


def list_sources(config: RobertaConfig, name: str) -> tuple[str, ...]:
    """Return the names without prefix under which a file may have a tensor, in order of precedence."""
    tied = {strip_prefix(stored): alias for alias, stored in aliases(config, "ForMaskedLM").items()}
    alias = tied.get(strip_prefix(name))
    if alias is None:
        return (strip_prefix(name),)
    return (alias, strip_prefix(name)) if ALIAS_COUNTS[alias] else (strip_prefix(name), alias)


class StrippedTensors(Mapping[str, np.ndarray]):
    """The tensors of a file, with a prefix removed from the keys that begin with it; each is read on access.

    Raises:
        CheckpointError: No key begins with the prefix, or another key is like one without it.
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], prefix: str):
        self._tensors = tensors
        self._keys = {key.removeprefix(prefix): key for key in tensors}
        if not any(key.startswith(prefix) for key in tensors):
            shown = join_names(sorted(tensors)[:3])
            raise CheckpointError(f"no tensor begins with strip_prefix {shorten(repr(prefix))}; they are like {shown}")
        if len(self._keys) < len(tensors):
            twice = join_names(sorted(key for key in self._keys if key in tensors and prefix + key in tensors))
            raise CheckpointError(f"with and without strip_prefix {shorten(repr(prefix))} there are {twice}")

    def __getitem__(self, key: str) -> np.ndarray:
        return self._tensors[self._keys[key]]

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def find_prefixes(keys: Collection[str]) -> list[str]:
    """Return what stands before the names of a model in the keys of a file: a wrapper's prefix, or those of two halves.

    A prefix such as "module." is found by the key of the word embeddings; the published prefix "roberta." is none.
    """
    found: dict[str, None] = {}
    for dialect in DIALECTS:
        table = spell(Parameter(BASE_PREFIX + WORD_TABLE, Kind.EMBEDDING, ()), dialect)
        for end in (table, strip_key_prefix(table, dialect)):
            for prefix in (key.removesuffix(end) for key in keys if key.endswith(end)):
                if prefix.endswith((".", "/")) and strip_key_prefix(prefix, dialect):
                    found[prefix] = None
    return [one for one in found if not any(one != other and one.startswith(other) for other in found)]


class RespelledTensors(Mapping[str, np.ndarray]):
    """Tensors under the names of a dialect, matrices transposed (as views), each created on access."""

    def __init__(self, tensors: Mapping[str, np.ndarray], keys: Mapping[str, Known]):
        self._tensors, self._keys = tensors, keys

    def __getitem__(self, key: str) -> np.ndarray:
        array = self._tensors[self._keys[key].name]
        return array.T if self._keys[key].transposed else array

    def __iter__(self) -> Iterator[str]:
        return iter(self._keys)

    def __len__(self) -> int:
        return len(self._keys)


def respell(
    config: RobertaConfig,
    architecture: str,
    dialect: str,
    tensors: Mapping[str, np.ndarray],
    same: Mapping[str, str],
    table: Mapping[str, Parameter],
) -> RespelledTensors:
    """Return the tensors of a class under the names of a dialect, those in `same` under a second name too.

    `table` has the tensors of the class.

    Raises:
        CheckpointError: The head is untied and the dialect is TensorFlow's, whose published classes always tie it.
    """
    if dialect == "tf" and not config.tie_word_embeddings and aliases(config, architecture):
        raise CheckpointError("the published TensorFlow classes cannot load an untied head; choose another format")
    base = "roberta/" if dialect == "tf" and architecture == "Model" else ""
    keys = {base + spell(row, dialect): Known(name, is_transposed(row, dialect), False) for name, row in table.items()}
    return RespelledTensors(tensors, {**keys, **{second: Known(name, False, False) for second, name in same.items()}})


def _all_parameters(config: RobertaConfig) -> list[Parameter]:
    """Return the tensors of all classes with every optional part, and the decoder's bias."""
    whole = copy.copy(config)
    whole.num_labels, whole.tie_word_embeddings = 2, False
    whole.is_decoder = whole.add_cross_attention = True
    rows = {p.name: p for p in parameters(whole, "Model", pooler=True).values()}
    whole.num_hidden_layers = 0  # the other classes add only their heads
    for architecture in ARCHITECTURES[1:]:
        rows.update(parameters(whole, architecture))
    return [*rows.values(), Parameter("lm_head.decoder.bias", Kind.BIAS, (config.vocab_size,))]

"""Matching the tensors of a file to those of a model; every tensor of both is accounted for."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import replace

import ml_dtypes
import numpy as np

from roberta_core.checkpoints.errors import CheckpointError, join_names, shorten
from roberta_core.checkpoints.mapped import has_same_bits
from roberta_core.checkpoints.names import (
    ALIAS_COUNTS,
    BUFFERS,
    RELATIVE,
    Known,
    find_prefixes,
    interpret_keys,
    list_sources,
    strip_prefix,
)
from roberta_core.checkpoints.report import LoadReport, Mismatch, Pair, Renamed, find_part, group_by_part
from roberta_core.config import RobertaConfig
from roberta_core.parameters import Parameter

FLOATS = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)
HARMLESS = ("pooler", "lm_head")  # parts that a class may ignore without a message


def match(
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    config: RobertaConfig,
    expected: Mapping[str, Parameter],
    report: LoadReport,
    own: Mapping[str, Parameter] | None = None,
) -> tuple[dict[str, np.ndarray], LoadReport]:
    """Match the tensors of a file to the tensors of a model, without copying.

    Args:
        tensors: The tensors of the file by their keys.
        metadata: The metadata of the file.
        config: The configuration of the model.
        expected: The tensors of the model.
        report: A report with the source and the class.
        own: Those of `expected` that a user's class adds to the published ones.

    Returns:
        The tensors by the names of the model, as [out, in] (a view if the file stores them transposed) and with the
        file's dtype; and the completed report.

    Raises:
        CheckpointError: The model was trained with relative positions.
    """
    if any(RELATIVE in key for key in tensors):
        raise CheckpointError(
            f"{report.source} was trained with relative positions; only absolute positions are supported"
        )
    own = own or {}
    known = interpret_keys(tensors.keys(), metadata, config, own.values())
    file = _File(tensors, {key: meaning for key, meaning in known.items() if meaning is not None})
    found: dict[str, np.ndarray] = {}
    missing, mismatched, problems = [], [], []
    for name, parameter in expected.items():
        keys = file.take(config, name, "lm_head.bias" in expected)
        if not keys:
            missing.append(name)
            continue
        array = file.value(keys[0])
        if array.dtype not in FLOATS and name not in own:
            problems.append(f"{shorten(keys[0])} has dtype {array.dtype}: quantised weights are not supported")
        elif array.shape != parameter.shape:
            mismatched.append(Mismatch(name, array.shape, parameter.shape))
        else:
            found[name] = array
    rest = [key for key in tensors if key not in file.taken]
    buffers = [key for key in rest if strip_prefix(key) in BUFFERS]
    unused = [key for key in rest if key in file.known and find_part(file.known[key].name) in HARMLESS]
    return found, replace(
        report,
        loaded=tuple(found),
        missing=tuple(missing),
        unexpected=tuple(key for key in rest if key not in {*buffers, *unused}),
        mismatched=tuple(mismatched),
        renamed=tuple(file.renamed),
        duplicate=tuple(file.duplicate),
        conflicting=tuple(file.conflicting),
        unused=tuple(unused),
        buffers=tuple(buffers),
        problems=(*problems, *file.ambiguous, *_find_gaps(missing, expected.keys() - own.keys(), list(tensors))),
        own=tuple(own),
    )


class _File:
    """The keys of a file by their meaning, and how they were used."""

    def __init__(self, tensors: Mapping[str, np.ndarray], known: Mapping[str, Known]):
        self.tensors = tensors
        self.known = known
        self.keys: dict[str, list[str]] = defaultdict(list)
        for key, meaning in known.items():
            self.keys[meaning.name].append(key)
        self.taken: set[str] = set()
        self.renamed: list[Renamed] = []
        self.duplicate: list[Pair] = []
        self.conflicting: list[Pair] = []
        self.ambiguous: list[str] = []

    def value(self, key: str) -> np.ndarray:
        """Return a tensor in the layout of PyTorch."""
        return self.tensors[key].T if self.known[key].transposed else self.tensors[key]

    def take(self, config: RobertaConfig, name: str, with_lm_head: bool) -> list[str]:
        """Return the keys that mean a tensor of the model, the one to use first; the others are compared with it."""
        names = list_sources(config, name)
        keys = [key for source in names for key in self.keys[source]]
        if not with_lm_head and self.keys[strip_prefix(name)]:
            keys = self.keys[strip_prefix(name)]  # a class without the LM head ignores the copies in the file's head
        self.taken.update(keys)
        if keys and all(self.known[key].old or self.known[key].name != strip_prefix(name) for key in keys):
            self.renamed.append(Renamed(keys[0], name))
        for other in keys[1:]:
            pair = Pair(keys[0], other)
            if has_same_bits(self.value(keys[0]), self.value(other)):
                self.duplicate.append(pair)
            elif {self.known[key].name for key in pair} & ALIAS_COUNTS.keys():
                self.conflicting.append(pair)
            else:
                self.ambiguous.append(f"{shorten(keys[0])} and {shorten(other)} differ and are both {name}")
        return keys


def _find_gaps(missing: Iterable[str], expected: Collection[str], keys: list[str]) -> Iterator[str]:
    """Yield the reasons why more than a head is missing: tensors of the encoder, or a part of the cross-attention."""
    missing = [name for name in missing if name in expected]
    body = [name for name in expected if find_part(name) is None]
    lost = [name for name in missing if find_part(name) is None]
    if lost and len(lost) == len(body):
        prefixes = [f"{prefix!r}" for prefix in find_prefixes(keys)]
        advice = f"; specify strip_prefix {' or '.join(prefixes)} (--strip-prefix)" if prefixes else ""
        shown = join_names(sorted(keys)[:3])
        yield f"it has none of the encoder's {len(body)} tensors (its keys are like {shown}){advice}"
    elif lost:
        yield f"{len(lost)} of the encoder's {len(body)} tensors are missing: {join_names(lost)}"
    cross = group_by_part(missing).get("crossattention", [])
    if 0 < len(cross) < sum(find_part(name) == "crossattention" for name in expected):
        yield f"parts of the cross-attention are missing: {join_names(cross)}"

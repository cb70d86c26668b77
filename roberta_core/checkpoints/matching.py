"""Which tensor of a file becomes which tensor of a model, with every one of both accounted for."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import replace

import ml_dtypes
import numpy as np

from roberta_core.checkpoints.errors import CheckpointError, clipped, listed
from roberta_core.checkpoints.mapped import same_bits
from roberta_core.checkpoints.names import ALIAS_COUNTS, BUFFERS, RELATIVE, Known, bare, sources, understand
from roberta_core.checkpoints.report import LoadReport, Mismatch, Pair, Renamed, grouped, part_of
from roberta_core.config import RobertaConfig
from roberta_core.parameters import Parameter

FLOATS = (np.float16, np.float32, np.float64, ml_dtypes.bfloat16)
HARMLESS = ("pooler", "lm_head")  # parts that a class may leave unused without a word


def match(
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    config: RobertaConfig,
    expected: Mapping[str, Parameter],
    report: LoadReport,
) -> tuple[dict[str, np.ndarray], LoadReport]:
    """The tensors of a file by the names of a model, as [out, in] and with the file's dtype; and the filled report.

    `expected` are the model's tensors; `report` has the source and the class. Nothing is copied: a matrix that the
    file keeps turned is given as a turned view.
    """
    if any(RELATIVE in key for key in tensors):
        raise CheckpointError(
            f"{report.source} was trained with relative positions, which no RoBERTa of this project has"
        )
    known = understand(tensors.keys(), metadata, config)
    file = _File(tensors, {key: meaning for key, meaning in known.items() if meaning is not None})
    found: dict[str, np.ndarray] = {}
    missing, mismatched, problems = [], [], []
    for name, parameter in expected.items():
        keys = file.take(config, name, "lm_head.bias" in expected)
        if not keys:
            missing.append(name)
            continue
        array = file.value(keys[0])
        if array.dtype not in FLOATS:
            problems.append(f"{clipped(keys[0])} holds {array.dtype} numbers")
        elif array.shape != parameter.shape:
            mismatched.append(Mismatch(name, array.shape, parameter.shape))
        else:
            found[name] = array
    rest = [key for key in tensors if key not in file.taken]
    buffers = [key for key in rest if bare(key) in BUFFERS]
    unused = [key for key in rest if key in file.known and part_of(file.known[key].name) in HARMLESS]
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
        problems=(*problems, *file.ambiguous, *_holes(missing, expected, list(tensors))),
    )


class _File:
    """The keys of a file by what they mean, and what was made of them."""

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
        """A tensor as PyTorch keeps it."""
        return self.tensors[key].T if self.known[key].turned else self.tensors[key]

    def take(self, config: RobertaConfig, name: str, with_lm_head: bool) -> list[str]:
        """The keys that stand for a tensor of the model, the one to use first; the others are compared with it."""
        names = sources(config, name)
        keys = [key for source in names for key in self.keys[source]]
        if not with_lm_head and self.keys[bare(name)]:
            keys = self.keys[bare(name)]  # the LM head's copies are no concern of this class
        self.taken.update(keys)
        if keys and all(self.known[key].old or self.known[key].name != bare(name) for key in keys):
            self.renamed.append(Renamed(keys[0], name))
        for other in keys[1:]:
            pair = Pair(keys[0], other)
            if same_bits(self.value(keys[0]), self.value(other)):
                self.duplicate.append(pair)
            elif {self.known[key].name for key in pair} & ALIAS_COUNTS.keys():
                self.conflicting.append(pair)
            else:
                self.ambiguous.append(f"{clipped(keys[0])} and {clipped(other)} differ and are both {name}")
        return keys


def _holes(missing: list[str], expected: Mapping[str, Parameter], keys: list[str]) -> Iterator[str]:
    """Why what is missing is more than a new head: the encoder, or some part of the attention to another encoder."""
    body = [name for name in expected if part_of(name) is None]
    lost = [name for name in missing if part_of(name) is None]
    if lost and len(lost) == len(body):
        yield f"none of the encoder's {len(body)} tensors are in it (its keys are such as {listed(sorted(keys)[:3])})"
    elif lost:
        yield f"{len(lost)} of the encoder's {len(body)} tensors are missing: {listed(lost)}"
    cross = grouped(missing).get("crossattention", [])
    if 0 < len(cross) < sum(part_of(name) == "crossattention" for name in expected):
        yield f"a part of the cross-attention is missing: {listed(cross)}"

"""The cases: data in `cases/*.json`, so that any implementation in any language can run them.

`cases/README.md` describes the format. A case draws its weights by name from NumPy's default generator, so that two
cases with the same seed and spread share the tensors that they have in common.
"""

import fnmatch
import json
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conformance.oracle import Stages, run
from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, Kind, parameters

OUTPUTS = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")
FOLDER = Path(__file__).parent / "cases"


@dataclass(frozen=True)
class Case:
    """One case: a model, its inputs, and how exact float32 is there."""

    name: str
    says: str  # what the case shows, in a sentence
    architecture: str
    config: Mapping[str, Any]
    weights: Mapping[str, Any]  # seed, spread, and for some tensors another mean and spread
    inputs: Mapping[str, Any]  # nested lists, or how to draw an array
    rtol: float
    reason: str  # what was measured, and why the tolerance is not less
    stages: tuple[str, ...] = field(default=("*",))  # patterns of the stages that are judged
    gradients: Mapping[str, Any] | None = None  # rtol and reason, where gradients are judged too
    halves: Mapping[str, Mapping[str, Any]] | None = None  # the same by type, where half precision is judged too

    @classmethod
    def read(cls, path: Path) -> "Case":
        """The case of a file; `TypeError` for a key that is unknown or missing."""
        fields = json.loads(path.read_text(encoding="utf-8"))
        return cls(name=path.stem, **{**fields, "stages": tuple(fields.get("stages", ("*",)))})

    @cached_property
    def configuration(self) -> RobertaConfig:
        """The model's configuration."""
        return RobertaConfig(**self.config)

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The float32 weights by their published names."""
        table = parameters(self.configuration, self.architecture)
        return {name: draw_weight(self.weights, name, row.kind, row.shape) for name, row in table.items()}

    @cached_property
    def arrays(self) -> dict[str, np.ndarray]:
        """The inputs: int64 and float32."""
        return {name: draw_input(name, value) for name, value in self.inputs.items()}

    @cached_property
    def weights_of_outputs(self) -> dict[str, np.ndarray]:
        """What is differentiated: the loss, or the sum of the other outputs, each times numbers drawn by its name."""
        if "loss" in self.expected:
            return {"loss": np.ones((), np.float32)}
        drawn = {"seed": self.weights["seed"], "spread": 1.0}
        outputs = {name: self.expected[name].shape for name in OUTPUTS if name in self.expected}
        return {name: draw_input(name, {**drawn, "shape": shape}) for name, shape in outputs.items()}

    @cached_property
    def expected(self) -> Stages:
        """What the float64 model gives."""
        return run(self.configuration, self.architecture, self.tensors, self.arrays)


@cache
def load_cases() -> dict[str, Case]:
    """The suite, by name, read once."""
    return {path.stem: Case.read(path) for path in sorted(FOLDER.glob("*.json"))}


def draw_weight(weights: Mapping[str, Any], name: str, kind: Kind, shape: tuple[int, ...]) -> np.ndarray:
    """A float32 tensor: normal(mean, spread), where the weights of a norm have the mean 1 and a fifth of the spread.

    `weights` has the seed, the spread, and under `special` patterns of names with a mean and spread of their own. The
    generator is seeded with the seed and the CRC-32 of the name in the body of the model.
    """
    body_name = name.removeprefix(BASE_PREFIX)
    is_scale = kind is Kind.NORM and name.endswith(".weight")
    mean, spread = (1.0, weights["spread"] / 5) if is_scale else (0.0, weights["spread"])
    for pattern, values in weights.get("special", {}).items():
        if fnmatch.fnmatchcase(body_name, pattern):
            mean, spread = values
    generator = np.random.default_rng([weights["seed"], zlib.crc32(body_name.encode())])
    return (mean + spread * generator.standard_normal(shape)).astype(np.float32)


def draw_input(name: str, value: Any) -> np.ndarray:
    """An argument: the array of a nested list, or one drawn: integers in [low, high), or normal(mean, spread).

    With a `step`, a power of two, numbers are rounded to its multiples, so that sums of them are exact in float32.
    """
    if not isinstance(value, Mapping):
        array = np.asarray(value)
        return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
    generator = np.random.default_rng([value["seed"], zlib.crc32(name.encode())])
    if "spread" not in value:
        return generator.integers(value["low"], value["high"], value["shape"])
    numbers = value.get("mean", 0.0) + value["spread"] * generator.standard_normal(value["shape"])
    return (np.round(numbers / value["step"]) * value["step"] if "step" in value else numbers).astype(np.float32)

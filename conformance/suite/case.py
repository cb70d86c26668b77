"""The forward cases: data in `cases/*.json`, so that any implementation in any language can run them.

`cases/README.md` describes the format. A case draws each weight from a generator seeded with the tensor's name, so two
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

from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, Kind, parameters

from ..oracle import Stages, run

OUTPUTS = ("last_hidden_state", "pooler_output", "logits", "start_logits", "end_logits")
FOLDER = Path(__file__).parents[1] / "cases"


@dataclass(frozen=True)
class Case:
    """A model, its inputs, and the tolerance for float32."""

    name: str
    description: str  # what the case tests, in one sentence
    architecture: str
    config: Mapping[str, Any]
    weights: Mapping[str, Any]  # seed, spread, and a separate mean and spread for some tensors
    inputs: Mapping[str, Any]  # nested lists, or the parameters of a random array
    rtol: float
    reason: str  # the measured errors that justify the tolerance
    stages: tuple[str, ...] = field(default=("*",))  # patterns of the stages that are compared
    gradients: Mapping[str, Any] | None = None  # rtol and reason, if gradients are compared too
    half_precision: Mapping[str, Mapping[str, Any]] | None = None  # rtol and reason by type, if it is compared too

    @classmethod
    def read(cls, path: Path) -> "Case":
        """Read the case of a file. Raises `TypeError` if a key is unknown or missing."""
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
        """The inputs, as int64 and float32 arrays."""
        return {name: draw_input(name, value) for name, value in self.inputs.items()}

    @cached_property
    def output_weights(self) -> dict[str, np.ndarray]:
        """The weighted sum of outputs to differentiate: the loss, or every output with random weights."""
        if "loss" in self.expected:
            return {"loss": np.ones((), np.float32)}
        drawn = {"seed": self.weights["seed"], "spread": 1.0}
        outputs = {name: self.expected[name].shape for name in OUTPUTS if name in self.expected}
        return {name: draw_input(name, {**drawn, "shape": shape}) for name, shape in outputs.items()}

    @cached_property
    def expected(self) -> Stages:
        """The stages of the float64 model."""
        return run(self.configuration, self.architecture, self.tensors, self.arrays)


@cache
def load_cases() -> dict[str, Case]:
    """Read every case, by name; read once."""
    return {path.stem: Case.read(path) for path in sorted(FOLDER.glob("*.json"))}


def draw_weight(weights: Mapping[str, Any], name: str, kind: Kind, shape: tuple[int, ...]) -> np.ndarray:
    """Draw a float32 tensor from normal(mean, spread); a norm's weight has mean 1 and a fifth of the spread.

    Args:
        weights: The seed, the spread, and under `special` name patterns with a separate mean and spread.
        name: The published name; the generator is seeded with the seed and the CRC-32 of the name without its prefix.
        kind: The kind of the parameter.
        shape: The shape of the tensor.
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
    """Build an argument: the array of a nested list, or a random one: integers in [low, high) or normal(mean, spread).

    Values are rounded to multiples of `step`, if there is one: a power of two makes their sums exact in float32.
    """
    if not isinstance(value, Mapping):
        array = np.asarray(value)
        return array.astype(np.int64 if array.dtype.kind in "iu" else np.float32)
    generator = np.random.default_rng([value["seed"], zlib.crc32(name.encode())])
    if "spread" not in value:
        return generator.integers(value["low"], value["high"], value["shape"])
    numbers = value.get("mean", 0.0) + value["spread"] * generator.standard_normal(value["shape"])
    return (np.round(numbers / value["step"]) * value["step"] if "step" in value else numbers).astype(np.float32)

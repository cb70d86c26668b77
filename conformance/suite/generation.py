"""Compare generated text with the float64 model's, for the same settings and seed.

The cases are data, `cases/generation/*.json`: a decoder, prompts, the arguments of `generate`, and the tolerance of the
scores. Every token must be equal.

Shapes: R rows, S tokens at a time, T tokens so far, V vocabulary, L layers, N heads, H head.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.generation import run
from roberta_core.parameters import parameters

from ..adapters.framework import Framework
from ..oracle import Oracle, Stages
from .case import draw_weight
from .judge import Verdict, compare_all

FOLDER = Path(__file__).parents[1] / "cases" / "generation"
ARCHITECTURE = "ForCausalLM"


@dataclass(frozen=True)
class GenerationCase:
    """A decoder, prompts, and the arguments of `generate`."""

    name: str
    description: str
    config: Mapping[str, Any]
    weights: Mapping[str, Any]
    prompts: list[list[int]]
    arguments: Mapping[str, Any]
    rtol: float
    reason: str

    @classmethod
    def read(cls, path: Path) -> "GenerationCase":
        """Read the case of a file. Raises `TypeError` if a key is unknown or missing."""
        return cls(name=path.stem, **json.loads(path.read_text(encoding="utf-8")))

    @cached_property
    def configuration(self) -> RobertaConfig:
        """The model's configuration."""
        return RobertaConfig(**self.config)

    @cached_property
    def tensors(self) -> dict[str, np.ndarray]:
        """The float32 weights."""
        table = parameters(self.configuration, ARCHITECTURE)
        return {name: draw_weight(self.weights, name, row.kind, row.shape) for name, row in table.items()}

    @property
    def ids(self) -> np.ndarray:
        """The prompts [B, S], left-padded."""
        return np.array(self.prompts)

    @property
    def mask(self) -> np.ndarray:
        """The attention mask of the prompts [B, S]."""
        return (self.ids != self.configuration.pad_token_id).astype(np.int64)

    @cached_property
    def expected(self) -> Stages:
        """The output of the float64 model without a cache."""
        return generate_in_float64(self, Float64Decoder(self), use_cache=False)


@cache
def load_generation_cases() -> dict[str, GenerationCase]:
    """Read every case, by name; read once."""
    return {path.stem: GenerationCase.read(path) for path in sorted(FOLDER.glob("*.json"))}


def generate_in_float64(case: GenerationCase, decoder: "Float64Decoder", use_cache: bool, **changed: Any) -> Stages:
    """Generate with a float64 decoder; `changed` overrides arguments of the case."""
    options = {"output_scores": True, "return_dict_in_generate": True, "use_cache": use_cache}
    output = run(case.configuration, decoder, case.ids, case.mask, {**case.arguments, **options, **changed})
    return name_stages(output["sequences"], output["scores"])


def generate_in_framework(case: GenerationCase, framework: Framework, use_cache: bool) -> Stages:
    """Generate with a framework's own `generate`."""
    model = framework.build(ARCHITECTURE, case.configuration, case.tensors)
    output = model.generate(
        framework.backend.tensor(case.ids),
        attention_mask=framework.backend.tensor(case.mask),
        use_cache=use_cache,
        output_scores=True,
        return_dict_in_generate=True,
        **case.arguments,
    )
    return name_stages(output.sequences, output.scores)


def name_stages(sequences: np.ndarray, scores: Any) -> Stages:
    """Return the sequences [R, T] and the scores [R, V] of each new token; scores of excluded tokens become 0."""
    finite = [np.where(np.isfinite(one), one, 0.0) for one in map(np.asarray, scores)]
    return {"sequences": np.asarray(sequences), **{f"scores.{step}": one for step, one in enumerate(finite)}}


def judge_generation(got: Stages, case: GenerationCase) -> list[Verdict]:
    """Compare the tokens, which must be equal, and the scores."""
    want = case.expected
    tokens = compare_all(
        {"sequences": got["sequences"]} if "sequences" in got else {}, {"sequences": want["sequences"]}, 0
    )
    return tokens + compare_all(got, want, case.rtol, ["scores.*"])


class Float64Decoder:
    """The float64 decoder for `roberta_core.generation`; each step that a fault can change is a method."""

    def __init__(self, case: GenerationCase):
        self.model = Oracle(case.configuration, ARCHITECTURE, case.tensors)

    def init_cache(self, rows: int, length: int) -> list[tuple[np.ndarray, ...]]:
        """Return an empty cache, which grows."""
        return []

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray, position_ids: np.ndarray, cache: Any) -> Any:
        """Return the last token's logits [R, V] and the extended cache, or None without a cache."""
        length = input_ids.shape[1] + (cache[0][0].shape[2] if cache else 0)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": self.mask(attention_mask[:, :length]),
            "position_ids": self.positions(position_ids, length),
            "past_key_values": cache or None,
        }
        stages = self.model.run(**inputs)
        new = None if cache is None else self.update_cache(stages, cache)
        return stages["logits"][:, -1], new

    def mask(self, attention_mask: np.ndarray) -> np.ndarray:
        """Return the attention mask [R, T]."""
        return attention_mask

    def positions(self, position_ids: np.ndarray, length: int) -> np.ndarray:
        """Return the position ids [R, S] of the new tokens."""
        return position_ids

    def update_cache(self, stages: Stages, cache: Any) -> list[tuple[np.ndarray, ...]]:
        """Return the cache after a step: L of (key, value), each [R, N, T, H]."""
        layers = self.model.config.num_hidden_layers
        return [tuple(stages[f"past_key_values.{layer}.{part}"] for part in (0, 1)) for layer in range(layers)]

    def reorder(self, cache: Any, rows: np.ndarray) -> Any:
        """Select the rows [R] of a cache."""
        return [tuple(part[rows] for part in layer) for layer in cache]

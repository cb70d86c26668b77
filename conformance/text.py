"""Generated text under judgement: against what the float64 model writes with the same settings.

The texts are data, `texts/*.json`: a decoder, prompts, the arguments of `generate`, and how exact float32 is in the
scores. The tokens must be the same, every one.

Shapes: R rows, S tokens at a time, T tokens so far, V vocabulary, L layers, N heads, H head.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import Any

import numpy as np

from conformance.case import draw_weight
from conformance.compare import Verdict, compare_all
from conformance.oracle import Oracle, Stages
from roberta_core.config import RobertaConfig
from roberta_core.generation import run
from roberta_core.parameters import parameters

FOLDER = Path(__file__).parent / "texts"
ARCHITECTURE = "ForCausalLM"


@dataclass(frozen=True)
class Text:
    """A decoder, prompts, and how to go on from them."""

    name: str
    says: str
    config: Mapping[str, Any]
    weights: Mapping[str, Any]
    prompts: list[list[int]]
    arguments: Mapping[str, Any]
    rtol: float
    reason: str

    @classmethod
    def read(cls, path: Path) -> "Text":
        """The text of a file; `TypeError` for a key that is unknown or missing."""
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
        """The prompts [B, S], padded on the left."""
        return np.array(self.prompts)

    @property
    def mask(self) -> np.ndarray:
        """What of the prompts is real [B, S]."""
        return (self.ids != self.configuration.pad_token_id).astype(np.int64)

    @cached_property
    def expected(self) -> Stages:
        """What the float64 model writes, everything read anew for each token."""
        return write(self, Reader(self), use_cache=False)


@cache
def load_texts() -> dict[str, Text]:
    """The texts, by name."""
    return {path.stem: Text.read(path) for path in sorted(FOLDER.glob("*.json"))}


def write(text: Text, reader: "Reader", use_cache: bool, **changed: Any) -> Stages:
    """The stages of a text in float64."""
    wanted = {"output_scores": True, "return_dict_in_generate": True, "use_cache": use_cache}
    output = run(text.configuration, reader, text.ids, text.mask, {**text.arguments, **wanted, **changed})
    return stages_of(output.sequences, output.scores)


def stages_of(sequences: np.ndarray, scores: Any) -> Stages:
    """Sequences [R, T], and the scores [R, V] of each new token; those that are ruled out are 0."""
    finite = [np.where(np.isfinite(one), one, 0.0) for one in map(np.asarray, scores)]
    return {"sequences": np.asarray(sequences), **{f"scores.{step}": one for step, one in enumerate(finite)}}


def judge_text(got: Stages, text: Text) -> list[Verdict]:
    """The verdicts on the tokens, which must be the same, and on the scores."""
    want = text.expected
    tokens = compare_all(
        {"sequences": got["sequences"]} if "sequences" in got else {}, {"sequences": want["sequences"]}, 0
    )
    return tokens + compare_all(got, want, text.rtol, ["scores.*"])


class Reader:
    """The float64 decoder as `roberta_core.generation` reads with it; each choice that can go wrong is a method."""

    def __init__(self, text: Text):
        self.model = Oracle(text.configuration, ARCHITECTURE, text.tensors)

    def init_cache(self, rows: int, length: int) -> list[tuple[np.ndarray, ...]]:
        """An empty cache, which grows."""
        return []

    def __call__(self, input_ids: np.ndarray, attention_mask: np.ndarray, position_ids: np.ndarray, cache: Any) -> Any:
        """The last token's logits [R, V] and the cache that has the new tokens too; without a cache, None."""
        length = input_ids.shape[1] + (cache[0][0].shape[2] if cache else 0)
        inputs = {
            "input_ids": input_ids,
            "attention_mask": self.mask(attention_mask[:, :length]),
            "position_ids": self.positions(position_ids, length),
            "past_key_values": cache or None,
        }
        stages = self.model.run(**inputs)
        new = None if cache is None else self.kept(stages, cache)
        return stages["logits"][:, -1], new

    def mask(self, attention_mask: np.ndarray) -> np.ndarray:
        """What is attended [R, T]."""
        return attention_mask

    def positions(self, position_ids: np.ndarray, length: int) -> np.ndarray:
        """The positions [R, S] of the new tokens."""
        return position_ids

    def kept(self, stages: Stages, cache: Any) -> list[tuple[np.ndarray, ...]]:
        """The cache after a step: L of (key, value), each [R, N, T, H]."""
        layers = self.model.config.num_hidden_layers
        return [tuple(stages[f"past_key_values.{layer}.{part}"] for part in (0, 1)) for layer in range(layers)]

    def reorder(self, cache: Any, rows: np.ndarray) -> Any:
        """The rows [R] of a cache."""
        return [tuple(part[rows] for part in layer) for layer in cache]


class OneStepLate(Reader):
    """A cache in which the token of before stands in the place of the newest."""

    def kept(self, stages: Stages, cache: Any) -> list[tuple[np.ndarray, ...]]:
        """With the newest slot written one step late."""

        def late(part: np.ndarray) -> np.ndarray:
            return np.concatenate([part[:, :, :-1], part[:, :, -2:-1]], axis=2)

        return [tuple(late(part) for part in layer) for layer in super().kept(stages, cache)]


class NeverReordered(Reader):
    """Beams that go on from each other's caches."""

    def reorder(self, cache: Any, rows: np.ndarray) -> Any:
        """As it was."""
        return cache


class PadsAttended(Reader):
    """Pads on the left attended like words."""

    def mask(self, attention_mask: np.ndarray) -> np.ndarray:
        """All of it."""
        return np.ones_like(attention_mask)


class PositionsCountPads(Reader):
    """Positions that count the pads on the left."""

    def positions(self, position_ids: np.ndarray, length: int) -> np.ndarray:
        """From where the token stands."""
        first = length - position_ids.shape[1] + 1 + self.model.config.pad_token_id
        return np.broadcast_to(np.arange(position_ids.shape[1]) + first, position_ids.shape)


class PositionsStay(Reader):
    """The position of the prompt's last token for every new one."""

    def positions(self, position_ids: np.ndarray, length: int) -> np.ndarray:
        """Not going on."""
        if position_ids.shape[1] > 1:
            self.last = position_ids[:, -1:]
            return position_ids
        return self.last


class KeysOnly(Reader):
    """A cache whose values are those of the prompt's last token."""

    def kept(self, stages: Stages, cache: Any) -> list[tuple[np.ndarray, ...]]:
        """Keys where values belong."""
        return [(key, key) for key, _ in super().kept(stages, cache)]


Write = Callable[[Text], Stages | None]  # None where there is nothing to do wrong


def read_by(reader: type[Reader]) -> Write:
    """The text with a cache, by a reader that does one thing wrong."""
    return lambda text: write(text, reader(text), use_cache=True)


def told(**changed: Any) -> Write:
    """The text with another value of an argument."""
    name = next(iter(changed))
    return lambda text: write(text, Reader(text), use_cache=True, **changed) if name in text.arguments else None


WRITES: dict[str, Write] = {
    "a cache one step late": read_by(OneStepLate),
    "keys for values in the cache": read_by(KeysOnly),
    "beams that go on from each other's caches": read_by(NeverReordered),
    "pads on the left attended": read_by(PadsAttended),
    "positions that count pads on the left": read_by(PositionsCountPads),
    "positions that stay after the prompt": read_by(PositionsStay),
    "another seed": told(seed=1),
    "temperature ignored": told(temperature=1.0),
    "top_k ignored": told(top_k=0),
    "top_p ignored": told(top_p=1.0),
    "repetition_penalty ignored": told(repetition_penalty=1.0),
    "no_repeat_ngram_size ignored": told(no_repeat_ngram_size=0),
    "min_new_tokens ignored": told(min_new_tokens=0),
}

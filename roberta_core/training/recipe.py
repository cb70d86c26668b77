"""A recipe: all that decides how a model is pretrained or fine-tuned, read from a TOML file.

The tables of the file are the dataclasses below; each value is checked when it is read.
"""

import dataclasses
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.data.masking import FAIRSEQ, Masking
from roberta_core.data.packing import FORMATS, FULL
from roberta_core.tasks.settings import TaskSettings
from roberta_core.training.schedule import LinearSchedule

FOLDER = Path(__file__).parent.parent / "recipes"
PRECISIONS = ("float32", "bfloat16")


class RecipeError(ValueError):
    """A recipe that cannot be followed, and why."""


@dataclass(frozen=True)
class Data:
    """What is trained on.

    Args:
        sequence_length: the most tokens of a sequence.
        format: how sentences are packed into sequences, one of `packing.FORMATS` (Liu et al. 2019, table 2).
        held_out: file names of the documents that are kept for evaluation.
    """

    sequence_length: int = 512
    format: str = FULL
    held_out: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        _at_least("sequence_length", self.sequence_length, 3)
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}; known are {', '.join(FORMATS)}")


@dataclass(frozen=True)
class MaskingRates:
    """The share of tokens that is chosen, and the shares of those that stay and that become random tokens.

    `rule` is "fairseq" or "transformers" (see `masking`); `whole_words` chooses whole words of byte-level vocabularies;
    `copies` above 0 is static masking with so many masked copies of each sequence, 0 masks anew in each epoch.
    """

    rate: float = 0.15
    kept: float = 0.1
    random: float = 0.1
    rule: str = FAIRSEQ
    whole_words: bool = False
    copies: int = 0

    def __post_init__(self) -> None:
        self.of(vocab_size=5, mask_id=4)

    def of(self, vocab_size: int, mask_id: int, starts: np.ndarray | None = None) -> Masking:
        """The masking for a vocabulary; `starts` [V] says which tokens begin words."""
        chosen = starts if self.whole_words else None
        return Masking(vocab_size, mask_id, self.rate, self.kept, self.random, self.rule, self.copies, chosen)


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and decay; `clip_norm` 0 leaves gradients as they are (Liu et al. 2019, Table 9).

    A step takes `batch_size` sequences, `micro_batch_size` of them at a time (0: all at once). The learning rate of a
    layer is `layer_decay` times that of the layer above it.
    """

    batch_size: int = 256
    micro_batch_size: int = 0
    steps: int = 1000
    warmup_steps: int = 60
    peak_learning_rate: float = 1e-4
    beta1: float = 0.9
    beta2: float = 0.98
    epsilon: float = 1e-6
    weight_decay: float = 0.01
    clip_norm: float = 0.0
    layer_decay: float = 1.0
    precision: str = "float32"

    def __post_init__(self) -> None:
        for name in ("batch_size", "steps"):
            _at_least(name, getattr(self, name), 1)
        _at_least("micro_batch_size", self.micro_batch_size, 0)
        if self.micro_batch_size and self.batch_size % self.micro_batch_size:
            raise ValueError(f"batch_size {self.batch_size} is no multiple of micro_batch_size {self.micro_batch_size}")
        if not 0 < self.layer_decay <= 1:
            raise ValueError(f"layer_decay is {self.layer_decay}; it must be above 0 and at most 1")
        for name in ("beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 0 and below 1")
        for name in ("weight_decay", "clip_norm"):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name} is {getattr(self, name)}; it must not be negative")
        if not self.epsilon > 0:
            raise ValueError(f"epsilon is {self.epsilon}; it must be positive")
        if self.precision not in PRECISIONS:
            raise ValueError(f"precision is {self.precision!r}; known are {', '.join(PRECISIONS)}")
        self.schedule()

    def schedule(self) -> LinearSchedule:
        """The learning rate of each step."""
        return LinearSchedule(self.peak_learning_rate, self.warmup_steps, self.steps)


@dataclass(frozen=True)
class Run:
    """How the run goes: its seed, the CPU threads (0: the framework's choice) and what is done every so many steps.

    `gradient_checkpointing` keeps only each layer's input for the backward pass: less memory, a third more work.
    """

    seed: int = 0
    threads: int = 0
    gradient_checkpointing: bool = False
    log_every: int = 50
    evaluate_every: int = 500
    evaluation_blocks: int = 512
    checkpoint_every: int = 500
    kept_checkpoints: int = 2

    def __post_init__(self) -> None:
        for name in ("seed", "threads"):
            _at_least(name, getattr(self, name), 0)
        for name in ("log_every", "evaluate_every", "evaluation_blocks", "checkpoint_every", "kept_checkpoints"):
            _at_least(name, getattr(self, name), 1)


TABLES: dict[str, type] = {
    "data": Data, "masking": MaskingRates, "optimizer": Optimizer, "run": Run, "task": TaskSettings
}  # fmt: skip


@dataclass(frozen=True)
class Recipe:
    """A recipe; `model` holds the fields of the `RobertaConfig`, whose vocabulary is the tokenizer's."""

    model: Mapping[str, Any] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    masking: MaskingRates = field(default_factory=MaskingRates)
    optimizer: Optimizer = field(default_factory=Optimizer)
    run: Run = field(default_factory=Run)
    task: TaskSettings = field(default_factory=TaskSettings)

    def __post_init__(self) -> None:
        most = self.config(vocab_size=8).max_sequence_length
        if self.data.sequence_length > most:
            raise ValueError(f"sequence_length {self.data.sequence_length} is over the {most} positions of the model")

    def config(self, vocab_size: int) -> RobertaConfig:
        """The configuration of the model, its vocabulary being the tokenizer's."""
        return RobertaConfig.base(**{**self.model, "vocab_size": vocab_size})

    @classmethod
    def load(cls, source: str | Path) -> Self:
        """A recipe by its name among the built-in ones, or from a TOML file; `RecipeError` if it is wrong."""
        built_in = FOLDER / f"{source}.toml"
        path = built_in if built_in.is_file() else Path(source)
        try:
            return cls.from_dict(tomllib.loads(path.read_text(encoding="utf-8")))
        except FileNotFoundError:
            raise RecipeError(f"there is no recipe {source}; built in are {', '.join(built_in_names())}") from None
        except (OSError, UnicodeDecodeError, ValueError, TypeError) as error:
            raise RecipeError(f"{path}: {error}") from None

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any]) -> Self:
        """A recipe from its tables; `ValueError` for an unknown name or a wrong value."""
        _refuse_unknown("table", tables, ("model", *TABLES))
        made = {name: _table(name, kind, tables.get(name, {})) for name, kind in TABLES.items()}
        return cls(model=dict(tables.get("model", {})), **made)

    def to_dict(self) -> dict[str, Any]:
        """Its tables, as `from_dict` takes them."""
        return dataclasses.asdict(self)


def built_in_names() -> list[str]:
    """The recipes that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def _table(name: str, kind: type, values: Mapping[str, Any]) -> Any:
    fields = {item.name: item for item in dataclasses.fields(kind)}
    _refuse_unknown(f"value in [{name}]", values, tuple(fields))
    return kind(**{key: _fitting(f"{name}.{key}", fields[key].default, value) for key, value in values.items()})


def _fitting(name: str, default: Any, value: Any) -> Any:
    """The value, as of the default's type: an int will do for a float, a list of names for a tuple."""
    if isinstance(default, tuple) and isinstance(value, list | tuple) and all(isinstance(item, str) for item in value):
        return tuple(value)
    if isinstance(default, float) and type(value) is int:
        return float(value)
    if type(value) is not type(default):
        raise ValueError(f"{name} is {value!r}; it must be of type {type(default).__name__}")
    return value


def _refuse_unknown(what: str, given: Mapping[str, Any], known: tuple[str, ...]) -> None:
    unknown = sorted(set(given) - set(known))
    if unknown:
        raise ValueError(f"unknown {what}: {', '.join(unknown)}; known are {', '.join(known)}")


def _at_least(name: str, value: float, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}; it must be at least {least}")

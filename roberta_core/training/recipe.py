"""Recipes: everything that decides how a model is pretrained or fine-tuned, read from a TOML file.

The tables of the file are the dataclasses below; each value is checked when it is read. A file with `base = "NAME"` at
its top inherits every value that it does not set from another recipe.
"""

import dataclasses
import difflib
import math
import tomllib
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.data.masking import FAIRSEQ, Masking
from roberta_core.data.packing import FORMATS, FULL
from roberta_core.tasks import TASKS, find_task
from roberta_core.tasks.settings import TaskSettings
from roberta_core.training.schedule import LinearSchedule

PRETRAINING = "pretraining"  # the purpose of a recipe that is not for a task
FOLDER = Path(__file__).parent.parent / "recipes"
PRECISIONS = ("float32", "bfloat16")
# The defaults of these are for pretraining: a fine-tuning recipe sets them itself.
FINE_TUNING = ("optimizer.batch_size", "optimizer.peak_learning_rate")

# The values that commands change by an option: the option's name, and the place in a recipe.
OVERRIDES = {
    "epochs": "task.epochs",
    "learning_rate": "optimizer.peak_learning_rate",
    "batch_size": "optimizer.batch_size",
    "max_length": "task.max_length",
    "balance": "task.balance",
    "class_weights": "task.class_weights",
    "seed": "run.seed",
}


class RecipeError(ValueError):
    """A recipe that cannot be used; the message gives the reason."""


@dataclass(frozen=True)
class Data:
    """How documents become sequences.

    Args:
        sequence_length: the most tokens of a sequence.
        format: how sentences are packed into sequences, one of `packing.FORMATS` (Liu et al. 2019, table 2).
        held_out: file names of the documents that are kept for evaluation.
        deduplicate: whether only the first of several documents with the same text is kept.
        weights: how often the blocks of a corpus are used in an epoch, by its name; 1 for those that are not named.
    """

    sequence_length: int = 512
    format: str = FULL
    held_out: tuple[str, ...] = ()
    deduplicate: bool = False
    weights: Mapping[str, float] = field(default_factory=dict)

    def __post_init__(self) -> None:
        _at_least("sequence_length", self.sequence_length, 3)
        if self.format not in FORMATS:
            raise ValueError(f"format is {self.format!r}; expected one of {', '.join(FORMATS)}")
        for name, weight in self.weights.items():
            if type(weight) not in (int, float) or not 0 < weight < math.inf:
                raise ValueError(f"the weight of {name} is {weight!r}; it must be a number above 0")


@dataclass(frozen=True)
class MaskingRates:
    """How tokens are masked.

    Args:
        rate: share of the tokens that is chosen for prediction.
        kept: share of the chosen tokens that stay as they are.
        random: share of the chosen tokens that are replaced by random tokens; the rest becomes `<mask>`.
        rule: "fairseq" or "transformers" (see `roberta_core.data.masking`).
        whole_words: whether whole words are chosen, with byte-level vocabularies.
        copies: masked copies of each sequence that are reused (static masking); 0 masks again in each epoch.
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
        """Return the masking for a vocabulary; `starts` [V] marks the tokens that begin words."""
        chosen = starts if self.whole_words else None
        return Masking(vocab_size, mask_id, self.rate, self.kept, self.random, self.rule, self.copies, chosen)


@dataclass(frozen=True)
class Optimizer:
    """AdamW with linear warm-up and linear decay of the learning rate (Liu et al. 2019, table 9).

    Args:
        batch_size: sequences per step.
        micro_batch_size: sequences per forward and backward pass, whose gradients are summed; 0 for all at once.
        steps: number of steps; fine-tuning computes it from `task.epochs`, if that is set.
        warmup_steps: steps in which the learning rate rises; fine-tuning computes it from `task.warmup_ratio`.
        peak_learning_rate: learning rate after the warm-up.
        beta1: decay rate of the first moment.
        beta2: decay rate of the second moment.
        epsilon: added to the root of the corrected second moment.
        weight_decay: decay of matrices and embedding tables, not of biases and norms.
        clip_norm: largest norm of the gradients, which are scaled down to it; 0 does not clip.
        layer_decay: factor from the learning rate of a layer to that of the layer below it.
        precision: "float32" or "bfloat16"; parameters and moments are float32 in both.
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
            raise ValueError(
                f"batch_size {self.batch_size} is not a multiple of micro_batch_size {self.micro_batch_size}"
            )
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
            raise ValueError(f"precision is {self.precision!r}; expected one of {', '.join(PRECISIONS)}")
        self.schedule()

    def schedule(self) -> LinearSchedule:
        """Return the learning rate of each step."""
        return LinearSchedule(self.peak_learning_rate, self.warmup_steps, self.steps)


@dataclass(frozen=True)
class Run:
    """How a run proceeds.

    Args:
        seed: seed of new parameters, of the order of the data, of masking and of dropout.
        threads: CPU threads (PyTorch only); 0 for the framework's choice.
        gradient_checkpointing: whether only each layer's input is kept for the backward pass, which takes less memory
            and a third more time.
        log_every: steps between two lines of the log.
        evaluate_every: steps between two evaluations of pretraining.
        evaluation_blocks: the most held-out blocks of an evaluation of pretraining.
        checkpoint_every: steps between two checkpoints.
        kept_checkpoints: whole checkpoints that are kept.
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
    """A recipe.

    Args:
        model: fields of the `RobertaConfig`; the size of the vocabulary is the tokenizer's.
        data: how documents become sequences (pretraining).
        masking: how tokens are masked (pretraining).
        optimizer: AdamW and its schedule.
        run: seed, log, evaluations and checkpoints.
        task: settings of a task (fine-tuning).
    """

    model: Mapping[str, Any] = field(default_factory=dict)
    data: Data = field(default_factory=Data)
    masking: MaskingRates = field(default_factory=MaskingRates)
    optimizer: Optimizer = field(default_factory=Optimizer)
    run: Run = field(default_factory=Run)
    task: TaskSettings = field(default_factory=TaskSettings)

    def __post_init__(self) -> None:
        most = self.config(vocab_size=8).max_sequence_length
        if self.data.sequence_length > most:
            raise ValueError(
                f"sequence_length is {self.data.sequence_length}, but the model accepts at most {most} tokens"
            )

    def config(self, vocab_size: int) -> RobertaConfig:
        """Return the configuration of a model with this size of vocabulary."""
        return RobertaConfig.base(**{**self.model, "vocab_size": vocab_size})

    @classmethod
    def load(cls, source: str | Path, required: Collection[str] = (), purpose: str | None = None) -> Self:
        """Return a built-in recipe by its name, or the recipe of a TOML file.

        Args:
            source: the name or the file.
            required: values that the recipe or a base of it must set for fine-tuning, such as "optimizer.batch_size".
            purpose: what it is used for, `PRETRAINING` or the name of a task; None does not check that.

        Raises:
            RecipeError: there is no such recipe, it is for another purpose, or something in it is wrong.
        """
        tables = _read_tables(source, Path())
        if purpose is not None:
            _refuse_other_purpose(str(source), tables, purpose)
        missing = [name for name in required if name.split(".")[1] not in tables.get(name.split(".")[0], {})]
        if missing:
            raise RecipeError(
                f'{source} does not set {", ".join(missing)}: set them, or inherit them with base = "glue" (or another '
                "recipe) at the top of the file"
            )
        try:
            return cls.from_dict(tables)
        except (ValueError, TypeError) as error:
            raise RecipeError(f"{source}: {error}") from None

    def override(self, **values: Any) -> Self:
        """Return the recipe with other values; None keeps the recipe's.

        Args:
            **values: values by the names in `OVERRIDES`.

        Raises:
            ValueError: a value is wrong.
        """
        tables: dict[str, dict[str, Any]] = {}
        for name, value in values.items():
            if value is not None:
                table, _, field = OVERRIDES[name].partition(".")
                tables.setdefault(table, {})[field] = value
        return dataclasses.replace(
            self, **{name: dataclasses.replace(getattr(self, name), **changed) for name, changed in tables.items()}
        )

    @classmethod
    def from_dict(cls, tables: Mapping[str, Any]) -> Self:
        """Return the recipe of some tables; raise `ValueError` for an unknown name or a wrong value."""
        _refuse_unknown("table", tables, ("model", *TABLES))
        model = _as_table("model", tables.get("model", {}))
        _refuse_unknown("value in [model]", model, tuple(RobertaConfig().to_dict()))
        made = {name: _build_table(name, kind, tables.get(name, {})) for name, kind in TABLES.items()}
        return cls(model=dict(model), **made)

    def to_dict(self) -> dict[str, Any]:
        """Return its tables, as `from_dict` accepts them."""
        return dataclasses.asdict(self)


def find_purposes(name: str) -> list[str]:
    """Return what a built-in recipe is for: the names of tasks, or `PRETRAINING`."""
    return [task for task, kind in TASKS.items() if name in kind.recipes] or [PRETRAINING]


def _refuse_other_purpose(source: str, tables: Mapping[str, Any], purpose: str) -> None:
    """Raise `RecipeError` if a built-in recipe is for other tasks, or a file has only tables of the other command."""
    purpose = purpose if purpose == PRETRAINING else find_task(purpose).name
    built_in = built_in_names()
    if source in built_in:
        purposes = find_purposes(source)
    elif "task" not in tables and {"data", "masking"} & set(tables):
        purposes = [PRETRAINING]
    elif "task" in tables and not {"data", "masking"} & set(tables):
        purposes = list(TASKS)
    else:
        return
    if purpose not in purposes:
        fitting = ", ".join(name for name in built_in if purpose in find_purposes(name))
        kind = "which have no [task] table" if purpose == PRETRAINING else "which have a [task] table"
        raise RecipeError(
            f"{source} is a recipe for {describe_purposes(purposes)}; the built-in recipes for "
            f"{describe_purposes([purpose])}, {kind}, are {fitting}"
        )


def describe_purposes(purposes: Collection[str]) -> str:
    """Return the command that a recipe with these purposes is for."""
    if PRETRAINING in purposes:
        return "`roberta pretrain`"
    return "`roberta finetune`" if len(purposes) == len(TASKS) else f"`roberta finetune {' or '.join(purposes)}`"


def built_in_names() -> list[str]:
    """Return the names of the built-in recipes."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_text(name: str) -> str:
    """Return the text of a built-in recipe.

    Raises:
        RecipeError: there is no such recipe.
    """
    if name not in built_in_names():
        raise RecipeError(_describe_unknown(name))
    return (FOLDER / f"{name}.toml").read_text(encoding="utf-8")


def _describe_unknown(name: str) -> str:
    """Return the sentence on a name that is no recipe."""
    known = built_in_names()
    close = difflib.get_close_matches(name, known, n=1)
    meant = f" (did you mean {close[0]}?)" if close else ""
    return f"there is no recipe {name}{meant}; built in are {', '.join(known)}"


def read_summary(name: str) -> str:
    """Return what a built-in recipe is for: its first line."""
    return read_text(name).partition("\n")[0].removeprefix("# ")


def _read_tables(source: str | Path, folder: Path, seen: tuple[Path, ...] = ()) -> dict[str, Any]:
    """Return the tables of a recipe, those of its base included; files are relative to `folder`."""
    built_in = FOLDER / f"{source}.toml"
    path = built_in if built_in.is_file() else folder / source
    if path.resolve() in seen:
        raise RecipeError(f"{path} is a base of itself")
    try:
        tables = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if path.suffix == ".toml":
            raise RecipeError(f"there is no recipe file {source}") from None
        raise RecipeError(_describe_unknown(str(source))) from None
    except (OSError, UnicodeDecodeError, ValueError) as error:
        raise RecipeError(f"{path}: {error}") from None
    if (base := tables.pop("base", None)) is None:
        return tables
    if not isinstance(base, str):
        raise RecipeError(f"{path}: base is {base!r}; it must be the name or the file of a recipe")
    inherited = _read_tables(base, path.parent, (*seen, path.resolve()))
    return {
        name: {**inherited.get(name, {}), **_as_table(name, tables.get(name, {}))} for name in {**inherited, **tables}
    }


def _as_table(name: str, values: Any) -> Mapping[str, Any]:
    if not isinstance(values, Mapping):
        raise RecipeError(f"{name} is {values!r}; it must be a table, [{name}]")
    return values


def _build_table(name: str, kind: type, values: Any) -> Any:
    values, fields = _as_table(name, values), {item.name: item for item in dataclasses.fields(kind)}
    _refuse_unknown(f"value in [{name}]", values, tuple(fields))
    return kind(**{key: _convert(f"{name}.{key}", _get_default(fields[key]), value) for key, value in values.items()})


def _get_default(item: dataclasses.Field[Any]) -> Any:
    return item.default if item.default_factory is dataclasses.MISSING else item.default_factory()


def _convert(name: str, default: Any, value: Any) -> Any:
    """Return a value as the type of its default; an int may stand for a float, a list of names for a tuple."""
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
        close = {name: difflib.get_close_matches(name, known, n=1) for name in unknown}
        meant = [f"{name} (did you mean {found[0]}?)" if found else name for name, found in close.items()]
        raise ValueError(f"unknown {what}: {', '.join(meant)}; the known names are {', '.join(known)}")


def _at_least(name: str, value: float, least: int) -> None:
    if value < least:
        raise ValueError(f"{name} is {value}; it must be at least {least}")

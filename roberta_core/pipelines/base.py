"""What every pipeline shares: loading, call options, streams in batches of similar length, windows of long texts.

Shapes: S sequence.
"""

import collections.abc
import logging
import os
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import Any, ClassVar

from roberta_core import checkpoints
from roberta_core.backend import Backend
from roberta_core.interface import choose_advice
from roberta_core.pipelines.html_fragments import attach_html
from roberta_core.tasks.base import BUDGET, MEASURED, USUAL_LENGTH, WINDOW
from roberta_core.tasks.features import Feature, Output, describe_truncation, measure_budget, run_features

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class RowError:
    """Takes the place of an input that could not be read, and of its result: why."""

    reason: str


IGNORED = ("batch_size", "num_workers", "padding")  # accepted as in transformers: batches are planned by tokens
ROW_ARGUMENTS = ("add_special_tokens", "truncation", "max_length", "padding", "pad_to_multiple_of", "padding_side")

Options = Mapping[str, Any]


class Pipeline(ABC):
    """A task of a model, called with texts: `pipeline(...)` builds one.

    Args:
        backend: the framework.
        model: the framework's own model.
        tokenizer: a `RobertaTokenizerFast` or `TokenizerFast`.
        budget: tokens per batch, padding counted; None to measure the fastest one if there are many inputs.
        settings: call options of the task, used where a call does not give them.

    Raises:
        TypeError: a setting is not an option of the task.
    """

    task: ClassVar[str]
    architecture: ClassVar[str]
    defaults: ClassVar[Options] = {}  # the call options and their defaults
    renamed: ClassVar[Mapping[str, str]] = {}  # older names of call options

    def __init__(self, backend: Backend, model: Any, tokenizer: Any, *, budget: int | None = BUDGET, **settings: Any):
        self.backend, self.model, self.tokenizer, self.budget = backend, model, tokenizer, budget
        self.config = model.config
        self.length = min(self.config.max_sequence_length, tokenizer.model_max_length)
        self.settings = self._resolve_options(self.defaults, settings)

    @classmethod
    def read_folder(cls, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Return the folder of the model inside a checkpoint's folder, and arguments of the constructor from its files.

        Raises:
            CheckpointError: a file is broken, or has a setting that is not supported.
        """
        return folder, {}

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Save the model and its tokenizer into a folder, from which `pipeline` loads them in any framework.

        Raises:
            CheckpointError: a file cannot be written.
        """
        self._save_model(Path(folder))

    def _save_model(self, folder: Path, config: Any = None) -> None:
        config = self.config if config is None else config
        tensors = self.backend.tensors(self.model)
        checkpoints.save(folder, config, self.architecture, tensors, metadata={"format": "pt"})
        self.tokenizer.save_pretrained(folder)

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return the result of one input; a list of results for a list; an iterator for any other iterable.

        Args:
            inputs: one input as the task documents it, a list of them, or a generator or data-set column, which is
                read as results are consumed.
            options: call options of the task.

        A notebook shows a result, or a list of results, with its inputs: entities and answers marked in their texts.

        Raises:
            TypeError: an option is unknown.
            ValueError: an input or an option has a wrong value, or the model's outputs are not finite.
        """
        resolved = self._resolve_options(self.settings, options)
        if not self.is_batch(inputs):
            result = next(self.stream([inputs], resolved))
            return attach_html(result, self.task, [(inputs, result)])
        results = self.stream(inputs, resolved)
        if not isinstance(inputs, list | tuple):
            return results
        found = list(results)
        return attach_html(found, self.task, list(zip(inputs, found, strict=True)))

    def is_batch(self, inputs: Any) -> bool:
        """Whether `inputs` are several inputs, not one."""
        return isinstance(inputs, collections.abc.Iterable) and not isinstance(inputs, str | Mapping)

    def stream(self, inputs: Iterable[Any], options: Options, keep_errors: bool = False) -> Iterator[Any]:
        """Yield the result of each input, in order, reading no further ahead than `WINDOW` inputs.

        Args:
            inputs: as the task documents them; a `RowError` among them is its own result.
            options: all call options of the task.
            keep_errors: yield a `RowError` for an input that is refused, instead of raising `ValueError`.
        """
        source = iter(inputs)
        while held := list(islice(source, WINDOW)):
            features, errors = self._build(held, options, keep_errors)
            if sentence := describe_truncation(features, self.length):
                logger.warning("%s: %s.", self.task, sentence)
            outputs = self.run(features, options)
            rows: list[list[tuple[Feature, Output]]] = [[] for _ in held]
            for feature, output in zip(features, outputs, strict=True):
                rows[feature.example].append((feature, output))
            for number, (item, found) in enumerate(zip(held, rows, strict=True)):
                yield errors[number] if number in errors else self.decode(item, found, options)

    def _build(
        self, held: Sequence[Any], options: Options, keep_errors: bool
    ) -> tuple[list[Feature], dict[int, RowError]]:
        """Return the features of inputs, and the errors of those that have none."""
        errors = {number: item for number, item in enumerate(held) if isinstance(item, RowError)}
        if not errors:
            try:
                return self.build_features(held, options), {}
            except ValueError:
                if not keep_errors:
                    raise
        features: list[Feature] = []
        for number, item in enumerate(held):
            if number in errors:
                continue
            try:
                features += [replace(feature, example=number) for feature in self.build_features([item], options)]
            except ValueError as error:
                if not keep_errors:
                    raise
                errors[number] = RowError(str(error))
        return features, errors

    def run(self, features: Sequence[Feature], options: Options) -> list[Output]:
        """Return the model's outputs for each feature."""
        if self.budget is None and len(features) >= MEASURED:
            self.budget = self._measure(features)
        return run_features(
            self.backend,
            self.model,
            features,
            self.tokenizer.pad_token_id,
            self.budget or BUDGET,
            lambda feature, output: self.keep(feature, output, options),
        )

    def measure_budget(self, inputs: Sequence[Any], options: Options) -> int:
        """Return the tokens per batch that a short measurement finds fastest for inputs like these.

        Args:
            inputs: as the task documents them; a `RowError` among them is ignored.
            options: all call options of the task.
        """
        features, _ = self._build(inputs, options, keep_errors=True)
        return self._measure(features) if features else BUDGET

    def _measure(self, features: Sequence[Feature]) -> int:
        length, choices = min(USUAL_LENGTH, self.length), features[0].has_choices()
        few = features[0].predicted is not None
        return measure_budget(self.backend, self.model, self.tokenizer.unk_token_id, length, choices, few)

    @abstractmethod
    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return the rows of inputs, those of an input one after the other."""

    def keep(self, feature: Feature, output: Output, options: Options) -> Output:
        """Return what `decode` needs of a feature's outputs: the rest is not held until all batches are done."""
        return output

    @abstractmethod
    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> Any:
        """Return the result of an input from its rows and their outputs."""

    def check_options(self, options: Options) -> None:  # noqa: B027  # not every task has something to check
        """Raise `ValueError` for options with wrong values."""

    def _resolve_options(self, base: Options, given: Options) -> Options:
        given = {self.renamed.get(name, name): value for name, value in given.items() if name not in IGNORED}
        unknown = sorted(set(given) - set(self.defaults))
        if unknown:
            known = ", ".join(self.defaults) or "none"
            raise TypeError(f"{self.task} has no option {', '.join(unknown)}; its options are {known}")
        resolved = {**base, **given}
        self.check_options(resolved)
        return resolved

    def __repr__(self) -> str:
        return f"{type(self).__name__}(framework={self.backend.name!r}, task={self.task!r}, length={self.length})"


def encode_rows(tokenizer: Any, texts: Sequence[str], arguments: Options) -> list[list[int]]:
    """Return the token ids of texts, without the padding that the arguments may request: batches are padded later.

    Raises:
        ValueError: an argument is not one of `ROW_ARGUMENTS`.
    """
    unknown = sorted(set(arguments) - set(ROW_ARGUMENTS))
    if unknown:
        known = ", ".join(ROW_ARGUMENTS)
        raise ValueError(f"the tokenizer's arguments here have no {', '.join(unknown)}; the known ones are {known}")
    if not texts:
        return []
    found = tokenizer(list(texts), **{**arguments, "return_attention_mask": True})
    return [
        [token for token, real in zip(ids, mask, strict=True) if real]
        for ids, mask in zip(found["input_ids"], found["attention_mask"], strict=True)
    ]


def advise_truncation() -> str:
    """Return how the caller has long texts truncated, in the commands and requests that can."""
    return choose_advice(python="pass truncation=True", command="pass --truncate", request='pass "truncate": true')


def require_str(value: Any, name: str) -> str:
    """Return a text; raise `ValueError` if it is something else."""
    if not isinstance(value, str):
        raise ValueError(f"{name} is {type(value).__name__}, not text")
    return value


def get_field(item: Any, names: Sequence[str]) -> Any:
    """Return the first of several fields that a mapping has; raise `ValueError` if it has none."""
    for name in names:
        if isinstance(item, Mapping) and item.get(name) is not None:
            return item[name]
    found = ", ".join(item) if isinstance(item, Mapping) else type(item).__name__
    raise ValueError(f"an input needs {' or '.join(names)}; got {found}")

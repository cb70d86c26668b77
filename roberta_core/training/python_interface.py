"""`finetune()` and `evaluate()`: fine-tuning and scoring from Python, with the settings of the commands."""

import logging
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from roberta_core import backend as backends
from roberta_core.tasks import Example, Task
from roberta_core.training import finetune_run as training
from roberta_core.training.finetune_loop import Validation
from roberta_core.training.processes import find_launcher
from roberta_core.training.progress import Progress
from roberta_core.training.recipe import FINE_TUNING, OVERRIDES, Recipe

logger = logging.getLogger(__name__)

Data = str | os.PathLike[str] | Iterable[Any]  # a file, several files, or rows such as a data set


def finetune(
    task: str,
    train: Data,
    output: str | os.PathLike[str],
    recipe: str | os.PathLike[str],
    model: str | os.PathLike[str] = "roberta-tiny",
    validation: Data | None = None,
    *,
    framework: str | None = None,
    device: str = "auto",
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
    resume: bool = False,
    progress: bool = True,
    **overrides: Any,
) -> dict[str, Any]:
    """Fine-tune a checkpoint for a task; its model is then in OUTPUT/model. The same as `roberta finetune`.

    Args:
        task: "classification", "tagging", "multiple-choice" or "question-answering".
        train: a file of training data, a list of files, or rows: mappings of columns, such as those of a data set.
        output: the folder of the run.
        recipe: the name of a built-in recipe, or a TOML file.
        model: a folder, an embedded name or a Hub id.
        validation: data to evaluate on and to select the best model by.
        framework: "pt", "tf" or "flax"; by default the first that is installed.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        columns: columns of the data by the task's fields, such as {"text": "review"}.
        strict: raise `DataError` for faulty records instead of skipping them.
        resume: continue the run in the output folder.
        progress: show a bar in a notebook, or a line on a terminal.
        overrides: `epochs`, `learning_rate`, `batch_size`, `max_length` and `seed`, instead of the recipe's values.

    Returns:
        The result, which is also in OUTPUT/result.json, and the `folder` of the model.

    Raises:
        ValueError: an argument has a wrong value, or the output folder has another run.
        DataError: (a `ValueError`) no record can be used.
    """
    if framework is not None:
        backends.refuse_inference_only(framework, "train models")
    unknown = sorted(set(overrides) - set(OVERRIDES))
    if unknown:
        raise TypeError(f"finetune() has no argument {unknown[0]}; values of the recipe: {', '.join(OVERRIDES)}")
    if launched := find_launcher(os.environ):
        raise ValueError(
            f"finetune() trains in one process, but the environment is that of {launched[1]}: use `roberta finetune`, "
            "which shares each batch among them (docs/training.md), or unset WORLD_SIZE and TF_CONFIG"
        )
    given = {name: value for name, value in overrides.items() if value is not None}
    required = [place for place in FINE_TUNING if place not in {OVERRIDES[name] for name in given}]
    plan = Recipe.load(os.fspath(recipe), required, task).override(**given)
    reading, folder = training.Reading(dict(columns or {}), strict=strict), Path(output)
    training.check_output(folder, resume)
    source = os.fspath(model)
    work = training.build_task(task, source, plan.task, reading)
    examples = _read(work, train, reading, "training", learn=True)
    kept = [] if validation is None else _read(work, validation, reading, "validation")
    features = work.build_features(examples)
    plan = training.resolve_schedule(plan, len(features))
    framework = framework or backends.find_default()
    backends.refuse_inference_only(framework, "train models")
    backend = backends.load(framework).on(device)
    shown = Progress(plan.optimizer.steps) if progress else None
    job = training.Job(
        backend, source, plan, work, features, Validation(kept, work.build_features(kept)) if kept else None, folder,
        shown.report if shown else _ignore,
    )  # fmt: skip
    try:
        result = training.finetune(job, [plan.run.seed], resume)
    finally:
        if shown:
            shown.close()
    return {**result, "folder": str(folder / training.MODEL)}


def evaluate(
    model: str | os.PathLike[str],
    task: str,
    data: Data,
    *,
    framework: str | None = None,
    device: str = "auto",
    columns: Mapping[str, str] | None = None,
    strict: bool = False,
) -> dict[str, float]:
    """Return the scores of a fine-tuned checkpoint on labelled data. The same as `roberta evaluate --task`.

    Args:
        model: a folder, or a Hub id.
        task: the task that it was fine-tuned for.
        data: a file, a list of files, or rows: mappings of columns.
        framework: "pt", "tf" or "flax"; by default the first that is installed.
        device: "auto", "cpu", "cuda", "cuda:N" or "mps".
        columns: columns of the data by the task's fields.
        strict: raise `DataError` for faulty records instead of skipping them.

    Raises:
        ValueError: the checkpoint has no head for the task, or was fine-tuned for another one.
    """
    backend = backends.load(framework or backends.find_default()).on(device)
    reading = training.Reading(dict(columns or {}), strict=strict)
    found, _ = training.evaluate_task(
        backend, os.fspath(model), task, list_sources(data), None, reading, _warn_of_skipped
    )
    return dict(found.scores)


def list_sources(data: Data) -> Sequence[Any]:
    """Return data as sources of records: files, or one iterable of rows."""
    if isinstance(data, str | os.PathLike):
        return [os.fspath(data)]
    if isinstance(data, list | tuple) and data and all(isinstance(one, str | os.PathLike) for one in data):
        return [os.fspath(one) for one in data]
    return [data]


def _read(work: Task, data: Data, reading: training.Reading, what: str, learn: bool = False) -> list[Example]:
    """Return the examples of data; what was skipped is logged as a warning."""
    return training.read_examples(work, list_sources(data), reading, what, _warn_of_skipped, learn)


def _warn_of_skipped(line: Mapping[str, Any]) -> None:
    if line.get("skipped"):
        reasons = "; ".join(line["reasons"])
        logger.warning("Skipped %d of the records for %s: %s", line["skipped"], line["data"], reasons)


def _ignore(line: Mapping[str, Any]) -> None:
    """Take a line of the log that is not shown."""

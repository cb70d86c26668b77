"""Fine-tuning from files to saved models: `roberta finetune` and `roberta evaluate --task` without the terminal."""

import dataclasses
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core import checkpoints
from roberta_core.checkpoints import hub
from roberta_core.config import RobertaConfig
from roberta_core.data.columns import NO_COLUMN
from roberta_core.data.records import DataError, Skipped, read
from roberta_core.interface import choose_advice
from roberta_core.safe_files import read_json_object
from roberta_core.tasks import Example, Task, find_task
from roberta_core.tasks.batches import ShuffledFeatures
from roberta_core.tasks.features import Feature, describe_truncation
from roberta_core.tasks.heads import load_model, require_head
from roberta_core.tasks.settings import TaskSettings
from roberta_core.training import training_checkpoint
from roberta_core.training.finetune_loop import Evaluated, FineTuning, Validation, evaluate
from roberta_core.training.processes import Processes, find_processes
from roberta_core.training.recipe import Recipe
from roberta_core.training.run_log import Report

MODEL, RESULT = "model", "result.json"
FINISHED = "finished.json"  # in the folder of a seed: the line of its best evaluation
TASK = "task.json"  # in a model's folder: the task and its settings

Source = Any  # a file, or an iterable of mappings


@dataclass(frozen=True)
class Reading:
    """How files are read.

    Args:
        columns: columns by the task's fields that they hold.
        header: column names of files without a header.
        format: format of the files, if their suffix does not tell it.
        strict: fail on faulty records instead of skipping them.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    header: Sequence[str] = ()
    format: str | None = None
    strict: bool = False


def build_task(name: str, source: str, settings: TaskSettings | None, reading: Reading) -> Task:
    """Return a task over the tokenizer of a checkpoint."""
    return find_task(name).from_pretrained(source, settings, dict(reading.columns))


def read_examples(
    task: Task, sources: Sequence[Source], reading: Reading, what: str, report: Report, learn: bool = False
) -> list[Example]:
    """Return the examples of files, in order, and report what was skipped; raise `DataError` if nothing is left."""
    skipped = Skipped(reading.strict)
    records = (record for source in sources for record in _read(source, skipped, reading))
    found = task.collect_examples(records, skipped, learn)
    if not found:
        why = skipped.sentence() or "there are none"
        raise DataError(f"no record is left for {what}: {why}{_advise_columns(task, skipped)}")
    line = {"data": what, "examples": len(found), "skipped": skipped.count, "reasons": skipped.reasons}
    report({**line, **({"target": task.describe()} if learn and task.describe() else {})})
    return found


def _advise_columns(task: Task, skipped: Skipped) -> str:
    """Return how to name columns, if the columns of skipped records have none of the expected names."""
    missing = [field for field in task.fields if any(one.startswith(f"{NO_COLUMN} {field} ") for one in skipped.counts)]
    if not missing:
        return ""
    return ". Name the column: " + choose_advice(
        python="columns={" + ", ".join(f'"{field}": COLUMN' for field in missing) + "}",
        command="--columns " + ",".join(f"{field}=COLUMN" for field in missing),
    )


def report_truncation(task: Task, features: Sequence[Feature], what: str, report: Report) -> None:
    """Report how many examples are longer than a row, and were truncated."""
    if sentence := describe_truncation(features, task.length):
        report({"note": f"{what}: {sentence}"})


def _read(source: Source, skipped: Skipped, reading: Reading) -> Any:
    return read(source, skipped, format=reading.format, header=reading.header)


def resolve_schedule(recipe: Recipe, rows: int) -> Recipe:
    """Return the recipe with the steps and the warm-up that its epochs over so many rows amount to."""
    if not recipe.task.epochs:
        return recipe
    steps = max(1, math.ceil(recipe.task.epochs * rows / recipe.optimizer.batch_size))
    warmup = min(round(recipe.task.warmup_ratio * steps), steps - 1)
    return dataclasses.replace(
        recipe, optimizer=dataclasses.replace(recipe.optimizer, steps=steps, warmup_steps=warmup)
    )


@dataclass
class Job:
    """Everything that the runs of several seeds have in common.

    Args:
        backend: the framework.
        source: the checkpoint to start from.
        recipe: the settings, with the schedule resolved.
        task: the task, with its labels.
        train: features to train on.
        validation: data to evaluate on, or None.
        output: the folder of the runs.
        report: called with each line of the logs, with its `seed`.
    """

    backend: Any
    source: str
    recipe: Recipe
    task: Task
    train: Sequence[Any]
    validation: Validation | None
    output: Path
    report: Report

    def train_seed(self, seed: int, folder: Path, resume: bool = False) -> dict[str, Any]:
        """Fine-tune with a seed for the new head, the order of the data and dropout.

        Args:
            seed: the seed.
            folder: the folder of the run.
            resume: continue the run of the folder, if it has begun.

        Returns:
            The line of the best evaluation.
        """
        finished = folder / FINISHED
        if resume and finished.is_file():
            return read_json_object(finished)
        recipe = dataclasses.replace(self.recipe, run=dataclasses.replace(self.recipe.run, seed=seed))
        model, note = load_model(self.backend, self.task, self.source, seed, **recipe.model)
        if note:
            self.report({"seed": seed, "note": note})
        run = FineTuning(
            trainer=self.backend.trainer(model, recipe), recipe=recipe, config=model.config.to_diff_dict(),
            folder=folder, report=lambda line: self.report({"seed": seed, **line}), task=self.task,
            data=ShuffledFeatures(self.task, self.train, recipe.optimizer.batch_size, seed, self.processes.shard),
            run_model=lambda batch: self.backend.run(model, batch),
            keep=lambda: self._save(folder / MODEL, model), validation=self.validation, processes=self.processes,
        )  # fmt: skip
        if resume and training_checkpoint.has_begun(folder):
            run.resume()
        run.run()
        if self.processes.is_first:
            training_checkpoint.write_json(finished, run.best)
            training_checkpoint.remove_all(folder)
        return run.best

    @property
    def processes(self) -> Processes:
        """The processes that share the runs."""
        return find_processes(self.backend)

    def _save(self, folder: Path, model: Any) -> None:
        save(folder, self.backend, model, self.task, checkpoints.resolve(self.source))


def finetune(job: Job, seeds: Sequence[int], resume: bool = False) -> dict[str, Any]:
    """Fine-tune with each seed: the model of a single seed into OUTPUT/model, of several into OUTPUT/seed-N/model.

    Args:
        job: what the runs have in common.
        seeds: the seeds.
        resume: continue the runs in the output folder.

    Returns:
        The result, which is also in OUTPUT/result.json: the line of each best evaluation, medians and deviations.

    Raises:
        ValueError: the output folder already has runs and `resume` is false, or has none and it is true.
    """
    check_output(job.output, resume)
    facts = {"task": job.task.name, "model": job.source, "seeds": list(seeds)}
    job.processes.check_batch_size(job.recipe.optimizer.batch_size)
    job.processes.meet()  # before process 0 writes into the folder that the others have checked
    if job.processes.is_first:
        job.output.mkdir(parents=True, exist_ok=True)
        training_checkpoint.mark_begun(job.output, facts)
    found = {seed: job.train_seed(seed, folder, resume) for seed, folder in locate_folders(job.output, seeds).items()}
    result: dict[str, Any] = {
        "task": job.task.name,
        "model": job.source,
        "framework": f"{job.backend.title} {job.backend.version}",
        "recipe": job.recipe.to_dict(),
        "labels": list(job.task.labels),
        "training_rows": len(job.train),
        "seeds": {str(seed): line for seed, line in found.items()},
    }
    if job.validation is not None:
        rows = [line["scores"] for line in found.values()]
        result["median"] = {name: float(np.median([row[name] for row in rows])) for name in rows[0]}
        if len(rows) > 1:
            result["deviation"] = {name: float(np.std([row[name] for row in rows], ddof=1)) for name in rows[0]}
    if job.processes.is_first:
        training_checkpoint.write_json(job.output / RESULT, result)
    return result


def check_output(output: Path, resume: bool) -> None:
    """Raise `ValueError` unless the output folder has an unfinished run if, and only if, one is to be resumed."""
    name = choose_advice(python="output", command="--output")
    if (output / RESULT).exists():
        raise ValueError(f"{output} already has a result: choose another {name}")
    if resume:
        if not (output / training_checkpoint.RUN).is_file():
            training_checkpoint.find_resumable(output)
    elif training_checkpoint.has_begun(output):
        resuming = choose_advice(python="resume=True", command="--resume")
        raise ValueError(f"{output} already has a run: continue it with {resuming}, or choose another {name}")


def locate_folders(output: Path, seeds: Sequence[int]) -> dict[int, Path]:
    """Return the folder of each seed's log and model: of a single seed the output folder itself."""
    return {seed: output if len(seeds) == 1 else output / f"seed-{seed}" for seed in seeds}


def save(folder: Path, backend: Any, model: Any, task: Task, source: Path) -> None:
    """Write a model as a float32 checkpoint, with the tokenizer of its source and the settings of the task."""
    config = RobertaConfig.from_dict({**model.config.to_dict(), "dtype": "float32"})
    tensors = {name: np.asarray(array, np.float32) for name, array in backend.tensors(model).items()}
    facts = {"task": task.name, "settings": dataclasses.asdict(task.settings)}
    carried = {**hub.read_carried_files(source, folder), TASK: (json.dumps(facts, indent=1) + "\n").encode()}
    checkpoints.save(folder, config, task.architecture, tensors, carried=carried)


def read_task_settings(source: str, name: str) -> TaskSettings | None:
    """Return the settings that a model was fine-tuned with, or None if it does not have them.

    Raises:
        ValueError: the model was fine-tuned for another task, or the file is damaged.
    """
    path = checkpoints.resolve(source) / TASK
    try:
        facts = read_json_object(path)
        trained_for = facts["task"]
        known = {field.name for field in dataclasses.fields(TaskSettings)}
        settings = TaskSettings(**{key: value for key, value in facts["settings"].items() if key in known})
    except FileNotFoundError:
        return None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from None
    if trained_for != name:
        raise ValueError(f"{source} was fine-tuned for {trained_for}, not for {name}")
    return settings


def evaluate_task(
    backend: Any,
    source: str,
    name: str,
    files: Sequence[Source],
    recipe: Recipe | None,
    reading: Reading,
    report: Report,
) -> tuple[Evaluated, list[Example]]:
    """Score a fine-tuned checkpoint on files, with the settings of the recipe or else those that it was trained with.

    Raises:
        ValueError: the checkpoint has no head for the task, or was fine-tuned for another one.
    """
    stored = read_task_settings(source, find_task(name).name)
    task = build_task(name, source, recipe.task if recipe else stored, reading)
    require_head(source, task.architecture)
    model = backend.from_pretrained(task.architecture, source)
    examples = read_examples(task, files, reading, "evaluation", report)
    data = Validation(examples, task.build_features(examples))
    report_truncation(task, data.features, "evaluation", report)
    return evaluate(task, lambda batch: backend.run(model, batch), data), examples

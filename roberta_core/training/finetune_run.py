"""Fine-tuning from files to saved models: `roberta finetune` and `roberta evaluate --task` without the terminal."""

import dataclasses
import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core import checkpoints
from roberta_core.checkpoints import hub
from roberta_core.config import RobertaConfig
from roberta_core.data.batches import Batch
from roberta_core.data.records import DataError, Skipped, read
from roberta_core.tasks import TASKS, Example, Task
from roberta_core.tasks.batches import ShuffledFeatures
from roberta_core.tasks.heads import load_model
from roberta_core.training.finetune_loop import Evaluated, FineTuning, Validation, evaluate
from roberta_core.training.recipe import Recipe

MODEL, RESULT = "model", "result.json"

Report = Callable[[Mapping[str, Any]], None]
Source = Any  # a file, or an iterable of mappings


@dataclass(frozen=True)
class Reading:
    """How files are read: `columns` names columns for the task's fields, `header` those of a file without names."""

    columns: Mapping[str, str] = field(default_factory=dict)
    header: Sequence[str] = ()
    format: str | None = None
    strict: bool = False


def build_task(name: str, source: str, recipe: Recipe, reading: Reading) -> Task:
    """A task over the tokenizer of a checkpoint, with rows as long as the recipe wants and the model takes."""
    if name not in TASKS:
        raise ValueError(f"there is no task {name!r}; known are {', '.join(TASKS)}")
    return TASKS[name].from_pretrained(source, recipe.task, dict(reading.columns))


def read_examples(
    task: Task, sources: Sequence[Source], reading: Reading, what: str, report: Report, learn: bool = False
) -> list[Example]:
    """The examples of files, in order; what was skipped is reported. `DataError` if nothing is left."""
    skipped = Skipped(reading.strict)
    records = (record for source in sources for record in _read(source, skipped, reading))
    found = task.collect_examples(records, skipped, learn)
    if not found:
        raise DataError(f"nothing is left for {what}: {skipped.sentence() or 'no records'}")
    line = {"data": what, "examples": len(found), "skipped": skipped.count, "reasons": skipped.reasons}
    report({**line, **({"target": task.describe()} if learn and task.describe() else {})})
    return found


def _read(source: Source, skipped: Skipped, reading: Reading) -> Any:
    return read(source, skipped, format=reading.format, header=reading.header)


def resolve_schedule(recipe: Recipe, rows: int) -> Recipe:
    """The recipe with the steps and the warm-up that its epochs over so many rows make; seeds apart, all is decided."""
    if not recipe.task.epochs:
        return recipe
    steps = max(1, math.ceil(recipe.task.epochs * rows / recipe.optimizer.batch_size))
    warmup = min(round(recipe.task.warmup_ratio * steps), steps - 1)
    return dataclasses.replace(
        recipe, optimizer=dataclasses.replace(recipe.optimizer, steps=steps, warmup_steps=warmup)
    )


@dataclass
class Job:
    """Everything that a run needs but its seed."""

    backend: Any
    source: str
    recipe: Recipe
    task: Task
    train: Sequence[Any]  # features
    validation: Validation | None
    output: Path
    report: Report

    def train_seed(self, seed: int, folder: Path) -> dict[str, Any]:
        """Fine-tune with a seed (of the new head, the order and dropout) into a folder; the best evaluation's line."""
        recipe = dataclasses.replace(self.recipe, run=dataclasses.replace(self.recipe.run, seed=seed))
        model, note = load_model(self.backend, self.task, self.source, seed, **recipe.model)
        if note:
            self.report({"seed": seed, "note": note})

        def keep() -> None:
            save(folder / MODEL, self.backend, model, self.task.architecture, checkpoints.resolve(self.source))

        data = ShuffledFeatures(self.task, self.train, recipe.optimizer.batch_size, seed)
        run = FineTuning(
            self.backend.trainer(model, recipe), recipe, self.task, data, self._runner(model), keep, folder,
            self.validation, lambda line: self.report({"seed": seed, **line}),
        )  # fmt: skip
        return run.run()

    def _runner(self, model: Any) -> Callable[[Batch], Mapping[str, Any]]:
        return lambda batch: self.backend.run(model, batch)


def finetune(job: Job, seeds: Sequence[int]) -> dict[str, Any]:
    """Runs with each seed; what came of them, also in OUTPUT/result.json: each best line, medians and deviations.

    The model of a single seed is in OUTPUT/model, of several in OUTPUT/seed-N/model.
    """
    found = {seed: job.train_seed(seed, folder) for seed, folder in locate_folders(job.output, seeds).items()}
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
    job.output.mkdir(parents=True, exist_ok=True)
    (job.output / RESULT).write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    return result


def locate_folders(output: Path, seeds: Sequence[int]) -> dict[int, Path]:
    """Where the runs of seeds leave their log and model: in a folder each, a single one in the output itself."""
    return {seed: output if len(seeds) == 1 else output / f"seed-{seed}" for seed in seeds}


def save(folder: Path, backend: Any, model: Any, architecture: str, source: Path) -> None:
    """Write a model as a checkpoint of float32, with the tokenizer of the checkpoint that it was made of."""
    config = RobertaConfig.from_dict({**model.config.to_dict(), "dtype": "float32"})
    tensors = {name: np.asarray(array, np.float32) for name, array in backend.tensors(model).items()}
    checkpoints.save(folder, config, architecture, tensors, carried=hub.carried(source, folder))


def evaluate_task(
    backend: Any, source: str, name: str, files: Sequence[Source], recipe: Recipe, reading: Reading, report: Report
) -> tuple[Evaluated, list[Example]]:
    """How well a fine-tuned checkpoint does its task on files; `ValueError` if it has no head for it."""
    task = build_task(name, source, recipe, reading)
    model, loaded = backend.from_pretrained(task.architecture, source, output_loading_info=True)
    if loaded["missing_keys"]:
        raise ValueError(f"{source} is not fine-tuned for {name}: {', '.join(sorted(loaded['missing_keys']))} are new")
    examples = read_examples(task, files, reading, "evaluation", report)
    data = Validation(examples, task.build_features(examples))
    return evaluate(task, lambda batch: backend.run(model, batch), data), examples

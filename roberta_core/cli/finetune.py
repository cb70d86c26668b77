"""`roberta finetune`: train a checkpoint for a task."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer

from roberta_core.cli.frameworks import FRAMEWORK, hold_back_stderr, load_backend, resolve_frameworks
from roberta_core.cli.recording import CHART, TENSORBOARD, Recording

COLUMNS = "Columns of the data that hold the task's fields, such as text=review,label=stars."


def finetune(
    task: Annotated[
        str,
        typer.Argument(
            help="classification (also pairs and regression), tagging, multiple-choice, question-answering."
        ),
    ],
    train: Annotated[
        list[str],
        typer.Option(help="Training data: .jsonl, .json (also SQuAD), .csv, .tsv, .conll or .parquet. Repeatable."),
    ],
    output: Annotated[Path, typer.Option(help="Output folder for the log, the result and the best model.")],
    recipe: Annotated[str, typer.Option(help="Name of a built-in recipe, or a TOML file.")],
    model: Annotated[str, typer.Option(help="A folder, an embedded model, or a model on the Hub.")] = "roberta-tiny",
    validation: Annotated[
        list[str] | None, typer.Option(help="Data to evaluate on and to select the best model by. Repeatable.")
    ] = None,
    framework: FRAMEWORK = None,
    seeds: Annotated[str | None, typer.Option(help="Seeds, separated by commas; by default the recipe's.")] = None,
    columns: Annotated[str | None, typer.Option(help=COLUMNS)] = None,
    header: Annotated[
        str | None, typer.Option(help="Column names of files without a header, separated by commas.")
    ] = None,
    format: Annotated[str | None, typer.Option(help="Format of the files, if their suffix does not tell it.")] = None,
    strict: Annotated[bool, typer.Option(help="Fail on faulty records instead of skipping them.")] = False,
    chart: CHART = None,
    tensorboard: TENSORBOARD = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line instead of the progress display.")
    ] = False,
) -> None:
    """Fine-tune a checkpoint for a task with a recipe, and keep the model with the best validation score.

    The model is written to OUTPUT/model, or with several seeds to OUTPUT/seed-N/model.
    """
    from roberta_core.training import finetune_run as training
    from roberta_core.training.finetune_loop import Validation
    from roberta_core.training.pretrain_loop import LOG
    from roberta_core.training.recipe import Recipe

    (name,) = resolve_frameworks(None, framework)
    plan, reading = Recipe.load(recipe), parse_reading(columns, header, format, strict)
    numbers = parse_seeds(seeds, plan.run.seed)
    if (output / training.RESULT).exists():
        raise ValueError(f"{output} already has a result: choose another --output")
    logs = {f"seed {seed}": folder / LOG for seed, folder in training.locate_folders(output, numbers).items()}
    with Display(as_json) as display, Recording(chart, tensorboard, logs) as recording:
        work = training.build_task(task, model, plan, reading)
        examples = training.read_examples(work, train, reading, "training", display.report, learn=True)
        kept = training.read_examples(work, validation, reading, "validation", display.report) if validation else []
        features = work.build_features(examples)
        plan = training.resolve_schedule(plan, len(features))
        backend = load_backend(name)
        display.start(plan.optimizer.steps * len(numbers), plan.optimizer.steps, numbers)
        with hold_back_stderr():
            data = Validation(kept, work.build_features(kept)) if kept else None
            report = recording.with_board(display.report)
            job = training.Job(backend, model, plan, work, features, data, output, report)
            result = training.finetune(job, numbers)
        display.end(result)


def parse_reading(columns: str | None, header: str | None, format: str | None, strict: bool) -> Any:
    """Parse the options on how files are read.

    Raises:
        typer.BadParameter: --columns is malformed.
    """
    from roberta_core.training.finetune_run import Reading

    pairs: dict[str, str] = {}
    for part in columns.split(",") if columns else []:
        name, equals, column = part.partition("=")
        if not equals and pairs:  # a further column of the field before: choices=a,b,c
            pairs[list(pairs)[-1]] += f",{name}"
        elif not equals or not name or not column:
            raise typer.BadParameter(f"--columns has {part!r}; write FIELD=COLUMN, separated by commas")
        else:
            pairs[name] = column
    return Reading(pairs, tuple(header.split(",")) if header else (), format, strict)


def parse_seeds(seeds: str | None, default: int) -> list[int]:
    """Parse the seeds of the option, or return the default one."""
    parts = seeds.split(",") if seeds is not None else [str(default)]
    if not all(part.strip().isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise typer.BadParameter(f"--seeds is {seeds!r}; give distinct non-negative integers separated by commas")
    return [int(part) for part in parts]


class Display:
    """The progress display: a bar, what was skipped, and a line per evaluation; or JSON lines."""

    def __init__(self, as_json: bool):
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        from roberta_core.cli.terminal import make_console

        self.as_json = as_json
        self.bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            console=make_console(stderr=as_json), disable=as_json,
        )  # fmt: skip
        self.task = self.bar.add_task("reading", total=None)
        self.steps, self.seeds = 0, [0]

    def __enter__(self) -> Display:
        if not self.as_json:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.as_json:
            self.bar.stop()

    def start(self, total: int, steps: int, seeds: list[int]) -> None:
        """Show that training begins: `steps` for each of the seeds."""
        self.steps, self.seeds = steps, seeds
        self.bar.reset(self.task, description="training", total=total)

    def report(self, line: Mapping[str, Any]) -> None:
        """Show a line of the log."""
        if self.as_json:
            print(json.dumps(line), flush=True)
        elif "data" in line:
            self._say(f"{line['examples']:,} examples for {line['data']}, {line['skipped']:,} skipped")
            for reason in line["reasons"]:
                self._say(f"  skipped {reason}")
            if "target" in line:
                self._say(line["target"])
        elif "note" in line:
            self._say(line["note"])
        elif "loss" in line:
            done = self.seeds.index(line["seed"]) * self.steps + line["step"]
            speed = f"{line['tokens_per_second']:,} tokens/s"
            self.bar.update(self.task, completed=done, description=f"loss {line['loss']:.3f}  {speed}")
        elif "scores" in line:
            best = " (best so far)" if line["best"] else ""
            self._say(f"seed {line['seed']}, epoch {line['epoch']:g}: {format_scores(line['scores'])}{best}")
            for name in ("remark", "stopped"):
                if name in line:
                    self._say(f"  {line[name]}")

    def end(self, result: Mapping[str, Any]) -> None:
        """Show the result over all seeds."""
        if self.as_json:
            print(json.dumps({"result": {name: result.get(name) for name in ("median", "deviation", "seeds")}}))
        elif "median" in result and len(self.seeds) > 1:
            self._say(f"median of {len(self.seeds)} seeds: {format_scores(result['median'])}")

    def _say(self, sentence: str) -> None:
        self.bar.console.print(sentence)


def format_scores(found: Mapping[str, float]) -> str:
    """Format scores as one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in found.items())

"""`roberta finetune`: train a checkpoint for a task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from roberta_core.cli.distributed import DISTRIBUTED, SHARDING, share_run
from roberta_core.cli.files import check_inputs
from roberta_core.cli.frameworks import DEVICE, TRAINING_FRAMEWORK, hold_back_stderr, load_backend, resolve_frameworks
from roberta_core.cli.recording import CHART, TENSORBOARD, Recording
from roberta_core.cli.training_display import Display, call_after_loss, format_scores, handle_stop
from roberta_core.data.records import FORMATS

FORMAT_HELP = f"Format of the files, if their suffix does not tell it: {', '.join(FORMATS)}"
COLUMNS = (
    "Columns of the data that hold the task's fields: FIELD=COLUMN, separated by commas, such as "
    "text=review,label=stars. For texts with several labels each, label=A,B,C names columns that contain 0 or 1."
)


def finetune(
    task: Annotated[
        str,
        typer.Argument(
            help="classification (also pairs, several labels and regression), tagging, multiple-choice or "
            "question-answering; `roberta tasks` lists them with their fields."
        ),
    ],
    train: Annotated[
        list[str],
        typer.Option(help="Training data: .jsonl, .json (also SQuAD), .csv, .tsv, .conll or .parquet. Repeatable."),
    ],
    output: Annotated[Path, typer.Option(help="Output folder for the log, the result and the best model.")],
    recipe: Annotated[str, typer.Option(help="Name of a built-in recipe (`roberta recipes`), or a TOML file.")],
    model: Annotated[str, typer.Option(help="A folder, a built-in model, or a model on the Hub.")] = "roberta-tiny",
    validation: Annotated[
        list[str] | None, typer.Option(help="Data to evaluate on and to select the best model by. Repeatable.")
    ] = None,
    framework: TRAINING_FRAMEWORK = None,
    device: DEVICE = "auto",
    epochs: Annotated[
        float | None, typer.Option(help="Passes over the training data; by default the recipe's.")
    ] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Learning rate after the warm-up; by default the recipe's.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Rows per step; by default the recipe's.")] = None,
    max_length: Annotated[
        int | None,
        typer.Option(min=8, help="Maximum number of tokens of a row; by default the recipe's, or the model's."),
    ] = None,
    balance: Annotated[
        bool,
        typer.Option(
            "--balance",
            help="Weight labels by inverse frequency in the loss, so that rare labels count as much in total "
            "as frequent ones.",
        ),
    ] = False,
    class_weights: Annotated[
        str | None, typer.Option(help="Weights of labels in the loss, such as spam=5,ham=1; others have 1.")
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Seed of the run; by default the recipe's.")] = None,
    seeds: Annotated[
        str | None, typer.Option(help="Seeds of several runs, separated by commas, instead of --seed.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help=COLUMNS)] = None,
    header: Annotated[
        str | None, typer.Option(help="Column names of files without a header, separated by commas.")
    ] = None,
    input_format: Annotated[str | None, typer.Option(help=f"{FORMAT_HELP}.")] = None,
    strict: Annotated[bool, typer.Option(help="Fail on faulty records instead of skipping them.")] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in the output folder.")] = False,
    distributed: DISTRIBUTED = False,
    sharding: SHARDING = None,
    chart: CHART = None,
    tensorboard: TENSORBOARD = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line instead of the progress display.")
    ] = False,
) -> None:
    """Fine-tune a checkpoint for a task with a recipe, and keep the model with the best validation score.

    Without --validation the last model is kept. It is written to OUTPUT/model, or with several seeds to
    OUTPUT/seed-N/model. A stopped run resumes with --resume and ends with exactly the weights of an uninterrupted one.
    Processes that are started by `torchrun --nproc-per-node N -m roberta_core finetune ...` share each batch; see
    --distributed for Flax and TensorFlow.
    """
    from roberta_core.backend import refuse_inference_only
    from roberta_core.training import finetune_run as training
    from roberta_core.training.finetune_loop import Validation
    from roberta_core.training.processes import find_processes
    from roberta_core.training.recipe import FINE_TUNING, OVERRIDES, Recipe
    from roberta_core.training.run_log import LOG

    (name,) = resolve_frameworks(None, framework)
    refuse_inference_only(name, "train models")
    given = {
        "epochs": epochs, "learning_rate": learning_rate, "batch_size": batch_size, "max_length": max_length,
        "balance": balance or None, "class_weights": class_weights, "seed": seed,
    }  # fmt: skip
    check_overrides(given, seeds)
    with share_run(name, device, distributed, sharding) as joined:
        required = [place for place in FINE_TUNING if place not in {OVERRIDES[name] for name in given if given[name]}]
        plan = Recipe.load(recipe, required, task).override(**given)
        reading = parse_reading(columns, header, input_format, strict)
        numbers = parse_seeds(seeds, plan.run.seed)
        training.check_output(output, resume)
        work = training.build_task(task, model, plan.task, reading)
        check_inputs([*train, *(validation or [])])
        processes = find_processes(joined)
        folders = training.locate_folders(output, numbers)
        logs = {f"seed {seed}": folder / LOG for seed, folder in folders.items()}
        recording = Recording(chart, tensorboard, logs, processes.is_first)
        with handle_stop(processes), Display(as_json, processes.is_first) as display, recording:
            examples = training.read_examples(work, train, reading, "training", display.report, learn=True)
            kept = training.read_examples(work, validation, reading, "validation", display.report) if validation else []
            backend = joined or load_backend(name, device, train=True)  # seconds: the data has been checked
            features, shown = work.build_features(examples), work.build_features(kept)
            training.report_truncation(work, features, "training", display.report)
            training.report_truncation(work, shown, "validation", display.report)
            plan = training.resolve_schedule(plan, len(features))
            display.show_backend(backend)
            display.start(plan.optimizer.steps, numbers)
            with hold_back_stderr() as show_stderr:
                job = training.Job(
                    backend, model, plan, work, features, Validation(kept, shown) if kept else None,
                    output, call_after_loss(show_stderr, recording.with_board(display.report)),
                )  # fmt: skip
                result = training.finetune(job, numbers, resume)
            _show_result(display, result, [folder / training.MODEL for folder in folders.values()])


def _show_result(display: Display, result: Mapping[str, Any], models: Sequence[Path]) -> None:
    """Show the scores over all seeds, and where the models are."""
    line = {name: result.get(name) for name in ("median", "deviation", "seeds")}
    scores = format_scores(result["median"]) if "median" in result else ""
    median = f"median of {len(models)} seeds: {scores}" if scores and len(models) > 1 else ""
    where = f"The model is in {models[0]}" if len(models) == 1 else f"The models are in {', '.join(map(str, models))}"
    if not scores:
        where += ": the last one, since no --validation data selects the best"
    display.say({"result": line, "models": list(map(str, models))}, median, where)


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


def check_overrides(given: Mapping[str, Any], seeds: str | None) -> None:
    """Check the options that take the place of values of the recipe.

    Raises:
        typer.BadParameter: a value is not positive, or both --seed and --seeds are specified.
    """
    for name in ("epochs", "learning_rate", "batch_size"):
        value = given[name]
        if value is not None and not 0 < value < float("inf"):
            raise typer.BadParameter(f"--{name.replace('_', '-')} is {value}; it must be greater than 0")
    if given["seed"] is not None and seeds is not None:
        raise typer.BadParameter("specify --seed for one run or --seeds for several, not both")


def parse_seeds(seeds: str | None, default: int) -> list[int]:
    """Parse the seeds of the option, or return the default one."""
    parts = seeds.split(",") if seeds is not None else [str(default)]
    if not all(part.strip().isdecimal() for part in parts) or len(set(parts)) < len(parts):
        raise typer.BadParameter(f"--seeds is {seeds!r}; give distinct non-negative integers separated by commas")
    return [int(part) for part in parts]

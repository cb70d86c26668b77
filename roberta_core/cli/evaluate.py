"""`roberta evaluate`: score a model on masked tokens, or on the task that it was fine-tuned for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roberta_core.cli.files import check_files, check_inputs
from roberta_core.cli.finetune import FORMAT_HELP, parse_reading
from roberta_core.cli.frameworks import (
    DEVICE,
    FRAMEWORK,
    FRAMEWORKS,
    describe_backend,
    hold_back_stderr,
    load_backend,
    resolve_frameworks,
)
from roberta_core.cli.terminal import escape_controls
from roberta_core.safe_files import create_text

if TYPE_CHECKING:
    from roberta_core.training.evaluation import Score


def evaluate(
    texts: Annotated[
        list[str],
        typer.Option(
            help="Documents: a file, a glob, or @LIST, where LIST is a file with one path per line. Repeatable."
        ),
    ],
    model: Annotated[
        str, typer.Option(help="A folder with a checkpoint, a built-in model, or a model on the Hub.")
    ] = "roberta-tiny",
    recipe: Annotated[
        str | None,
        typer.Option(
            help="Recipe (name or TOML file) that sets how texts are split and masked; with --task: the "
            "settings of the task are those of this recipe, not those of the fine-tuning."
        ),
    ] = None,
    only_held_out: Annotated[
        bool, typer.Option(help="Without --task: evaluate only the documents that the recipe holds out.")
    ] = False,
    blocks: Annotated[
        int | None,
        typer.Option(
            min=1, help="Without --task: evaluate at most this many blocks (sequences of the recipe's length)."
        ),
    ] = None,
    seed: Annotated[int | None, typer.Option(min=0, help="Without --task: seed of the masking; by default 0.")] = None,
    task: Annotated[
        str | None,
        typer.Option(
            help="Score a fine-tuned model on a task: classification, tagging, multiple-choice or "
            "question-answering. --texts are then data files, as for `roberta finetune --train`."
        ),
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="With --task: write the predictions to this file, one line of JSON each.")
    ] = None,
    columns: Annotated[
        str | None, typer.Option(help="With --task: columns for the task's fields, such as text=review.")
    ] = None,
    header: Annotated[
        str | None, typer.Option(help="With --task: column names of files without a header, separated by commas.")
    ] = None,
    input_format: Annotated[
        str | None, typer.Option(help=f"With --task: {FORMAT_HELP[0].lower()}{FORMAT_HELP[1:]}.")
    ] = None,
    strict: Annotated[bool, typer.Option(help="With --task: fail on faulty records instead of skipping them.")] = False,
    frameworks: FRAMEWORKS = None,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Mask tokens of texts as in pretraining, and compute the loss and accuracy of the predictions.

    All frameworks see the same masked inputs. With --task, the scores of that task are computed instead.
    """
    masking = {"--only-held-out": only_held_out or None, "--blocks": blocks, "--seed": seed}
    of_task = {
        "--predictions": predictions, "--columns": columns, "--header": header, "--input-format": input_format,
        "--strict": strict or None,
    }  # fmt: skip
    for option, value in (of_task if task is None else masking).items():
        if value is not None:
            raise typer.BadParameter(f"{option} {'requires --task' if task is None else 'cannot be used with --task'}")
    if task is not None:
        reading = parse_reading(columns, header, input_format, strict)
        return evaluate_files(
            task, texts, model, recipe, reading, predictions, resolve_frameworks(frameworks, framework), device, as_json
        )
    from roberta_core.training.evaluation import Evaluation

    if only_held_out and recipe is None:
        raise typer.BadParameter("--only-held-out requires a --recipe that lists the held-out documents")
    backends = [load_backend(name, device) for name in resolve_frameworks(frameworks, framework)]
    evaluation = Evaluation(model, texts, recipe, only_held_out, seed or 0, blocks)
    scores = {}
    for one in backends:
        with hold_back_stderr():
            scores[describe_backend(one)] = evaluation.of_model(one)
    if as_json:
        found = {"model": model, "documents": len(evaluation.files), "blocks": evaluation.count}
        print(json.dumps({**found, "scores": {name: asdict(score) for name, score in scores.items()}}, indent=2))
    else:
        show_scores(scores)


def evaluate_files(
    task: str,
    files: list[str],
    model: str,
    recipe: str | None,
    reading: Any,
    predictions: Path | None,
    names: list[str],
    device: str,
    as_json: bool,
) -> None:
    """Score a fine-tuned model in each framework; with several, the predictions written are those of the last."""
    from roberta_core.training.finetune_run import evaluate_task
    from roberta_core.training.recipe import Recipe

    check_files(predictions)
    check_inputs(files)
    plan, lines, found = Recipe.load(recipe, purpose=task) if recipe else None, [], {}
    for name in names:
        one = load_backend(name, device)
        with hold_back_stderr():
            result, examples = evaluate_task(one, model, task, files, plan, reading, lines.append)
        found[describe_backend(one)] = result
        if predictions is not None:
            with create_text(predictions) as stream:
                for example, answer in zip(examples, result.predictions, strict=True):
                    row = {"id": example.fields.get("id", example.place), "prediction": answer}
                    stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    if as_json:
        scores = {name: result.scores for name, result in found.items()}
        print(json.dumps({"model": model, "task": task, **lines[0], "scores": scores}, indent=2))
        return
    for note in dict.fromkeys(line["note"] for line in lines if "note" in line):
        print(f"roberta: {note}", file=sys.stderr)
    for reason in lines[0]["reasons"]:
        print(f"roberta: skipped {escape_controls(reason)}", file=sys.stderr)
    show_task_scores({name: result.scores for name, result in found.items()})


def show_task_scores(scores: Mapping[str, Mapping[str, float]]) -> None:
    """Print a row per framework, with a column per score."""
    from rich.table import Table

    from roberta_core.cli.terminal import make_console

    table = Table("", *(name.replace("_", " ") for name in next(iter(scores.values()))))
    for name, row in scores.items():
        table.add_row(name, *(f"{value:.4f}" for value in row.values()))
    make_console().print(table)


def show_scores(scores: dict[str, Score]) -> None:
    """Print a row per predictor."""
    from rich.table import Table

    from roberta_core.cli.terminal import make_console

    table = Table("", "loss", "accuracy", "tokens")
    for name, score in scores.items():
        table.add_row(name, f"{score.loss:.4f}", f"{score.accuracy:.2%}", f"{score.count:,}")
    make_console().print(table)

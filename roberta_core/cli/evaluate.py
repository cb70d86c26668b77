"""`roberta evaluate`: how well a model predicts masked tokens, or does the task that it was fine-tuned for."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roberta_core.cli.files import check_files
from roberta_core.cli.finetune import reading_of
from roberta_core.cli.frameworks import FRAMEWORK, FRAMEWORKS, chosen, load

if TYPE_CHECKING:
    from roberta_core.training.evaluation import Score


def evaluate(
    texts: Annotated[
        list[str], typer.Option(help="Documents: a file, a glob, or @LIST with a name a line. Repeatable.")
    ],
    model: Annotated[str, typer.Option(help="A folder with a checkpoint, or an embedded model.")] = "roberta-tiny",
    recipe: Annotated[str | None, typer.Option(help="Cut and mask the texts as this recipe says.")] = None,
    only_held_out: Annotated[bool, typer.Option(help="Of the texts, only those that the recipe holds out.")] = False,
    baselines: Annotated[
        list[str] | None, typer.Option(help="Documents to count on; what is evaluated or held out is left out of them.")
    ] = None,
    blocks: Annotated[int | None, typer.Option(min=1, help="Only so many blocks of each document set.")] = None,
    seed: Annotated[int, typer.Option(min=0, help="Which tokens are masked.")] = 0,
    task: Annotated[
        str | None, typer.Option(help="The model's task; --texts are then data as `roberta finetune` reads them.")
    ] = None,
    predictions: Annotated[
        Path | None, typer.Option(help="Of a task: write each prediction here, a line of JSON each.")
    ] = None,
    columns: Annotated[str | None, typer.Option(help="Of a task: columns for its fields, such as text=review.")] = None,
    header: Annotated[str | None, typer.Option(help="Of a task: the columns of files without their names.")] = None,
    format: Annotated[str | None, typer.Option(help="Of a task: the files' format.")] = None,
    strict: Annotated[bool, typer.Option(help="Of a task: refuse data with faults.")] = False,
    frameworks: FRAMEWORKS = None,
    framework: FRAMEWORK = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Mask texts as in training and score the predictions: loss and accuracy.

    All see the same masked inputs: the frameworks and, with --baselines, the commonest token and count models that
    look at the left and the right neighbour. With --task the measures of that task are told instead.
    """
    if task is not None:
        reading = reading_of(columns, header, format, strict)
        return of_task(task, texts, model, recipe, reading, predictions, chosen(frameworks, framework), as_json)
    from roberta_core.training.evaluation import Evaluation

    names = chosen(frameworks, framework)
    if only_held_out and recipe is None:
        raise typer.BadParameter("--only-held-out needs a --recipe that says which they are")
    evaluation = Evaluation(model, texts, recipe, only_held_out, seed, blocks)
    scores = {}
    for name in names:
        one = load(name)
        scores[f"{one.title} {one.version}"] = evaluation.of_model(one)
    scores |= evaluation.of_baselines(baselines) if baselines else {}
    if as_json:
        found = {"model": model, "documents": len(evaluation.files), "blocks": evaluation.count}
        print(json.dumps({**found, "scores": {name: asdict(score) for name, score in scores.items()}}, indent=2))
    else:
        show(scores)


def of_task(
    task: str,
    files: list[str],
    model: str,
    recipe: str | None,
    reading: Any,
    predictions: Path | None,
    names: list[str],
    as_json: bool,
) -> None:
    """The scores of a fine-tuned model in each framework; with several, the predictions are those of the last."""
    from roberta_core.training.finetune_run import evaluate_task
    from roberta_core.training.recipe import Recipe

    check_files(predictions)
    plan, told, found = Recipe.load(recipe) if recipe else Recipe(), [], {}
    for name in names:
        one = load(name)
        result, examples = evaluate_task(one, model, task, files, plan, reading, told.append)
        found[f"{one.title} {one.version}"] = result
        if predictions is not None:
            with open(predictions, "w", encoding="utf-8") as stream:
                for example, answer in zip(examples, result.predictions, strict=True):
                    row = {"id": example.fields.get("id", example.place), "prediction": getattr(answer, "text", answer)}
                    stream.write(json.dumps(row, ensure_ascii=False) + "\n")
    if as_json:
        scores = {name: result.scores for name, result in found.items()}
        print(json.dumps({"model": model, "task": task, **told[0], "scores": scores}, indent=2))
        return
    for reason in told[0]["reasons"]:
        print(f"roberta: skipped {reason}", file=sys.stderr)
    show_task({name: result.scores for name, result in found.items()})


def show_task(scores: Mapping[str, Mapping[str, float]]) -> None:
    """For people: a row for each framework, a column for each measure."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", *(name.replace("_", " ") for name in next(iter(scores.values()))))
    for name, row in scores.items():
        table.add_row(name, *(f"{value:.4f}" for value in row.values()))
    Console().print(table)


def show(scores: dict[str, Score]) -> None:
    """For people: a row for each predictor."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "loss", "accuracy", "tokens")
    for name, score in scores.items():
        table.add_row(name, f"{score.loss:.4f}", f"{score.accuracy:.2%}", f"{score.count:,}")
    Console().print(table)

"""`roberta evaluate`: how well a model predicts masked tokens, beside baselines that only count."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated

import typer

from roberta_core.cli.frameworks import FRAMEWORK, FRAMEWORKS, chosen

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
    frameworks: FRAMEWORKS = None,
    framework: FRAMEWORK = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Mask texts as in training and score the predictions: loss and accuracy.

    All see the same masked inputs: the frameworks and, with --baselines, the commonest token and count models that
    look at the left and the right neighbour.
    """
    from roberta_core import backend
    from roberta_core.training.evaluation import Evaluation

    names = chosen(frameworks, framework)
    if only_held_out and recipe is None:
        raise typer.BadParameter("--only-held-out needs a --recipe that says which they are")
    evaluation = Evaluation(model, texts, recipe, only_held_out, seed, blocks)
    scores = {}
    for name in names:
        one = backend.load(name)
        scores[f"{one.title} {one.version}"] = evaluation.of_model(one)
    scores |= evaluation.of_baselines(baselines) if baselines else {}
    if as_json:
        found = {"model": model, "documents": len(evaluation.files), "blocks": evaluation.count}
        print(json.dumps({**found, "scores": {name: asdict(score) for name, score in scores.items()}}, indent=2))
    else:
        show(scores)


def show(scores: dict[str, Score]) -> None:
    """For people: a row for each predictor."""
    from rich.console import Console
    from rich.table import Table

    table = Table("", "loss", "accuracy", "tokens")
    for name, score in scores.items():
        table.add_row(name, f"{score.loss:.4f}", f"{score.accuracy:.2%}", f"{score.count:,}")
    Console().print(table)

"""`python -m benchmarks.embedded_model`: compare masked-token prediction of the embedded model with baselines."""

from collections.abc import Iterable
from typing import Annotated

import typer

from benchmarks.embedded_model.baselines import fit_baselines
from benchmarks.embedded_model.texts import split_to_evaluate, split_to_train
from roberta_core import backend
from roberta_core.cli.evaluate import show_scores
from roberta_core.data.sources import File
from roberta_core.data.texts import find
from roberta_core.tasks.metrics import Score, score
from roberta_core.training.evaluation import Evaluation


def main(
    texts: Annotated[list[str], typer.Option(help="Documents to evaluate on. Repeatable.")],
    count: Annotated[list[str], typer.Option(help="Documents to count on; evaluated ones are excluded. Repeatable.")],
    model: Annotated[str, typer.Option(help="Model to evaluate.")] = "roberta-tiny",
    recipe: Annotated[str, typer.Option(help="Recipe that sets how texts are split and masked.")] = "roberta-tiny",
    only_held_out: Annotated[bool, typer.Option(help="Evaluate only the documents that the recipe holds out.")] = False,
    frameworks: Annotated[str, typer.Option(help="Frameworks, separated by commas.")] = "pt,tf,flax",
) -> None:
    """Score every framework and the baselines on the same masked tokens and print the table."""
    evaluation = Evaluation(model, texts, recipe, only_held_out, split=split_to_evaluate)
    scores = {}
    for name in frameworks.split(","):
        one = backend.load(name)
        scores[f"{one.title} {one.version}"] = evaluation.of_model(one)
    show_scores(scores | score_baselines(evaluation, count))


def score_baselines(evaluation: Evaluation, patterns: Iterable[str]) -> dict[str, Score]:
    """Score the baselines, counted on the documents of these patterns, on the masked tokens of an evaluation."""
    special = evaluation.vocabulary.special
    blocks = evaluation.mask(select_counted(evaluation, patterns), split_to_train)
    predictors = fit_baselines(blocks, special)
    return {name: score(predict, evaluation.batches, special) for name, predict in predictors.items()}


def select_counted(evaluation: Evaluation, patterns: Iterable[str]) -> list[File]:
    """Return the documents to count on: those that are neither evaluated nor held out.

    Raises:
        ValueError: If no document is left.
    """
    evaluated = {path.resolve() for path in evaluation.files}
    held_out = evaluation.data.held_out
    files = [path for path in find(patterns) if path.resolve() not in evaluated and path.name not in held_out]
    if not files:
        raise ValueError(
            "all documents of --count are evaluated or held out, so there is nothing to count; add other documents"
        )
    return files


if __name__ == "__main__":
    typer.run(main)

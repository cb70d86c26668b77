"""`python -m benchmarks.embedded_model.pretrain`: pretrain with the text preparation of the embedded model."""

import json
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.embedded_model.texts import split_to_evaluate, split_to_train
from roberta_core import RobertaConfig, backend
from roberta_core.checkpoints import resolve
from roberta_core.training import pretrain_run
from roberta_core.training.recipe import Recipe


def main(
    recipe: Annotated[str, typer.Option(help="Recipe: roberta-tiny, or roberta-tiny-continued for the second phase.")],
    texts: Annotated[list[str], typer.Option(help="Documents: the novels and the PEPs. Repeatable.")],
    output: Annotated[Path, typer.Option(help="Output folder; the model is written to OUTPUT/model.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="Folder with the tokenizer; default: that of the model.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Model of the first phase.")] = None,
    framework: Annotated[str, typer.Option(help="Framework to train with.")] = "pt",
    resume: Annotated[bool, typer.Option(help="Continue the run in the output folder.")] = False,
) -> None:
    """Train the embedded model and print each log entry as a JSON line."""
    if tokenizer is None and model is None:
        raise typer.BadParameter("Specify --tokenizer or --model.")
    plan, engine = Recipe.load(recipe), backend.load(framework)
    vocabulary = pretrain_run.Vocabulary.from_folder(tokenizer or resolve(model or ""))
    train, held_out = pretrain_run.split_documents(plan, texts)
    run, trained = pretrain_run.prepare(
        engine, plan, vocabulary, train, held_out, output, lambda line: print(json.dumps(line), flush=True),
        source=model, splits=(split_to_train, split_to_evaluate),
    )  # fmt: skip
    if resume:
        run.resume()
    run.run()
    config = RobertaConfig.from_dict(dict(run.config))
    pretrain_run.export(output / "model", engine.tensors(trained), config, vocabulary, plan, "float16")


if __name__ == "__main__":
    typer.run(main)

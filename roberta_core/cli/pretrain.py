"""`roberta pretrain`: train a model on texts."""

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from roberta_core.cli.frameworks import load_backend
from roberta_core.cli.recording import CHART, TENSORBOARD, Recording
from roberta_core.cli.terminal import make_console


def pretrain(
    texts: Annotated[
        list[str], typer.Option(help="Documents: a file, a glob, or @LIST, a file with one name per line. Repeatable.")
    ],
    recipe: Annotated[str, typer.Option(help="Name of a built-in recipe, or a TOML file.")],
    output: Annotated[Path, typer.Option(help="Output folder for checkpoints, the log and the final model.")],
    tokenizer: Annotated[
        Path | None, typer.Option(help="A folder with a tokenizer.json; by default that of --model.")
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A checkpoint to continue from, for example to adapt it to other texts.")
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(help="Documents to hold out for evaluation, in addition to those of the recipe. Repeatable."),
    ] = None,
    framework: Annotated[str, typer.Option(help="Framework to train with: pt, tf or flax.")] = "pt",
    dtype: Annotated[str, typer.Option(help="Data type of the final model: float32 or float16.")] = "float32",
    prepare: Annotated[bool, typer.Option(help="Only tokenise the texts into OUTPUT/corpus; needs no framework.")] = (
        False
    ),
    strict: Annotated[bool, typer.Option(help="Fail on faulty lines instead of skipping them.")] = False,
    resume: Annotated[bool, typer.Option(help="Resume from the newest checkpoint in the output folder.")] = False,
    chart: CHART = None,
    tensorboard: TENSORBOARD = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line instead of the progress display.")
    ] = False,
) -> None:
    """Train a model, new or from a checkpoint, on texts with masked-language modelling, with a recipe.

    A stopped run resumes with --resume and ends with the same bits as an uninterrupted one. The final model is written
    to OUTPUT/model.
    """
    from roberta_core import RobertaConfig
    from roberta_core.checkpoints import resolve
    from roberta_core.data.records import Skipped
    from roberta_core.training import pretrain_run as training
    from roberta_core.training.pretrain_loop import LOG
    from roberta_core.training.recipe import Recipe

    if dtype not in training.DTYPES:
        raise typer.BadParameter(f"--dtype is {dtype!r}; known are {', '.join(training.DTYPES)}")
    plan = Recipe.load(recipe)
    if tokenizer is None and model is None:
        raise typer.BadParameter("specify --tokenizer, or a --model that has a tokenizer")
    vocabulary = training.Vocabulary.from_folder(tokenizer or resolve(model or ""))
    train, kept = training.split_documents(plan, texts, held_out or [])
    skipped = Skipped(strict)
    if prepare:
        with _Display(plan.optimizer.steps, as_json) as display:
            begin = time.perf_counter()
            blocks, _ = training.prepare_corpus(plan, vocabulary, train, kept, output, display.reading, skipped)
            display.prepared(blocks, output, skipped, time.perf_counter() - begin)
        return
    backend = load_backend(framework)
    _refuse_overwriting(output, resume)
    recording = Recording(chart, tensorboard, {"": output / LOG})
    with _Display(plan.optimizer.steps, as_json) as display, recording:
        report = recording.with_board(display.report)
        run, trained = training.prepare(
            backend, plan, vocabulary, train, kept, output, report, display.reading, model, skipped
        )
        display.skipped(skipped)
        if resume:
            run.resume()
        display.start(run.step, len(train), len(kept), len(run.data.tokens), len(run.data))
        run.run()
    tensors = backend.tensors(trained)
    config = RobertaConfig.from_dict(dict(run.config))
    training.export(output / "model", tensors, config, vocabulary, plan, dtype)
    display.say({"done": run.step, "model": str(output / "model")}, f"The model is in {output / 'model'}")


def _refuse_overwriting(output: Path, resume: bool) -> None:
    from roberta_core.training.training_checkpoint import find_newest

    if not resume and find_newest(output) is not None:
        raise ValueError(f"{output} already has a run: continue it with --resume, or choose another --output")


class _Display:
    """The progress display: a bar and a line per evaluation; or JSON lines."""

    def __init__(self, steps: int, as_json: bool):
        self.as_json, self.steps = as_json, steps
        self.console = make_console(stderr=as_json)
        self.bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=self.console, disable=as_json,
        )  # fmt: skip
        self.task = self.bar.add_task("reading", total=None)

    def __enter__(self) -> "_Display":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.as_json:  # older versions of rich print an empty line even for a bar that was never shown
            self.bar.stop()

    def reading(self, done: int, total: int) -> None:
        self.bar.update(self.task, description="tokenising", completed=done >> 20, total=total >> 20)

    def skipped(self, skipped: Any) -> None:
        if skipped.count:
            self.say({"skipped": skipped.count, "reasons": skipped.reasons}, skipped.sentence())

    def prepared(self, blocks: Any, output: Path, skipped: Any, seconds: float) -> None:
        self.skipped(skipped)
        line = {"tokens": len(blocks.tokens), "blocks": len(blocks), "seconds": round(seconds, 2)}
        where = output / "corpus"
        self.say(line, f"{len(blocks.tokens):,} tokens, {len(blocks):,} blocks in {where}, in {seconds:.1f} s")

    def start(self, step: int, train: int, held_out: int, tokens: int, blocks: int) -> None:
        line = {"documents": train, "held_out": held_out, "tokens": tokens, "blocks": blocks, "steps": self.steps}
        self.say(line, f"{train} documents, {tokens:,} tokens, {blocks:,} blocks; {held_out} documents held out")
        self.bar.reset(self.task, description="training", total=self.steps, completed=step)

    def report(self, line: Mapping[str, Any]) -> None:
        if self.as_json:
            self.say(line, "")
        elif "loss" in line:
            speed = f"{line['tokens_per_second']:,} tokens/s"
            self.bar.update(self.task, completed=line["step"], description=f"loss {line['loss']:.3f}  {speed}")
            if "remark" in line:
                self.say(line, f"step {line['step']}: {line['remark']}")
        elif "held_out_loss" in line:
            loss, accuracy = line["held_out_loss"], line["held_out_accuracy"]
            self.say(line, f"step {line['step']}: held-out loss {loss:.3f}, masked accuracy {accuracy:.1%}")

    def say(self, line: Mapping[str, Any], sentence: str) -> None:
        if self.as_json:
            print(json.dumps(line), flush=True)
        elif sentence:
            self.bar.console.print(sentence)

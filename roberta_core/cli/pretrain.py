"""`roberta pretrain`: train a model on texts."""

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from roberta_core.cli.distributed import DISTRIBUTED, SHARDING, share_run
from roberta_core.cli.frameworks import DEVICE, TRAINING_FRAMEWORK, hold_back_stderr, load_backend, resolve_frameworks
from roberta_core.cli.recording import CHART, TENSORBOARD, Recording
from roberta_core.cli.terminal import format_count
from roberta_core.cli.training_display import Display, call_after_loss, handle_stop


def pretrain(
    texts: Annotated[
        list[str],
        typer.Option(
            metavar="[NAME=]FILES",
            help="Documents: a file, a glob, or @LIST, where LIST is a file with one path per line; also of an object "
            "store, such as s3://bucket/*.jsonl.gz. Each row of JSON lines or Parquet is a document, its field `text`; "
            "any other file is one. NAME is a corpus that the recipe can weigh. Repeatable.",
        ),
    ],
    recipe: Annotated[str, typer.Option(help="Name of a built-in recipe, or a TOML file.")],
    output: Annotated[Path, typer.Option(help="Output folder for checkpoints, the log and the final model.")],
    tokenizer: Annotated[
        str | None,
        typer.Option(
            help="A folder with a tokenizer.json, a built-in model or a model on the Hub whose tokenizer is used; "
            "needed unless --model has one."
        ),
    ] = None,
    model: Annotated[
        str | None, typer.Option(help="A checkpoint to continue from, for example to adapt it to other texts.")
    ] = None,
    held_out: Annotated[
        list[str] | None,
        typer.Option(help="Documents to hold out for evaluation, in addition to those of the recipe. Repeatable."),
    ] = None,
    framework: TRAINING_FRAMEWORK = None,
    device: DEVICE = "auto",
    dtype: Annotated[str, typer.Option(help="Data type of the final model: float32 or float16.")] = "float32",
    prepare: Annotated[bool, typer.Option(help="Only tokenise the texts into OUTPUT/corpus; needs no framework.")] = (
        False
    ),
    processes: Annotated[int, typer.Option(min=1, help="Processes that tokenise the texts.")] = 1,
    strict: Annotated[
        bool, typer.Option(help="Fail on lines that are not valid (UTF-8, JSON) instead of skipping them.")
    ] = False,
    resume: Annotated[bool, typer.Option("--resume", help="Resume the run in the output folder.")] = False,
    distributed: DISTRIBUTED = False,
    sharding: SHARDING = None,
    chart: CHART = None,
    tensorboard: TENSORBOARD = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object per line instead of the progress display.")
    ] = False,
) -> None:
    """Train a model, new or from a checkpoint, on texts with masked-language modelling, with a recipe.

    A stopped run resumes with --resume and ends with exactly the weights of an uninterrupted one. The final model is
    written to OUTPUT/model. Processes that are started by `torchrun --nproc-per-node N -m roberta_core pretrain ...`
    share each batch; see --distributed for Flax and TensorFlow.
    """
    from roberta_core.backend import refuse_inference_only
    from roberta_core.data.records import Skipped
    from roberta_core.training import pretrain_run as training

    if framework is not None:
        refuse_inference_only(framework, "train models")
    if dtype not in training.DTYPES:
        raise typer.BadParameter(f"--dtype is {dtype!r}; expected one of {', '.join(training.DTYPES)}")
    if tokenizer is None and model is None:
        raise typer.BadParameter(
            "specify --tokenizer (such as roberta-tiny, or a folder), or a --model that has a tokenizer"
        )
    skipped = Skipped(strict)
    if prepare:
        plan, vocabulary, train, kept = _plan_work(recipe, tokenizer, model, texts, held_out)
        with Display(as_json) as display:
            begin = time.perf_counter()
            blocks, _ = training.prepare_corpus(
                plan, vocabulary, train, kept, output, display.show_reading, skipped, processes=processes
            )
            _show_corpus(display, blocks, output, skipped, time.perf_counter() - begin)
        return
    (name,) = resolve_frameworks(None, framework)
    with share_run(name, device, distributed, sharding) as joined:
        work = _plan_work(recipe, tokenizer, model, texts, held_out)
        _check_output(output, resume)
        backend = joined or load_backend(name, device, train=True)
        outputs = Outputs(chart, tensorboard, as_json)
        _train(backend, work, output, model, dtype, skipped, resume, outputs, processes)


SETS = ("train", "held-out")  # the folders of a corpus


@dataclass
class Outputs:
    """What a run shows and records besides its log."""

    chart: Path | None
    tensorboard: Path | None
    as_json: bool


def _plan_work(
    recipe: str, tokenizer: str | None, model: str | None, texts: list[str], held_out: list[str] | None
) -> Any:
    """Return the recipe, the vocabulary, the documents to train on and those held out."""
    from roberta_core.training import pretrain_run as training
    from roberta_core.training.recipe import PRETRAINING, Recipe

    plan = Recipe.load(recipe, purpose=PRETRAINING)
    vocabulary = training.Vocabulary.from_pretrained(tokenizer or model or "")
    return plan, vocabulary, *training.split_documents(plan, texts, held_out or [])


def _train(
    backend: Any, work: Any, output: Path, model: str | None, dtype: str, skipped: Any, resume: bool, outputs: Outputs,
    workers: int,
) -> None:  # fmt: skip
    """Train the model, and have the first process write it."""
    from roberta_core import RobertaConfig
    from roberta_core.training import pretrain_run as training
    from roberta_core.training.processes import find_processes
    from roberta_core.training.run_log import LOG

    (plan, vocabulary, train, held_out), processes = work, find_processes(backend)
    first = processes.is_first
    recording = Recording(outputs.chart, outputs.tensorboard, {"": output / LOG}, first)
    display = Display(outputs.as_json, first)
    with handle_stop(processes), display, recording, hold_back_stderr() as show_stderr:
        report = call_after_loss(show_stderr, recording.with_board(display.report))
        run, trained = training.prepare(
            backend, plan, vocabulary, train, held_out, output, report, display.show_reading, model, skipped,
            workers=workers,
        )  # fmt: skip
        _show_skipped(display, skipped)
        if resume:
            run.resume()
        display.show_backend(backend)
        _show_start(display, run, output)
        run.run()
    if first:
        tensors = backend.tensors(trained)
        config = RobertaConfig.from_dict(dict(run.config))
        training.export(output / "model", tensors, config, vocabulary, plan, dtype)
        display.say({"done": run.step, "model": str(output / "model")}, f"The model is in {output / 'model'}")


def _check_output(output: Path, resume: bool) -> None:
    """Raise `ValueError` if the output folder has a run that would be overwritten, or none to resume."""
    from roberta_core.training.training_checkpoint import find_resumable, has_begun

    if resume:
        find_resumable(output)
    elif has_begun(output):
        raise ValueError(f"{output} already has a run: continue it with --resume, or choose another --output")


def _show_skipped(display: Display, skipped: Any) -> None:
    if skipped.count:
        display.say({"skipped": skipped.count, "reasons": skipped.reasons}, skipped.sentence())


def _show_corpus(display: Display, blocks: Any, output: Path, skipped: Any, seconds: float) -> None:
    from roberta_core.data.corpus import summarize

    _show_skipped(display, skipped)
    corpora = summarize(output / "corpus" / "train")
    line = {
        "tokens": len(blocks.tokens),
        "blocks": len(blocks.blocks),
        "corpora": corpora,
        "seconds": round(seconds, 2),
    }
    total = {key: sum(facts[key] for facts in corpora.values()) for key in ("documents", "duplicates", "tokens")}
    each = [f"{name or 'without a name'}: {_format_corpus(facts)}" for name, facts in corpora.items()]
    where = f"{format_count(len(blocks.blocks), 'block')} in {output / 'corpus'}, in {seconds:.1f} s"
    display.say(line, *(each if len(each) > 1 else ()), f"{_format_corpus(total)}, {where}")


def _format_corpus(facts: Any) -> str:
    dropped = f" ({format_count(facts['duplicates'], 'duplicate')} skipped)" if facts["duplicates"] else ""
    return f"{format_count(facts['documents'], 'document')}{dropped}, {facts['tokens']:,} tokens"


def _show_start(display: Display, run: Any, output: Path) -> None:
    from roberta_core.data.corpus import summarize

    sets = zip(SETS, (run.data, run.held_out), strict=True)
    train, held_out = (
        sum(facts["documents"] for facts in summarize(output / "corpus" / name).values()) if data is not None else 0
        for name, data in sets
    )
    tokens, blocks, steps = len(run.data.tokens), len(run.data), run.recipe.optimizer.steps
    line = {"documents": train, "held_out": held_out, "tokens": tokens, "blocks": blocks, "steps": steps}
    epoch = " in an epoch" if run.data.mixture else ""
    display.say(
        line,
        f"{format_count(train, 'document')}, {tokens:,} tokens, {format_count(blocks, 'block')}{epoch}; "
        f"{format_count(held_out, 'document')} held out",
    )
    display.start(steps, step=run.step)

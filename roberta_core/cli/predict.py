"""`roberta tag | answer | choose | embed | rank | zero-shot | generate`: predictions for the rows of files."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roberta_core.cli.files import check_files
from roberta_core.cli.frameworks import (
    DEVICE,
    FRAMEWORK,
    announce_device,
    hold_back_stderr,
    load_backend,
    resolve_frameworks,
)
from roberta_core.cli.predict_inputs import STDIN, TASKS, TaskFields, parse_columns, read_rows
from roberta_core.cli.terminal import EarlyExit, escape_controls, make_console

if TYPE_CHECKING:
    from roberta_core.pipelines import Pipeline

FAILED = 1
FORMATS = ("table", "tsv", "jsonl")

MODEL = Annotated[
    str,
    typer.Option(
        help="A folder with a checkpoint, a built-in model (roberta-tiny), or a name on the Hugging Face Hub."
    ),
]
FILES = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="[FILE]...",
        help="JSON lines, JSON, CSV, TSV, CoNLL or Parquet files by their suffix; any other file, and - for standard "
        "input (the default), has one row per line, with its fields separated by tabs.",
    ),
]
COLUMNS = Annotated[
    list[str] | None,
    typer.Option(metavar="FIELD=NAME", help="The column that holds a field, such as text=body; may be repeated."),
]
FORMAT = Annotated[
    str | None,
    typer.Option("--format", help="table, tsv or jsonl; by default a table on a terminal, TSV otherwise."),
]
OUTPUT = Annotated[Path | None, typer.Option(help="File to write instead of standard output.")]
JSON = Annotated[bool, typer.Option("--json", help="Print one line of JSON per row; the same as --format jsonl.")]
BUDGET = Annotated[int, typer.Option(min=1, help="Most tokens per batch, padding included.")]
TOP = Annotated[int, typer.Option(min=1, help="How many results to return for each row.")]


def tag(
    model: MODEL,
    files: FILES = None,
    aggregation: Annotated[
        str,
        typer.Option(
            help="How tokens are merged into entities: simple, first, average or max; none prints every token."
        ),
    ] = "first",
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    columns: COLUMNS = None,
    format: FORMAT = None,
    output: OUTPUT = None,
    as_json: JSON = False,
    budget: BUDGET = 2048,
) -> None:
    """Find entities in texts with a token-classification model. A row has the field text, or tokens (a list)."""
    predict(
        "tag", model, files, framework, device, columns, format, output, as_json, budget,
        aggregation_strategy=aggregation,
    )  # fmt: skip


def answer(
    model: MODEL,
    files: FILES = None,
    question: Annotated[str | None, typer.Option(help="A question to answer from --context, instead of files.")] = None,
    context: Annotated[str | None, typer.Option(help="The text that answers --question.")] = None,
    top_k: TOP = 1,
    unanswerable: Annotated[bool, typer.Option("--unanswerable", help="Allow 'no answer' as a result.")] = False,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    columns: COLUMNS = None,
    format: FORMAT = None,
    output: OUTPUT = None,
    as_json: JSON = False,
    budget: BUDGET = 2048,
) -> None:
    """Answer questions from contexts with a question-answering model. A row has the fields question and context."""
    if (question is None) != (context is None) or (question is not None and files):
        raise typer.BadParameter("--question and --context must be used together, and without files")
    given = None if question is None else [{"question": question, "context": context}]
    predict(
        "answer", model, files, framework, device, columns, format, output, as_json, budget, given,
        top_k=top_k, handle_impossible_answer=unanswerable,
    )  # fmt: skip


def choose(
    model: MODEL,
    files: FILES = None,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    columns: COLUMNS = None,
    format: FORMAT = None,
    output: OUTPUT = None,
    as_json: JSON = False,
    budget: BUDGET = 2048,
) -> None:
    """Choose among texts with a multiple-choice model. A row has the fields context and choices (a list)."""
    predict("choose", model, files, framework, device, columns, format, output, as_json, budget)


def embed(
    model: MODEL,
    files: FILES = None,
    pooling: Annotated[
        str | None,
        typer.Option(
            help="How token vectors become one: mean, cls (the first token), max, mean_sqrt_len, weightedmean or "
            "lasttoken; mean+max concatenates two. By default as the model's folder says, or mean."
        ),
    ] = None,
    normalize: Annotated[
        bool | None,
        typer.Option(
            "--normalize/--no-normalize", help="Scale vectors to length 1. By default as the model's folder says."
        ),
    ] = None,
    prompt_name: Annotated[
        str | None, typer.Option(help="The prompt of the model's folder to put before each text, such as query.")
    ] = None,
    truncate: Annotated[bool, typer.Option("--truncate", help="Truncate long texts instead of refusing them.")] = False,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    columns: COLUMNS = None,
    format: FORMAT = None,
    output: OUTPUT = None,
    as_json: JSON = False,
    budget: BUDGET = 2048,
) -> None:
    """Turn texts into vectors. A row has the field text."""
    predict(
        "embed", model, files, framework, device, columns, format, output, as_json, budget,
        pooling=pooling, normalize=normalize, prompt_name=prompt_name, truncation=truncate,
    )  # fmt: skip


def rank(
    model: MODEL,
    files: FILES = None,
    top_k: Annotated[int | None, typer.Option(min=1, help="How many documents to return; by default all.")] = None,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    columns: COLUMNS = None,
    format: FORMAT = None,
    output: OUTPUT = None,
    as_json: JSON = False,
    budget: BUDGET = 2048,
) -> None:
    """Order documents for queries with a cross-encoder. A row has the fields query and documents."""
    predict("rank", model, files, framework, device, columns, format, output, as_json, budget, top_k=top_k)


def zero_shot(
    model: MODEL,
    labels: Annotated[str, typer.Option(help="Candidate labels, separated by commas.")],
    files: FILES = None,
    template: Annotated[
        str, typer.Option(help="Sentence to test for each label; {} is replaced by the label.")
    ] = "This example is {}.",
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Score labels independently; their scores need not sum to 1.")
    ] = False,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    columns: COLUMNS = None,
    format: FORMAT = None,
    output: OUTPUT = None,
    as_json: JSON = False,
    budget: BUDGET = 2048,
) -> None:
    """Classify texts by labels of your own with a model for natural language inference. A row has the field text."""
    predict(
        "zero-shot", model, files, framework, device, columns, format, output, as_json, budget,
        candidate_labels=labels, hypothesis_template=template, multi_label=multi_label,
    )  # fmt: skip


def generate(
    model: MODEL,
    files: FILES = None,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="How many tokens to generate.")] = 50,
    sample: Annotated[bool, typer.Option("--sample", help="Sample instead of taking the most likely token.")] = False,
    temperature: Annotated[float, typer.Option(help="Temperature for --sample; above 0.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed for --sample; the same seed gives the same text.")] = 0,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    columns: COLUMNS = None,
    format: FORMAT = None,
    output: OUTPUT = None,
    as_json: JSON = False,
) -> None:
    """Continue texts with a causal model. A row has the field text."""
    predict(
        "generate", model, files, framework, device, columns, format, output, as_json, 2048,
        max_new_tokens=max_new_tokens, do_sample=sample, temperature=temperature, seed=seed, add_special_tokens=False,
    )  # fmt: skip


def predict(
    command: str,
    model: str,
    files: list[str] | None,
    framework: str | None,
    device: str,
    columns: list[str] | None,
    format: str | None,
    output: Path | None,
    as_json: bool,
    budget: int,
    given: list[dict[str, Any]] | None = None,
    **options: Any,
) -> None:
    """Run a task over the rows of files, or over `given` ones; a row that cannot be used is printed with its error.

    Raises:
        typer.BadParameter: the options are used wrongly.
        EarlyExit: some rows had errors.
    """
    task = TASKS[command]
    if format is not None and format not in FORMATS:
        raise typer.BadParameter(f"--format is {format}; known are {', '.join(FORMATS)}")
    kind = "jsonl" if as_json else format or ("table" if output is None and sys.stdout.isatty() else "tsv")
    names = parse_columns(task, columns or [])
    check_files(output)
    (name,) = resolve_frameworks(None, framework)
    runner = _load(task, name, device, model, budget, options)
    rows = list(enumerate(given, 1)) if given else []
    source = ((f"row {number}", item) for number, item in rows) if given else read_rows(task, files or [STDIN], names)
    places: list[str] = []

    def inputs() -> Iterator[Any]:
        for place, item in source:
            places.append(place)
            yield item

    results = runner.stream(inputs(), runner.settings, keep_errors=True)
    with nullcontext(sys.stdout) if output is None else open(output, "w", encoding="utf-8", newline="") as stream:
        failed, count = WRITERS[kind](task, places, results, stream)
    if failed:
        raise EarlyExit(f"{failed} of {count} rows have an error", FAILED)


def _load(
    task: TaskFields, framework: str, device: str, model: str, budget: int, options: Mapping[str, Any]
) -> Pipeline:
    from roberta_core.pipelines import PIPELINES, load_pipeline

    def load() -> Any:
        backend = load_backend(framework, device)
        announce_device(backend)
        return backend

    with hold_back_stderr():
        return load_pipeline(PIPELINES[task.pipeline], load, model, budget=budget, **options)


def _write_jsonl(task: TaskFields, places: list[str], results: Iterable[Any], stream: Any) -> tuple[int, int]:
    failed = count = 0
    for count, result in enumerate(results, 1):
        reason = getattr(result, "reason", None)
        failed += reason is not None
        value = {"error": reason} if reason is not None else task.to_json(result)
        print(json.dumps({"place": places[count - 1], **value}, ensure_ascii=False), file=stream)
    return failed, count


def _flatten(task: TaskFields, places: list[str], results: Iterable[Any]) -> Iterator[tuple[list[str], bool]]:
    """Yield the lines of a table, and whether each is the first of its row; errors stand in the last column."""
    for number, result in enumerate(results):
        if hasattr(result, "reason"):
            yield [places[number], *[""] * len(task.columns), result.reason], True
            continue
        for rank, line in enumerate(task.to_rows(result) or [{}]):
            yield [places[number], *(_show(line.get(name, "")) for name in task.columns), ""], rank == 0


def _show(value: Any) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _write_tsv(task: TaskFields, places: list[str], results: Iterable[Any], stream: Any) -> tuple[int, int]:
    writer = csv.writer(stream, delimiter="\t", lineterminator="\n")
    writer.writerow(["place", *task.columns, "error"])
    failed = count = 0
    for line, first in _flatten(task, places, results):
        writer.writerow(escape_controls(cell) if stream.isatty() else cell for cell in line)
        failed += bool(line[-1])
        count += first
    return failed, count


def _write_table(task: TaskFields, places: list[str], results: Iterable[Any], stream: Any) -> tuple[int, int]:
    from rich.table import Table

    lines = list(_flatten(task, places, results))
    failed = sum(bool(line[-1]) for line, _ in lines)
    table = Table("place", *task.columns, *(["error"] if failed else []))
    for line, _ in lines:
        table.add_row(*(line if failed else line[:-1]))
    make_console(file=stream).print(table)
    return failed, sum(first for _, first in lines)


WRITERS: dict[str, Callable[..., tuple[int, int]]] = {
    "jsonl": _write_jsonl,
    "tsv": _write_tsv,
    "table": _write_table,
}

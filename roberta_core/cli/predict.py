"""`roberta classify | tag | answer | choose | embed | rank | zero-shot | generate`: predictions for rows of files."""

from __future__ import annotations

import math
import sys
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roberta_core.cli.files import STDOUT, check_files, check_inputs, check_output
from roberta_core.cli.frameworks import announce_device, hold_back_stderr, load_backend, resolve_frameworks
from roberta_core.cli.predict_inputs import STDIN, TASKS, TaskFields, has_lines, parse_columns, read_rows
from roberta_core.cli.predict_options import HTML, Request, with_shared_options
from roberta_core.cli.predict_outputs import WRITERS, Row, is_error, open_output, show_progress
from roberta_core.cli.terminal import EarlyExit, format_count
from roberta_core.data.sources import is_remote
from roberta_core.interface import COMMAND, use_interface

if TYPE_CHECKING:
    from roberta_core.cli.predict_blocks import BlockStream
    from roberta_core.cli.predict_folder import BlockFolder
    from roberta_core.pipelines import Pipeline
    from roberta_core.pipelines.html_pages import Page

FAILED = 1
HINT = "; the arguments are files: a single text is read from standard input, as in `echo 'TEXT' | roberta ...`"

# The options for arguments of pipelines that have another name.
OPTION_NAMES = {
    "aggregation_strategy": "aggregation", "hypothesis_template": "template", "candidate_labels": "labels",
    "do_sample": "sample", "truncation": "truncate", "handle_impossible_answer": "unanswerable",
}  # fmt: skip

TOP = Annotated[int, typer.Option(min=1, help="How many results to return for each row.")]


@with_shared_options(model="a fine-tuned text classifier", columns="text=body")
def classify(
    request: Request,
    pairs: Annotated[
        bool, typer.Option("--pairs", help="Each line of text holds two texts, separated by a tab.")
    ] = False,
    long: Annotated[
        str,
        typer.Option(
            help="How to read a text that is longer than the model accepts: head, tail, head+tail (a quarter of the "
            "tokens from the head, the others from the tail), or windows (that overlap; their scores are combined)."
        ),
    ] = "head",
    window_scores: Annotated[
        str, typer.Option(help="How the scores of windows are combined: mean or max, for each label.")
    ] = "mean",
    html: HTML = None,
) -> None:
    """Classify texts or pairs of texts. A row has the field text, and can have text_pair.

    A line of text is one text, or with --pairs two with a tab between them. A line of JSON looks like
    {"text": "A fine day."} or {"text": "It rains.", "text_pair": "It is wet."}. The label, its score and the text are
    printed for each row.
    """
    predict(
        "pairs" if pairs else "classify", request, lines="lines", html=html,
        long=long, window_scores=window_scores, detailed=True,
    )  # fmt: skip


@with_shared_options(model="a fine-tuned token classifier", columns="text=body")
def tag(
    request: Request,
    aggregation: Annotated[
        str,
        typer.Option(
            help="How tokens are merged into entities: simple, first, average or max; none prints every token."
        ),
    ] = "first",
    html: HTML = None,
) -> None:
    """Find entities in texts with a token-classification model. A row has the field text, or tokens (a list).

    A line of text is one text. A line of JSON looks like {"text": "Ada lives in London."} or
    {"tokens": ["Ada", "lives", "in", "London"]}.
    """
    predict("tag", request, html=html, aggregation_strategy=aggregation)


@with_shared_options(model="a model fine-tuned for question answering", columns="context=body")
def answer(
    request: Request,
    question: Annotated[str | None, typer.Option(help="A question to answer from --context, instead of files.")] = None,
    context: Annotated[str | None, typer.Option(help="The text that answers --question.")] = None,
    top_k: TOP = 1,
    unanswerable: Annotated[
        bool | None,
        typer.Option(
            "--unanswerable/--answerable",
            help="Whether the result may be empty, for a context without an answer. By default as fine-tuning recorded "
            "it in the model's folder, else --answerable.",
        ),
    ] = None,
    html: HTML = None,
) -> None:
    """Answer questions from contexts with a question-answering model. A row has the fields question and context.

    A line of text is a question, a tab and its context. A line of JSON looks like
    {"question": "Who wrote it?", "context": "Ada wrote it."}.
    """
    if (question is None) != (context is None) or (question is not None and request.files):
        raise typer.BadParameter("--question and --context must be used together, and without files")
    given = None if question is None else [{"question": question, "context": context}]
    predict("answer", request, given, html=html, top_k=top_k, handle_impossible_answer=unanswerable)


@with_shared_options(model="a model fine-tuned for multiple choice", columns="context=body")
def choose(request: Request) -> None:
    """Choose among texts with a multiple-choice model. A row has the fields context and choices (a list).

    A line of text is a context and its choices, separated by tabs. A line of JSON looks like
    {"context": "It rains.", "choices": ["She opens the umbrella.", "She waters the garden."]}.
    """
    predict("choose", request)


@with_shared_options(model="any encoder, also of sentence-transformers", columns="text=body")
def embed(
    request: Request,
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
        str | None,
        typer.Option(
            help="Put a prompt before each text: one that the model's config_sentence_transformers.json names, such as "
            "query."
        ),
    ] = None,
    truncate: Annotated[bool, typer.Option("--truncate", help="Truncate long texts instead of refusing them.")] = False,
) -> None:
    """Turn texts into vectors. A row has the field text.

    A line of text is one text. A line of JSON looks like {"text": "A fine day."}.
    """
    predict("embed", request, pooling=pooling, normalize=normalize, prompt_name=prompt_name, truncation=truncate)


@with_shared_options(model="a cross-encoder (a classifier of pairs)", columns="query=title")
def rank(
    request: Request,
    top_k: Annotated[int | None, typer.Option(min=1, help="How many documents to return; by default all.")] = None,
) -> None:
    """Order documents for queries with a cross-encoder. A row has the fields query and documents.

    A line of text is a query and its documents, separated by tabs. A line of JSON looks like
    {"query": "When does it open?", "documents": ["We open at nine.", "Tickets cost five pounds."]}.
    """
    predict("rank", request, top_k=top_k)


@with_shared_options(model="a model for natural language inference", columns="text=body")
def zero_shot(
    request: Request,
    labels: Annotated[str, typer.Option(help="Candidate labels, separated by commas.")],
    template: Annotated[
        str, typer.Option(help="Sentence to test for each label; {} is replaced by the label.")
    ] = "This example is {}.",
    multi_label: Annotated[
        bool, typer.Option("--multi-label", help="Score labels independently; their scores need not sum to 1.")
    ] = False,
) -> None:
    """Classify texts by labels of your own with a model for natural language inference. A row has the field text."""
    predict("zero-shot", request, candidate_labels=labels, hypothesis_template=template, multi_label=multi_label)


@with_shared_options(model="a causal language model", columns="text=body")
def generate(
    request: Request,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="How many tokens to generate.")] = 50,
    sample: Annotated[bool, typer.Option("--sample", help="Sample instead of taking the most likely token.")] = False,
    temperature: Annotated[float, typer.Option(help="Temperature for --sample; above 0.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed for --sample; the same seed gives the same text.")] = 0,
) -> None:
    """Continue texts with a causal model. A row has the field text."""
    if not 0 < temperature < math.inf:
        raise typer.BadParameter(f"--temperature is {temperature}; it must be a finite number above 0")
    predict(
        "generate", request,
        max_new_tokens=max_new_tokens, do_sample=sample, temperature=temperature, seed=seed, add_special_tokens=False,
    )  # fmt: skip


def predict(
    command: str,
    request: Request,
    given: list[dict[str, Any]] | None = None,
    lines: str = "tsv",
    html: Path | None = None,
    **options: Any,
) -> None:
    """Run a task over the rows of files, or over `given` ones; a row that cannot be used is printed with its error.

    Args:
        command: the name of the command, a key of `TASKS`.
        request: the options that all prediction commands share.
        given: rows to use instead of the files.
        lines: how the results are printed if all rows are lines of text and no format is specified.
        html: a file for a page of the results.
        **options: call options of the task's pipeline.

    Raises:
        typer.BadParameter: the options are used wrongly.
        EarlyExit: some rows had errors.
    """
    from roberta_core.pipelines import check_framework

    task, files = TASKS[command], request.files or [STDIN]
    names = parse_columns(task, request.columns or [])
    if html == STDOUT:
        raise typer.BadParameter("--html needs a file: standard output has the results")
    check_output(request.output)
    check_files(html)
    check_inputs([] if given else files, "" if command == "fill-mask" else HINT)  # its arguments are texts
    (name,) = resolve_frameworks(None, request.framework)
    check_framework(task.pipeline, name)
    rows = [(f"row {number}", item) for number, item in enumerate(given, 1)] if given else None
    source = _read(task, files, names, request) if rows is None else iter(rows)
    plain = rows is None and all(has_lines(file, request.input_format) for file in files)
    kind = _choose_format(request, lines if plain else "tsv")
    page = None if html is None else _build_page(task, request)
    folder = None if given else _open_folder(command, name, request, files, options)
    with start_runner(command, name, request, options, folder) as runner:
        counts = write(task, runner, source, kind, request, page, folder)
    if page is not None and html is not None:
        page.save(html)
    if counts["truncated"]:
        length, texts = runner.length, format_count(counts["truncated"], "text")
        verb = "was" if counts["truncated"] == 1 else "were"
        print(f"roberta: {texts} {verb} truncated to {length} tokens, the most that the model accepts", file=sys.stderr)
    if counts["tab"] and command == "classify" and any(has_lines(file, request.input_format) for file in files):
        print(
            f"roberta: {format_count(counts['tab'], 'text')} with a tab: it was read as part of the text; pass --pairs "
            "if it separates two texts",
            file=sys.stderr,
        )
    if not counts["row"]:
        names_of_files = ", ".join("standard input" if file == STDIN else file for file in files)
        print(
            f"roberta: no rows were read: {names_of_files} {'is' if len(files) == 1 else 'are'} empty", file=sys.stderr
        )
    if counts["error"]:
        raise EarlyExit(f"{counts['error']} of {counts['row']} rows have an error", FAILED)


def _read(task: TaskFields, files: list[str], names: Mapping[str, str], request: Request) -> Iterator[tuple[str, Any]]:
    header = tuple(request.header.split(",")) if request.header else ()
    if header and all(has_lines(file, request.input_format) for file in files):
        raise typer.BadParameter("--header is for CSV and TSV files, but these are lines of text: see --input-format")
    return read_rows(task, files, names, request.input_format, header)


def _choose_format(request: Request, other: str) -> str:
    """Return the requested format; by default a table on a terminal, and `other` elsewhere."""
    if request.as_json:
        return "jsonl"
    if request.is_parquet():
        from roberta_core.cli.predict_parquet import require_pyarrow

        require_pyarrow()  # before any row is computed

        return "parquet"
    terminal = request.output is None and sys.stdout.isatty()
    return request.format or ("table" if terminal and other == "tsv" else other)


def write(
    task: TaskFields,
    runner: Pipeline | BlockStream,
    source: Iterable[tuple[str, Any]],
    kind: str,
    request: Request,
    page: Page | None = None,
    folder: BlockFolder | None = None,
) -> Counter[str]:
    """Write the results of rows in a format; return the numbers of rows, of errors and of truncated texts.

    Each row is added to the page too, if there is one.
    """
    held: deque[tuple[str, Any]] = deque()  # rows that were read, but have no result yet
    counts: Counter[str] = Counter()

    def inputs() -> Iterator[Any]:
        for place, item in source:
            held.append((place, item))
            counts["tab"] += isinstance(item, str) and "\t" in item
            yield item

    def rows() -> Iterator[Row]:
        for result in runner.stream(inputs(), runner.settings, keep_errors=True):
            counts["row"] += 1
            counts["error"] += is_error(result)
            counts["truncated"] += isinstance(result, dict) and bool(result.get("truncated"))
            row = *held.popleft(), result
            if page is not None:
                page.add(*row)
            advance()
            yield row

    # The first computations print start-up messages too.
    opened = open_output(request.output) if folder is None else folder.open_output()
    with hold_back_stderr(), opened as stream, show_progress(request.output) as advance:
        WRITERS[kind](task, rows(), stream)
    return counts


def _build_page(task: TaskFields, request: Request) -> Page:
    from roberta_core.pipelines.html_pages import build_page

    return build_page(task.pipeline, request.model)


def _open_folder(
    command: str, framework: str, request: Request, files: list[str], options: Mapping[str, Any]
) -> BlockFolder | None:
    """Return the folder of finished blocks, if workers read files and write a file."""
    output = request.output
    if (
        not request.has_workers()
        or output is None
        or not all(is_remote(file) or Path(file).is_file() for file in files)
    ):
        return None  # standard input and pipes can be read only once
    if isinstance(output, Path) and output.exists() and not output.is_file():
        return None  # a device or a pipe, which a rename would replace
    from roberta_core.cli.predict_folder import BlockFolder, describe_run

    names = ("columns", "header", "input_format", "max_batch_tokens", "device")
    given = {f"--{name.replace('_', '-')}": getattr(request, name) for name in names}
    settings = {"the command": command, "--framework": framework, **given, **options}
    output = output.resolve()  # a link stays one
    return BlockFolder(output, {**settings, **describe_run(request.model, files, output)})


@contextmanager
def start_runner(
    command: str,
    framework: str,
    request: Request,
    options: Mapping[str, Any],
    folder: BlockFolder | None = None,
) -> Iterator[Pipeline | BlockStream]:
    """Load the pipeline of a command, or start workers that do."""
    if not request.has_workers():
        task, budget = TASKS[command], request.max_batch_tokens
        yield load_runner(task, framework, request.device, request.model, budget, options)
        return
    from roberta_core.cli.predict_blocks import BlockStream, RunnerArguments, start_engine

    arguments = RunnerArguments(command, framework, request.device, request.model, options)
    with closing(start_engine(request.engine, arguments, request.processes or 1, request.address)) as engine:
        stream = BlockStream(engine, request.max_batch_tokens, folder)
        stream.check(share=request.engine is None)
        yield stream


def load_runner(
    task: TaskFields, framework: str, device: str, model: str, budget: int | None, options: Mapping[str, Any]
) -> Pipeline:
    """Return the pipeline of a command; the checkpoint is checked before the framework is loaded."""
    from roberta_core.pipelines import PIPELINES, load_pipeline

    def load() -> Any:
        backend = load_backend(framework, device)
        announce_device(backend)
        return backend

    try:
        with use_interface(COMMAND), hold_back_stderr():
            return load_pipeline(PIPELINES[task.pipeline], load, model, budget=budget, **options)
    except ValueError as error:
        name, _, rest = str(error).partition(" ")
        if name not in options:
            raise
        option = OPTION_NAMES.get(name, name.replace("_", "-"))  # the argument of the pipeline is none of the command
        raise ValueError(f"--{option} {rest}") from None

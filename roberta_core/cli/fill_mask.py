"""`roberta fill-mask`: predictions for each mask, by one framework or by several side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roberta_core.cli.frameworks import (
    DEVICE,
    FRAMEWORK,
    FRAMEWORKS,
    describe_backend,
    hold_back_stderr,
    load_backend,
    resolve_frameworks,
)
from roberta_core.cli.predict import predict
from roberta_core.cli.predict_options import (
    ADDRESS,
    COLUMNS,
    ENGINE,
    FORMAT,
    HEADER,
    INPUT_FORMAT,
    MAX_BATCH_TOKENS,
    OUTPUT,
    PROCESSES,
    Request,
)

if TYPE_CHECKING:
    from roberta_core.tasks.fill_mask import Filled

Answers = dict[str, list["Filled"]]  # of each framework


def fill_mask(
    texts: Annotated[
        list[str] | None,
        typer.Argument(help="Texts with at least one <mask> each.", show_default=False),
    ] = None,
    file: Annotated[
        list[str] | None,
        typer.Option(
            help="A file of texts instead of TEXT: JSON lines, JSON, CSV, TSV or Parquet by its suffix; any other "
            "file, and - for standard input, has one text per line. Repeatable."
        ),
    ] = None,
    model: Annotated[
        str, typer.Option(help="A folder with a checkpoint, a built-in model, or a model on the Hub.")
    ] = "roberta-tiny",
    frameworks: FRAMEWORKS = None,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    top_k: Annotated[int, typer.Option(min=1, help="Number of predictions per mask.")] = 5,
    columns: COLUMNS = None,
    header: HEADER = None,
    input_format: INPUT_FORMAT = None,
    format: FORMAT = None,
    output: OUTPUT = None,
    as_json: Annotated[
        bool,
        typer.Option(
            "--json",
            help="With --file print a line of JSON per row, as --format jsonl does; otherwise one JSON document.",
        ),
    ] = False,
    max_batch_tokens: MAX_BATCH_TOKENS = None,
    processes: PROCESSES = None,
    engine: ENGINE = None,
    address: ADDRESS = None,
) -> None:
    """Predict the masked tokens of texts, with probabilities; several frameworks are shown side by side.

    With --file each prediction is a row, written as --format says.
    """
    if bool(texts) == bool(file):
        raise typer.BadParameter("specify TEXT..., or files of texts with --file (but not both)")
    if not file:
        given = {
            "--columns": columns,
            "--header": header,
            "--input-format": input_format,
            "--format": format,
            "--output": output,
            "--max-batch-tokens": max_batch_tokens,
            "--processes": processes,
            "--engine": engine,
            "--address": address,
        }
        if unused := [name for name, value in given.items() if value is not None]:
            raise typer.BadParameter(f"{unused[0]} requires --file")
        return compare_texts(texts or [], model, resolve_frameworks(frameworks, framework), device, top_k, as_json)
    if frameworks is not None:
        raise typer.BadParameter("--frameworks compares frameworks on TEXT...; with --file specify one by --framework")
    request = Request(
        model, file, framework, device, columns, header, input_format, format, output, as_json, max_batch_tokens,
        processes, engine, address,
    )  # fmt: skip
    predict("fill-mask", request, top_k=top_k)


def compare_texts(texts: list[str], model: str, names: list[str], device: str, top_k: int, as_json: bool) -> None:
    """Show the predictions of each framework for each mask of texts, side by side."""
    from roberta_core import RobertaConfig, load_tokenizer
    from roberta_core.tasks import fill_mask as task
    from roberta_core.tasks.heads import require_head

    require_head(model, task.ARCHITECTURE)
    tokenizer = load_tokenizer(model)
    task.check_texts(tokenizer, texts, RobertaConfig.from_pretrained(model), top_k)
    backends = {}
    answers: Answers = {}
    for name in names:
        backends[name] = load_backend(name, device)
        with hold_back_stderr():  # the first computations print start-up messages too
            network = backends[name].from_pretrained(task.ARCHITECTURE, model)
            answers[name] = task.fill_mask(backends[name], network, tokenizer, texts, top_k)
    if as_json:
        versions = {
            name: {"title": one.title, "version": one.version, "device": one.device} for name, one in backends.items()
        }
        print(json.dumps({"model": model, "frameworks": versions, "texts": collect_answers(texts, answers)}, indent=2))
    else:
        show(texts, answers, {name: describe_backend(one) for name, one in backends.items()})


def collect_answers(texts: list[str], answers: Answers) -> list[dict[str, Any]]:
    """Return each text with its masks, each with every framework's candidates, for JSON."""
    data: list[dict[str, Any]] = [{"text": text, "masks": []} for text in texts]
    for same in zip(*answers.values(), strict=True):
        candidates = {
            name: [vars(candidate) for candidate in one.candidates] for name, one in zip(answers, same, strict=True)
        }
        data[same[0].text]["masks"].append({"position": same[0].position, "candidates": candidates})
    return data


def show(texts: list[str], answers: Answers, titles: dict[str, str]) -> None:
    """Print a table per mask, with a column per framework."""
    from rich.table import Table

    from roberta_core.cli.terminal import make_console

    console = make_console()
    for same in zip(*answers.values(), strict=True):
        table = Table()
        for title in titles.values():
            table.add_column(title)
        for row in zip(*(one.candidates for one in same), strict=True):
            table.add_row(*(f"{one.probability:7.2%}  {quote(one.token)}" for one in row))
        console.print(texts[same[0].text], table)
        if len(same) > 1:
            console.print(describe_agreement(list(same)))


def quote(token: str) -> str:
    """Quote a token, so that spaces and line ends are visible."""
    return json.dumps(token, ensure_ascii=False)


def describe_agreement(same: list[Filled]) -> str:
    """Return a sentence on how well several frameworks agree on a mask."""
    rows = list(zip(*(one.candidates for one in same), strict=True))
    if any(len({candidate.token_id for candidate in row}) > 1 for row in rows):
        return "The frameworks predict different tokens."
    spread = [[candidate.probability for candidate in row] for row in rows]
    worst = max(max(values) - min(values) for values in spread)
    return f"All frameworks predict the same tokens; probabilities differ by at most {worst:.0e}."

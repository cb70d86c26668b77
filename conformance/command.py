"""`roberta parity`: every framework measured against the float64 model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from roberta_core.cli.files import STDOUT, check_files

if TYPE_CHECKING:
    from conformance.adapters import Adapter
    from conformance.suite import Report


def parity(
    checkpoint: Annotated[
        str | None,
        typer.Argument(help="A folder or an embedded model; without it the suite's cases run.", show_default=False),
    ] = None,
    frameworks: Annotated[
        str | None,
        typer.Option(help="Names with commas between, such as pt,tf,flax; otherwise all that are installed."),
    ] = None,
    texts: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="A text a line, for a checkpoint.")
    ] = None,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write JSON; - is the screen.")
    ] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write a page with a heat map of the errors.")
    ] = None,
    faults: Annotated[bool, typer.Option("--faults", help="Show instead how the cases catch planted faults.")] = False,
) -> None:
    """Measure the error of each framework against a float64 model, at every stage.

    The error of a stage is its largest difference over its largest value. The exit status is 1 if one is over its
    tolerance.
    """
    if faults:
        raise typer.Exit(show_faults())
    if texts is not None and checkpoint is None:
        raise typer.BadParameter("--texts needs a checkpoint to read them with")
    check_files(json_file, junit, html)
    report = measure(checkpoint, frameworks, read_texts(texts) if texts else None)
    save(report, json_file, junit, html)
    show(report, sys.stderr if json_file == STDOUT else sys.stdout)
    raise typer.Exit(0 if report.ok else 1)


def measure(checkpoint: str | None, frameworks: str | None, texts: list[str] | None) -> "Report":
    """The report on a checkpoint, or on the suite; progress goes to stderr if that is a terminal."""
    from rich.console import Console

    from conformance.case import load_cases
    from conformance.suite import TEXTS, run_cases, run_checkpoint
    from roberta_core.cli.frameworks import hold_back_stderr

    with hold_back_stderr(), Console(stderr=True).status("start") as status:
        adapters = chosen(frameworks)
        if checkpoint is None:
            return run_cases(adapters, load_cases().values(), status.update)
        return run_checkpoint(adapters, checkpoint, texts or TEXTS, status.update)


def chosen(frameworks: str | None) -> "list[Adapter]":
    """The adapters named, or those of every framework that is installed."""
    from conformance.adapters import find
    from roberta_core import backend
    from roberta_core.cli.frameworks import PREFERRED

    names = sorted(backend.available(), key=(*PREFERRED, *backend.registered()).index)
    if frameworks is not None:
        names = [name.strip() for name in frameworks.split(",")]
    if not names:
        raise backend.BackendError("no framework is installed: pip install 'triberta[all]'")
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"{frameworks} names a framework twice")
    try:
        return [find(name) for name in names]
    except KeyError as error:
        raise typer.BadParameter(error.args[0]) from None


def read_texts(path: Path) -> list[str]:
    """The lines of a file that are not blank."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise ValueError(f"{path} has no text in it")
    return texts


def save(report: "Report", json_file: Path | None, junit: Path | None, html: Path | None) -> None:
    """Write the files that are asked for."""
    from conformance.page import to_html
    from conformance.report import to_json, to_junit, write

    for path, make in ((json_file, to_json), (junit, to_junit), (html, to_html)):
        if path == STDOUT:
            print(make(report), end="")
        elif path is not None:
            write(path, make(report))


def show(report: "Report", file: TextIO) -> None:
    """For people: the table, and what failed."""
    from rich.console import Console

    from conformance.report import sentences, to_table

    console = Console(file=file)
    console.print(to_table(report))
    for sentence in sentences(report):
        console.print(sentence, style="red", markup=False, highlight=False)


def show_faults() -> int:
    """The table of planted faults; the exit status is 1 if one is not caught."""
    from rich.console import Console

    from conformance.planted import best_catches
    from conformance.report import fault_table

    with Console(stderr=True).status("plant faults"):
        found = list(best_catches())
    Console().print(fault_table(found))
    return 0 if all(catch is not None and catch.caught for _, catch in found) else 1

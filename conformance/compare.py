"""`roberta compare`: compare checkpoints with each other."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from roberta_core.cli.files import STDOUT, check_files


def compare(
    checkpoints: Annotated[
        list[str],
        typer.Argument(
            help="Folders, weights files, built-in models or Hub ids; the others are compared with the first. "
            "If only A is given, it is a folder, and the weights files in it are compared with each other.",
            metavar="A [B...]",
        ),
    ],
    texts: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Texts to run, one per line.")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(min=0.0, help="Relative difference that a tensor or a stage may have.")
    ] = 0.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    json_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JSON to FILE.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML to FILE.")] = None,
    html: Annotated[Path | None, typer.Option(metavar="FILE", help="Write an HTML page to FILE.")] = None,
) -> None:
    """Compare checkpoints of any format: configuration, tokenizer, tensors, and the outputs of each layer in float64.

    The exit status is 0 if they are the same model, and 1 if anything differs.
    """
    from rich.console import Console

    from .command import read_texts
    from .report.comparison import to_html, to_json, to_junit, to_table
    from .report.formats import write
    from .suite.comparison import compare_checkpoints
    from .suite.run import TEXTS

    check_files(json_file, junit, html)
    with Console(stderr=True).status("comparing"):
        found = compare_checkpoints(checkpoints, read_texts(texts) if texts else TEXTS, tolerance)
    for path, make in (
        (STDOUT if as_json else None, to_json),
        (json_file, to_json),
        (junit, to_junit),
        (html, to_html),
    ):
        if path == STDOUT:
            print(make(found), end="")
        elif path is not None:
            write(path, make(found))
    console = Console(file=sys.stderr if as_json else sys.stdout)
    for one in found:
        console.print(to_table(one))
        for note in one.notes:
            console.print(note, markup=False, highlight=False)
    raise typer.Exit(0 if all(one.ok for one in found) else 1)

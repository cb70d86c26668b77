"""`roberta export`: write a model in the format of a runtime."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from roberta_core.exports import Export


def export(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, a built-in model, or a model on the Hub.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The output folder; it must be new or empty.")],
    to: Annotated[str, typer.Option(help="Format to write: onnx, torch-export, saved-model, tflite or stablehlo.")],
    architecture: Annotated[
        str | None,
        typer.Option(
            "--class", help="Class to export: Model (the encoder), ForMaskedLM, ...; by default the checkpoint's."
        ),
    ] = None,
    dtype: Annotated[
        str,
        typer.Option(
            help="Type in which the model computes: float32; for onnx also float16 or int8 (dynamic quantisation of "
            "the linear layers)."
        ),
    ] = "float32",
    ids: Annotated[
        str | None,
        typer.Option(help="Type of the integer inputs, for onnx: int64 or int32. Default: int64."),
    ] = None,
    check: Annotated[
        bool, typer.Option("--check/--no-check", help="Compare the exported model with the float64 model.")
    ] = True,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Export a model to a runtime's format, with tokenizer, configuration and, for embedding models, pooling settings.

    The exported model is opened again and compared with a float64 model at several shapes. Nothing is written if an
    error exceeds ten times the error of a NumPy implementation in the same data type. Each format needs an
    extra of the package: `onnx` for onnx, `pt` for torch-export, `tf` for saved-model and tflite, `flax` for stablehlo.
    """
    from rich.console import Console

    from roberta_core import exports
    from roberta_core.cli.frameworks import hold_back_stderr

    with hold_back_stderr(), Console(stderr=True).status("starting") as status:
        made = exports.export(
            source,
            target,
            to,
            architecture=architecture and architecture.removeprefix("Roberta"),
            dtype=dtype,
            ids=ids,
            check=check,
            progress=status.update,
        )
    facts = describe(made)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts)


def describe(made: Export) -> dict[str, Any]:
    """Return the facts about an export, for JSON."""
    return {
        "source": made.source,
        "target": str(made.folder),
        "to": made.format,
        "class": f"Roberta{made.architecture}",
        "dtype": made.dtype,
        "ids": made.ids,
        "files": made.files,
        "remarks": made.remarks,
        "checks": [asdict(check) for check in made.checks],
    }


def show(facts: dict[str, Any]) -> None:
    """Print a table of the facts and the checks, then the remarks."""
    from rich.table import Table

    from roberta_core.cli.terminal import make_console

    table = Table(show_header=False)
    rows = {
        "from": facts["source"],
        "to": f"{facts['target']} ({facts['to']})",
        "class": facts["class"],
        "computes in": f"{facts['dtype']}, ids {facts['ids']}",
        "size": f"{sum(facts['files'].values()):,} bytes in {len(facts['files'])} files",
    }
    for check in facts["checks"]:
        rows[f"error at {check['shape']}"] = f"{check['error']:.1e} (expected rounding {check['expected']:.1e})"
    if not facts["checks"]:
        rows["error"] = "not compared (--no-check)"
    for name, value in rows.items():
        table.add_row(name, value)
    console = make_console()
    console.print(table)
    for remark in facts["remarks"]:
        console.print(remark)

"""`roberta convert`: a checkpoint in any published format, written in any other."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from roberta_core.checkpoints.conversion import Summary

FORMATS = "safetensors, tf-safetensors, flax-safetensors, bin, msgpack, h5 or fairseq"


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder with a checkpoint, or an embedded model.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The folder to write; may be SRC itself.")],
    to: Annotated[str, typer.Option(help=f"The format: {FORMATS}.")],
    architecture: Annotated[
        str | None, typer.Option("--class", help="Write another class, such as Model or ForMaskedLM.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16, bfloat16 or float64; else as stored.")] = None,
    max_shard_size: Annotated[str, typer.Option(help="Cut into files of at most this size.")] = "5GB",
    seed: Annotated[int, typer.Option(min=0, help="Of a head that SRC does not have.")] = 0,
    verify: Annotated[bool, typer.Option(help="Read back and compare every tensor bit for bit.")] = False,
    strict: Annotated[bool, typer.Option(help="Refuse numbers that are not finite.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a checkpoint in another format, class or precision, with its tokenizer; no framework is needed."""
    from roberta_core.checkpoints import CheckpointError, conversion, resolve

    start = time.perf_counter()
    summary = conversion.convert(
        resolve(source),
        target,
        to,
        architecture=architecture and architecture.removeprefix("Roberta"),
        dtype=dtype,
        max_shard_size=max_shard_size,
        strict=strict,
        seed=seed,
    )
    if verify and (wrong := conversion.differences(summary)):
        raise CheckpointError(f"{target} differs from {source} in {len(wrong)} tensors, first {wrong[0]}")
    facts = described(summary, verify, time.perf_counter() - start)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts)


def described(summary: Summary, verified: bool, seconds: float) -> dict[str, Any]:
    """The facts about a conversion, for JSON."""
    return {
        "source": str(summary.source.folder),
        "from": summary.source.format,
        "target": str(summary.folder),
        "to": summary.format,
        "class": f"Roberta{summary.source.architecture}",
        "dtype": summary.dtype,
        "tensors": summary.tensors,
        "parameters": summary.parameters,
        "bytes": summary.bytes,
        "carried": list(summary.carried),
        "not_finite": list(summary.not_finite),
        "remarks": list(summary.source.report.sentences()),
        "verified": verified,
        "seconds": round(seconds, 2),
    }


def show(facts: dict[str, Any]) -> None:
    """For people: a row a fact, then what they must know."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(show_header=False)
    rows = {
        "from": f"{facts['source']} ({facts['from']})",
        "to": f"{facts['target']} ({facts['to']})",
        "class": facts["class"],
        "tensors": f"{facts['tensors']:,} with {facts['parameters']:,} numbers",
        "size": f"{facts['bytes']:,} bytes, {facts['dtype']}",
        "carried along": ", ".join(facts["carried"]) or "nothing",
        "read back": "every tensor has the same bits" if facts["verified"] else "not compared (--verify does)",
        "seconds": str(facts["seconds"]),
    }
    for name, value in rows.items():
        table.add_row(name, Text(value))
    console = Console()
    console.print(table)
    if facts["not_finite"]:
        console.print(Text(f"not finite: {', '.join(facts['not_finite'])}"))
    for remark in facts["remarks"]:
        console.print(Text(remark))

"""`roberta convert`: a checkpoint in any published format, written in any other."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from roberta_core.checkpoints.conversion import Check, Summary

FORMATS = "safetensors, tf-safetensors, flax-safetensors, bin, msgpack, h5 or fairseq"


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, an embedded model, or one on the Hub.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The folder to write; may be SRC itself.")],
    to: Annotated[str, typer.Option(help=f"The format: {FORMATS}.")],
    architecture: Annotated[
        str | None, typer.Option("--class", help="Write another class, such as Model or ForMaskedLM.")
    ] = None,
    dtype: Annotated[str | None, typer.Option(help="float32, float16, bfloat16 or float64; else as stored.")] = None,
    max_shard_size: Annotated[str, typer.Option(help="Cut into files of at most this size.")] = "5GB",
    seed: Annotated[int, typer.Option(min=0, help="Of a head that SRC does not have.")] = 0,
    verify: Annotated[
        bool, typer.Option(help="Read back, compare every tensor, run the float64 model and each framework.")
    ] = False,
    strict: Annotated[bool, typer.Option(help="Refuse numbers that are not finite.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a checkpoint in another format, class or precision, with its tokenizer; no framework is needed."""
    from roberta_core.checkpoints import conversion, resolve

    start = time.perf_counter()
    summary = conversion.convert(
        resolve(source, ("config", "weights", "carried")),
        target,
        to,
        architecture=architecture and architecture.removeprefix("Roberta"),
        dtype=dtype,
        max_shard_size=max_shard_size,
        strict=strict,
        seed=seed,
    )
    facts = described(summary, proofs(summary) if verify else None, time.perf_counter() - start)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts)


def proofs(summary: Summary) -> list[Check]:
    """That every tensor was written bit for bit, and what runs of both sides give. `CheckpointError` if one fails."""
    from roberta_core.checkpoints import CheckpointError, conversion

    if wrong := conversion.differences(summary):
        raise CheckpointError(
            f"{summary.folder} differs from {summary.source.folder} in {len(wrong)} tensors, first {wrong[0]}"
        )
    checks = [check for verifier in conversion.verifiers() for check in verifier(summary)]
    for check in checks:
        if check.complaint:
            raise CheckpointError(f"{summary.folder} was written, but {check.name} fails: {check.complaint}")
    return checks


def described(summary: Summary, checks: list[Check] | None, seconds: float) -> dict[str, Any]:
    """The facts about a conversion, for JSON; `checks` are None where nothing was verified."""
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
        "verified": checks is not None,
        "checks": [vars(check) for check in checks or ()],
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
        **{check["name"]: f"error {check['error']:.1e}" for check in facts["checks"]},
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

"""`roberta convert`: read a checkpoint in any published format and write it in any other."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from roberta_core.checkpoints.conversion import Check, Summary

FORMATS = (
    "safetensors (all frameworks read it), bin (PyTorch's pickle), h5 (TensorFlow), msgpack (Flax), tf-safetensors and "
    "flax-safetensors (the files that the TensorFlow and Flax classes of transformers write), or fairseq"
)


def convert(
    source: Annotated[str, typer.Argument(metavar="SRC", help="A folder, a built-in model, or a model on the Hub.")],
    target: Annotated[str, typer.Argument(metavar="DST", help="The output folder; may be SRC itself.")],
    to: Annotated[str, typer.Option(help=f"Format to write: {FORMATS}.")],
    architecture: Annotated[
        str | None,
        typer.Option(
            "--class", help="Class to write: Model (the encoder), ForMaskedLM, ...; by default the checkpoint's."
        ),
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Data type: float32, float16, bfloat16 or float64; by default as stored.")
    ] = None,
    max_shard_size: Annotated[
        str, typer.Option(help="Split the weights into files of at most this size: bytes, or a text such as 5GB.")
    ] = "5GB",
    seed: Annotated[int, typer.Option(min=0, help="Seed for the initialisation of a head that SRC lacks.")] = 0,
    strip_prefix: Annotated[
        str, typer.Option(help="Remove this from the names of tensors in SRC, such as 'module.' or 'decoder.'")
    ] = "",
    verify: Annotated[
        bool,
        typer.Option(help="Read the result back, compare every tensor, and run the float64 model and each framework."),
    ] = False,
    strict: Annotated[bool, typer.Option(help="Refuse weights that are not finite.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a checkpoint, with its tokenizer, in another format, class or precision.

    Only --verify needs a framework.
    """
    from roberta_core.checkpoints import conversion, resolve

    start = time.perf_counter()
    summary = conversion.convert(
        resolve(source, ("config", "weights", "carried")),
        target,
        to,
        architecture=architecture and architecture.removeprefix("Roberta"),
        dtype=dtype,
        max_shard_size=int(max_shard_size) if max_shard_size.isdecimal() else max_shard_size,
        strict=strict,
        seed=seed,
        strip_prefix=strip_prefix,
    )
    facts = describe(summary, verify_copy(summary) if verify else None, time.perf_counter() - start)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts)


def verify_copy(summary: Summary) -> list[Check]:
    """Compare every tensor bit for bit, and the outputs of both sides.

    Raises:
        CheckpointError: a comparison failed.
    """
    from roberta_core.checkpoints import CheckpointError, conversion

    if wrong := conversion.compare_result(summary):
        raise CheckpointError(
            f"{summary.folder} differs from {summary.source.folder} in {len(wrong)} tensors, first {wrong[0]}"
        )
    checks = [check for verifier in conversion.load_verifiers() for check in verifier(summary)]
    for check in checks:
        if check.complaint:
            raise CheckpointError(f"{summary.folder} was written, but {check.name} fails: {check.complaint}")
    return checks


def describe(summary: Summary, checks: list[Check] | None, seconds: float) -> dict[str, Any]:
    """Return the facts about a conversion, for JSON; `checks` is None if nothing was verified."""
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
        "remarks": list(summary.source.remarks),
        "verified": checks is not None,
        "checks": [vars(check) for check in checks or ()],
        "seconds": round(seconds, 2),
    }


def show(facts: dict[str, Any]) -> None:
    """Print a table of the facts, then the remarks."""
    from rich.table import Table

    from roberta_core.cli.terminal import make_console

    table = Table(show_header=False)
    rows = {
        "from": f"{facts['source']} ({facts['from']})",
        "to": f"{facts['target']} ({facts['to']})",
        "class": facts["class"],
        "tensors": f"{facts['tensors']:,} with {facts['parameters']:,} parameters",
        "size": f"{facts['bytes']:,} bytes, {facts['dtype']}",
        "copied": ", ".join(facts["carried"]) or "nothing",
        "read back": "every tensor is bit-identical" if facts["verified"] else "not compared (use --verify)",
        **{check["name"]: f"error {check['error']:.1e}" for check in facts["checks"]},
        "seconds": str(facts["seconds"]),
    }
    for name, value in rows.items():
        table.add_row(name, value)
    console = make_console()
    console.print(table)
    if facts["not_finite"]:
        console.print(f"not finite: {', '.join(facts['not_finite'])}")
    for remark in facts["remarks"]:
        console.print(remark)

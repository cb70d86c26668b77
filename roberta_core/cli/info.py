"""`roberta info`: what a checkpoint is, and whether it loads."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np


LAYER = re.compile(r"\.layer\.(\d+)\.")
SIZES = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_sequence_length", "type_vocab_size", "layer_norm_eps", "hidden_act",
)  # fmt: skip

TITLES = {"pt": "PyTorch", "tf": "TensorFlow", "flax": "Flax", "fairseq": "fairseq"}


def info(
    checkpoint: Annotated[str, typer.Argument(help="A folder, an embedded model, or one on the Hub.")] = "roberta-tiny",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Tell a checkpoint's class, sizes, tensors and format, and whether every tensor has its place."""
    facts = examine(checkpoint)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts)


def examine(source: str) -> dict[str, Any]:
    """The facts about a checkpoint, for JSON. `CheckpointError` or `ValueError` if it does not load."""
    from roberta_core.checkpoints import conversion, resolve

    folder = resolve(source)
    opened = conversion.open_checkpoint(folder)
    report, config, tensors = opened.report, opened.config, opened.tensors
    stored = {name: tensors[name] for name in report.loaded}
    return {
        "checkpoint": source,
        "folder": str(folder),
        "format": opened.format,
        "files": opened.files,
        "dialect": opened.dialect,
        "class": f"Roberta{opened.architecture}",
        "parameters": sum(tensor.size for tensor in tensors.values()),
        "bytes": sum(tensor.nbytes for tensor in stored.values()),
        "config": {**config.to_dict(), "max_sequence_length": config.max_sequence_length},
        "missing": list(report.missing),
        "unexpected": list(report.unexpected),
        "not_finite": [name for name, tensor in stored.items() if not conversion.finite(tensor)],
        "remarks": list(report.sentences()),
        "tensors": {name: described(tensor) for name, tensor in tensors.items()},
    }


def described(tensor: np.ndarray) -> dict[str, Any]:
    """A tensor's type and shape."""
    return {"dtype": str(tensor.dtype), "shape": list(tensor.shape)}


def show(facts: Mapping[str, Any]) -> None:
    """For people: what it is, then its tensors, the layers folded."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    summary = Table.grid(padding=(0, 2))
    summary.add_column()
    summary.add_column(overflow="fold")
    tensors = facts["tensors"]
    lines = {
        "checkpoint": facts["checkpoint"],
        "class": facts["class"],
        "format": f"{facts['format']}, {', '.join(sorted({one['dtype'] for one in tensors.values()}))}",
        "files": ", ".join(facts["files"]),
        "names": f"as {TITLES[facts['dialect']]} spells them",
        "parameters": f"{facts['parameters']:,} in {len(tensors)} tensors, {facts['bytes'] / 1e6:,.1f} MB",
        **{name.replace("_", " "): str(facts["config"][name]) for name in SIZES},
    }
    for name, value in lines.items():
        summary.add_row(Text(name), Text(value))
    console.print(summary, "")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("module", overflow="fold")
    for title in ("weight", "bias", "times"):
        table.add_column(title, no_wrap=True)
    for row in folded(tensors):
        table.add_row(*map(Text, row))
    console.print(table)
    if facts["not_finite"]:
        console.print(Text(f"not finite: {', '.join(facts['not_finite'])}"))
    for remark in facts["remarks"]:
        console.print(Text(remark))


def folded(tensors: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Rows of (module, its weight's shape, its bias's shape, how often), the layers that are alike as one."""
    modules: dict[str, dict[str, str]] = {}
    for name, one in tensors.items():
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = " x ".join(map(str, one["shape"]))
    rows = Counter(
        (LAYER.sub(".layer.*.", module), shapes.get("weight", ""), shapes.get("bias", ""))
        for module, shapes in modules.items()
    )
    return [(*row, str(times)) for row, times in rows.items()]

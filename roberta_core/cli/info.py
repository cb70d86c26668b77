"""`roberta info`: what a checkpoint is, and whether it loads."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    import numpy as np

    from roberta_core.config import RobertaConfig

LAYER = re.compile(r"\.layer\.(\d+)\.")
SIZES = (
    "num_hidden_layers", "hidden_size", "num_attention_heads", "intermediate_size", "vocab_size",
    "max_sequence_length", "type_vocab_size", "layer_norm_eps", "hidden_act",
)  # fmt: skip


def info(
    checkpoint: Annotated[
        str, typer.Argument(help="A folder with a checkpoint, or an embedded model.")
    ] = "roberta-tiny",
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
    from roberta_core import RobertaConfig, checkpoints
    from roberta_core.checkpoints import formats

    folder = checkpoints.resolve(source)
    config = RobertaConfig.from_pretrained(folder)
    format = formats.find(folder)
    stored = format.read(folder)
    architecture = architecture_of(config, stored)
    tensors, report = checkpoints.load(folder, config, architecture)
    return {
        "checkpoint": source,
        "folder": str(folder),
        "format": format.name,
        "class": f"Roberta{architecture}",
        "parameters": sum(tensor.size for tensor in tensors.values()),
        "bytes": sum(tensor.nbytes for tensor in tensors.values()),
        "config": {**config.to_dict(), "max_sequence_length": config.max_sequence_length},
        "remarks": list(report.sentences()),
        "tensors": {name: described(tensor) for name, tensor in tensors.items()},
    }


def architecture_of(config: RobertaConfig, stored: Iterable[str]) -> str:
    """The class that the configuration names; else one that the tensors show."""
    from roberta_core.parameters import ARCHITECTURES

    named = (config.architectures or [""])[0]
    known = next((name for name in ARCHITECTURES if named.endswith(name)), None)
    return known or ("ForMaskedLM" if any("lm_head" in name for name in stored) else "Model")


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

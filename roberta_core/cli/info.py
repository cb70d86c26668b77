"""`roberta info`: describe a checkpoint, and check that it loads."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NamedTuple

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
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            help="A folder, a built-in model, or a model on the Hub. Default: roberta-tiny; with --runtime no "
            "checkpoint is needed.",
            show_default=False,
        ),
    ] = None,
    strip_prefix: Annotated[
        str, typer.Option(help="Remove this from the names of tensors, such as 'module.' or 'decoder.'")
    ] = "",
    runtime: Annotated[
        bool,
        typer.Option(
            "--runtime",
            help="For each installed framework, show the device that it uses, and whether the commands run the model "
            "in an optimised form (`model.frozen()`) or plain, and why. Without CHECKPOINT it is shown for models in "
            "general.",
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show a checkpoint's class, sizes, format and tensors, and whether every tensor is used."""
    if runtime:
        return show_runtimes(checkpoint, as_json, strip_prefix)
    facts = examine("roberta-tiny" if checkpoint is None else checkpoint, strip_prefix)
    if as_json:
        print(json.dumps(facts, indent=2))
    else:
        show(facts)


def show_runtimes(checkpoint: str | None, as_json: bool, strip_prefix: str = "") -> None:
    """Print how the frozen model of a checkpoint, or any, computes in each installed framework, with the reason.

    Raises:
        CheckpointError: The checkpoint does not load.
    """
    from roberta_core import backend
    from roberta_core.cli.frameworks import load_backend

    source = None if checkpoint is None else _find_class(checkpoint, strip_prefix)
    found = {}
    for name in backend.available():
        if source is not None and source.exported and name not in backend.INFERENCE_ONLY:
            continue  # a folder with a graph and no weights
        one = load_backend(name)
        if source is not None:
            path = _describe_path(one, source, strip_prefix)
        else:
            path = one.describe_runtime() if hasattr(one, "describe_runtime") else "plain"
        found[name] = {"title": one.title, "version": one.version, "device": one.device, "path": path}
    if as_json:
        print(json.dumps(found, indent=2))
    for one in found.values() if not as_json else ():
        print(f"{one['title']} {one['version']} on {one['device']}: {one['path']}")


class _Source(NamedTuple):
    """A checkpoint, its class without prefix, and whether it is an exported graph."""

    folder: Path
    architecture: str
    exported: bool


def _find_class(checkpoint: str, strip_prefix: str) -> _Source:
    """Return the class of a checkpoint or of an exported graph.

    Raises:
        ValueError: There is none of ours.
    """
    from roberta_core.checkpoints import conversion, resolve
    from roberta_core.checkpoints.exported import find_graph
    from roberta_core.config import RobertaConfig
    from roberta_core.parameters import ARCHITECTURES

    if find_graph(checkpoint) is None:
        folder = resolve(checkpoint)
        return _Source(folder, conversion.open_checkpoint(folder, strip_prefix=strip_prefix).architecture, False)
    named = (RobertaConfig.from_pretrained(checkpoint).architectures or ["none"])[0]
    found = [architecture for architecture in ARCHITECTURES if named.endswith(f"Roberta{architecture}")]
    if not found:
        raise ValueError(
            f"{checkpoint}/config.json names the class {named}; expected one of Roberta{{{','.join(ARCHITECTURES)}}}"
        )
    return _Source(Path(checkpoint), found[0], True)


def _describe_path(one: Any, source: _Source, strip_prefix: str) -> str:
    """Return how the frozen model of a checkpoint computes in a framework."""
    from roberta_core.backend import INFERENCE_ONLY
    from roberta_core.cli.frameworks import hold_back_stderr
    from roberta_core.frozen import FrozenView

    more = {"strip_prefix": strip_prefix} if strip_prefix else {}
    with hold_back_stderr():
        model = one.freeze(one.from_pretrained(source.architecture, source.folder, **more))
    if isinstance(model, FrozenView) or one.name in INFERENCE_ONLY:
        return str(model.path)
    return "plain: the optimised form was refused or does not exist"


def examine(source: str, strip_prefix: str = "") -> dict[str, Any]:
    """Return the facts about a checkpoint, for JSON.

    Raises:
        ValueError: the checkpoint does not load (`CheckpointError` is a `ValueError`).
    """
    from roberta_core.checkpoints import conversion, resolve

    folder = resolve(source)
    opened = conversion.open_checkpoint(folder, strip_prefix=strip_prefix)
    report, config, tensors = opened.report, opened.config, opened.tensors
    stored = {name: tensors[name] for name in report.loaded}
    report = replace(report, differing=tuple(conversion.compare_other_formats(opened)))
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
        "unused": list(report.unused),
        "not_finite": [name for name, tensor in stored.items() if not conversion.is_finite(tensor)],
        "remarks": list(replace(opened, report=report).remarks),
        "tensors": {name: _describe_tensor(tensor) for name, tensor in tensors.items()},
    }


def _describe_tensor(tensor: np.ndarray) -> dict[str, Any]:
    return {"dtype": str(tensor.dtype), "shape": list(tensor.shape)}


def show(facts: Mapping[str, Any]) -> None:
    """Print a summary, then the tensors, with identical layers folded into one row."""
    from rich.table import Table

    from roberta_core.cli.terminal import make_console

    console = make_console()
    summary = Table.grid(padding=(0, 2))
    summary.add_column()
    summary.add_column(overflow="fold")
    tensors = facts["tensors"]
    lines = {
        "checkpoint": facts["checkpoint"],
        "class": facts["class"],
        "format": f"{facts['format']}, {', '.join(sorted({one['dtype'] for one in tensors.values()}))}",
        "files": ", ".join(facts["files"]),
        "names": f"in the form of {TITLES[facts['dialect']]}",
        "parameters": f"{facts['parameters']:,} in {len(tensors)} tensors, {facts['bytes'] / 1e6:,.1f} MB",
        **{name.replace("_", " "): str(facts["config"][name]) for name in SIZES},
    }
    for name, value in lines.items():
        summary.add_row(name, value)
    console.print(summary, "")
    table = Table(box=None, padding=(0, 2, 0, 0))
    table.add_column("module", overflow="fold")
    for title in ("weight", "bias", "times"):
        table.add_column(title, no_wrap=True)
    for row in fold_layers(tensors):
        table.add_row(*row)
    console.print(table)
    if facts["not_finite"]:
        console.print(f"not finite: {', '.join(facts['not_finite'])}")
    for remark in facts["remarks"]:
        console.print(remark)


def fold_layers(tensors: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, ...]]:
    """Return rows of (module, shape of the weight, shape of the bias, count), identical layers in one row."""
    modules: dict[str, dict[str, str]] = {}
    for name, one in tensors.items():
        module, _, leaf = name.rpartition(".")
        modules.setdefault(module, {})[leaf] = " x ".join(map(str, one["shape"]))
    rows = Counter(
        (LAYER.sub(".layer.*.", module), shapes.get("weight", ""), shapes.get("bias", ""))
        for module, shapes in modules.items()
    )
    return [(*row, str(times)) for row, times in rows.items()]

"""What was measured, as a table, as JSON and as a chart."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_bench.harness import LIMITS, Result, Shape
from roberta_core.config import RobertaConfig

if TYPE_CHECKING:
    from rich.table import Table

LIMIT = "limit"


def products(config: RobertaConfig, shape: Shape) -> float:
    """Floating-point operations of the encoder's linear layers on B x S tokens."""
    hidden, inner = config.hidden_size, config.intermediate_size
    return 2.0 * shape[0] * shape[1] * config.num_hidden_layers * (4 * hidden * hidden + 2 * hidden * inner)


def operations(config: RobertaConfig, shape: Shape) -> float:
    """The same with the two products of attention."""
    attention = 4.0 * shape[0] * shape[1] ** 2 * config.hidden_size * config.num_hidden_layers
    return products(config, shape) + attention


def counted(name: str) -> Callable[[RobertaConfig, Shape], float]:
    """What to count for an implementation: the limits have no attention."""
    return products if name in LIMITS else operations


def machine() -> dict[str, Any]:
    """The CPU, its cores and how much runs on it at this moment."""
    said = dict(
        reversed([[part.strip() for part in line.split(":", 1)] for line in _lines("/proc/cpuinfo") if ":" in line])
    )
    family = f" (family {said['cpu family']}, model {said['model']})" if "cpu family" in said else ""
    return {
        "cpu": said.get("model name", platform.processor()) + family,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
    }


def as_dict(results: Sequence[Result], config: RobertaConfig, where: Mapping[str, Any]) -> dict[str, Any]:
    """Everything, for a file: seconds of each call, rates in GFLOP/s of the median."""
    found = []
    for result in results:
        shapes = [
            {
                "shape": list(shape),
                "first_seconds": timing.first,
                "seconds": timing.rest,
                "median_seconds": timing.median,
                "gflops": counted(result.name)(config, shape) / timing.median / 1e9,
            }
            for shape, timing in result.timings.items()
        ]
        whole = {"name": result.name, "version": result.version, "peak_mib": result.peak}
        whole |= {"import_seconds": result.imports, "load_seconds": result.load}
        found.append({**whole, "shapes": shapes})
    return {"machine": dict(where), "results": found}


def to_table(results: Sequence[Result], config: RobertaConfig) -> Table:
    """Milliseconds of the median, the spread, and the share of the measured limit if that took part."""
    from rich.table import Table

    limits = {
        shape: products(config, shape) / timing.median
        for result in results
        if result.name == LIMIT
        for shape, timing in result.timings.items()
    }
    table = Table(title="Milliseconds a call: median, least to most, GFLOP/s, share of the limit")
    table.add_column("")
    for shape in results[0].timings:
        table.add_column(f"{shape[0]} x {shape[1]}", justify="right")
    for heading in ("import", "load", "first call", "peak"):
        table.add_column(heading, justify="right")
    for result in results:
        cells = []
        for shape, timing in result.timings.items():
            rate = counted(result.name)(config, shape) / timing.median
            median, least, most = (1e3 * seconds for seconds in (timing.median, min(timing.rest), max(timing.rest)))
            cell = f"{median:.1f}\n{least:.1f}-{most:.1f}\n{rate / 1e9:.0f}"
            cells.append(cell + (f", {rate / limits[shape]:.0%}" if shape in limits else ""))
        first = next(iter(result.timings.values())).first
        ends = (f"{result.imports:.2f} s", f"{result.load:.2f} s", f"{first:.2f} s", f"{result.peak} MiB")
        table.add_row(f"{result.name}\n{result.version}", *cells, *ends, end_section=True)
    return table


def to_json(results: Sequence[Result], config: RobertaConfig, where: Mapping[str, Any]) -> str:
    """Every number, and the machine as it was before."""
    return json.dumps(as_dict(results, config, where), indent=1)


def write_chart(path: Path, results: Sequence[Result], config: RobertaConfig) -> None:
    """Bars of GFLOP/s by shape and implementation; the file's suffix chooses the format, such as .svg."""
    from matplotlib.figure import Figure

    shapes = list(results[0].timings)
    figure = Figure(figsize=(2.2 * len(shapes) + 3, 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(results)
    for number, result in enumerate(results):
        count = counted(result.name)
        rates = [count(config, shape) / timing.median / 1e9 for shape, timing in result.timings.items()]
        places = [place + number * width for place in range(len(shapes))]
        color = "0.75" if result.name in LIMITS else f"C{number % 10}"
        axes.bar(places, rates, width * 0.92, label=f"{result.name} {result.version}", color=color)
    axes.set_xticks(
        [place + 0.4 - width / 2 for place in range(len(shapes))], [f"{batch} x {length}" for batch, length in shapes]
    )
    axes.set_ylabel("GFLOP/s, float32")
    axes.spines[["top", "right"]].set_visible(False)
    figure.legend(loc="outside right upper", frameon=False, fontsize="small")
    figure.savefig(path)


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []

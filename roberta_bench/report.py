"""Reports of the measured times: a table, JSON and a chart."""

from __future__ import annotations

import json
import os
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roberta_bench.harness import LIMITS, Result, Shape
from roberta_bench.recommendation import recommend
from roberta_core.config import RobertaConfig

if TYPE_CHECKING:
    from rich.table import Table

LIMIT = "limit"


def count_products(config: RobertaConfig, shape: Shape) -> float:
    """Return the floating-point operations of the encoder's linear layers on B x S tokens."""
    hidden, inner = config.hidden_size, config.intermediate_size
    return 2.0 * shape[0] * shape[1] * config.num_hidden_layers * (4 * hidden * hidden + 2 * hidden * inner)


def count_operations(config: RobertaConfig, shape: Shape) -> float:
    """Return the operations of the linear layers and of the two matrix products of attention."""
    attention = 4.0 * shape[0] * shape[1] ** 2 * config.hidden_size * config.num_hidden_layers
    return count_products(config, shape) + attention


def find_counter(name: str) -> Callable[[RobertaConfig, Shape], float]:
    """Return the function that counts the operations of an implementation: the limits have no attention."""
    return count_products if name in LIMITS else count_operations


def describe_machine() -> dict[str, Any]:
    """Return the CPU, its cores, the current load and the system."""
    info = dict(
        reversed(
            [[part.strip() for part in line.split(":", 1)] for line in _read_lines("/proc/cpuinfo") if ":" in line]
        )
    )
    family = f" (family {info['cpu family']}, model {info['model']})" if "cpu family" in info else ""
    return {
        "cpu": info.get("model name", platform.processor()) + family,
        "cores": os.cpu_count(),
        "load": round(os.getloadavg()[0], 1) if hasattr(os, "getloadavg") else None,
        "system": platform.platform(),
    }


def as_dict(results: Sequence[Result], config: RobertaConfig, machine: Mapping[str, Any]) -> dict[str, Any]:
    """Return all results as a dict: the seconds of each call, and the GFLOP/s of the median."""
    found = []
    for result in results:
        shapes = [
            {
                "shape": list(shape),
                "first_seconds": timing.first,
                "seconds": timing.rest,
                "median_seconds": timing.median,
                "gflops": find_counter(result.name)(config, shape) / timing.median / 1e9,
            }
            for shape, timing in result.timings.items()
        ]
        whole = {"name": result.name, "version": result.version, "peak_mib": result.peak, "error": result.error}
        whole |= {"import_seconds": result.imports, "load_seconds": result.load}
        found.append({**whole, "shapes": shapes})
    advice = recommend(results)
    return {"machine": dict(machine), "results": found, "recommendation": None if advice is None else asdict(advice)}


def to_table(results: Sequence[Result], config: RobertaConfig) -> Table:
    """Return a table of the median, range and GFLOP/s, with the share of the measured limit if there is one."""
    from rich.table import Table

    limits = {
        shape: count_products(config, shape) / timing.median
        for result in results
        if result.name == LIMIT
        for shape, timing in result.timings.items()
    }
    table = Table(title="Milliseconds per call: median, minimum to maximum, GFLOP/s, share of the limit")
    table.add_column("")
    for shape in results[0].timings:
        table.add_column(f"{shape[0]} x {shape[1]}", justify="right")
    for heading in ("import", "load", "first call", "peak"):
        table.add_column(heading, justify="right")
    for result in results:
        cells = []
        for shape, timing in result.timings.items():
            rate = find_counter(result.name)(config, shape) / timing.median
            median, least, most = (1e3 * seconds for seconds in (timing.median, min(timing.rest), max(timing.rest)))
            cell = f"{median:.1f}\n{least:.1f}-{most:.1f}\n{rate / 1e9:.0f}"
            cells.append(cell + (f", {rate / limits[shape]:.0%}" if shape in limits else ""))
        first = next(iter(result.timings.values())).first
        ends = (f"{result.imports:.2f} s", f"{result.load:.2f} s", f"{first:.2f} s", f"{result.peak} MiB")
        table.add_row(f"{result.name}\n{result.version}", *cells, *ends, end_section=True)
    return table


def to_json(results: Sequence[Result], config: RobertaConfig, machine: Mapping[str, Any]) -> str:
    """Return all results and the machine as JSON."""
    return json.dumps(as_dict(results, config, machine), indent=1)


def write_chart(path: Path, results: Sequence[Result], config: RobertaConfig) -> None:
    """Draw GFLOP/s by shape and implementation; the suffix of the file, such as .svg, selects the format."""
    from matplotlib.figure import Figure

    shapes = list(results[0].timings)
    figure = Figure(figsize=(2.2 * len(shapes) + 3, 4.2), layout="constrained")
    axes = figure.subplots()
    width = 0.8 / len(results)
    for number, result in enumerate(results):
        count = find_counter(result.name)
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


def _read_lines(path: str) -> list[str]:
    try:
        return Path(path).read_text().splitlines()
    except OSError:
        return []

"""Export a model of roberta-base's size in every format: `python -m benchmarks.exports.base`.

The weights are random. Times are of the processor, which other load hardly changes. Each format runs in a separate
process, so that the peak memory is its own: that of reading the checkpoint, exporting it and importing the framework.
The exported model is compared with float64 at three shapes.
"""

import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.exports.__main__ import FORMATS
from conformance.suite.exports import judge_export
from roberta_bench.worker import measure_peak
from roberta_core import checkpoints, exports
from roberta_core.checkpoints.conversion import open_checkpoint
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw

ARCHITECTURE = "ForMaskedLM"
COMPARED = 3  # the first shapes of the check: float64 takes minutes for the others


@dataclass(frozen=True)
class Row:
    """The result of one export: what it took, and its largest error with the rounding expected there."""

    format: str
    dtype: str
    seconds: float
    peak: int  # MiB
    bytes: int
    error: float
    expected: float


def measure(source: Path, name: str, dtype: str) -> Row:
    """Export a checkpoint and compare the result with float64."""
    with tempfile.TemporaryDirectory() as scratch:
        target = Path(scratch) / "exported"
        begin = time.process_time()
        made = exports.export(source, target, name, dtype=dtype, check=False)
        seconds, peak = time.process_time() - begin, measure_peak()
        exporter, opened = exports.load_exporter(name), open_checkpoint(source)
        judged = judge_export(exporter.open(target), opened, dtype, shortest=exporter.shortest)
        worst = max(islice(judged, COMPARED), key=lambda check: check.error / check.expected)
        size = sum(size for file, size in made.files.items() if not file.endswith(".json"))
        return Row(name, dtype, seconds, peak, size, worst.error, worst.expected)


def make_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    lines = ["| format | computes in | processor time, s | peak memory, MiB | size, MB | error |", f"|{' --- |' * 6}"]
    for row in rows:
        error = f"{row.error:.1e} ({row.error / row.expected:.1f}x)"
        lines.append(
            f"| {row.format} | {row.dtype} | {row.seconds:.1f} | {row.peak:,} | {row.bytes / 1e6:,.1f} | {error} |"
        )
    return "\n".join(lines)


def main(
    formats: Annotated[str, typer.Option(help="Formats, separated by commas.")] = ",".join(FORMATS),
    layers: Annotated[int, typer.Option(help="Number of layers; roberta-base has 12.")] = 12,
    source: Annotated[Path | None, typer.Option(help="Measure one export of this checkpoint, and print JSON.")] = None,
    dtype: Annotated[
        str, typer.Option(help="With --source: the type in which the exported model computes.")
    ] = "float32",
) -> None:
    """Export a model of roberta-base's size in every format, and print the table."""
    if source is not None:
        print(json.dumps(asdict(measure(source, formats, dtype))))
        return
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        config = RobertaConfig.base(num_hidden_layers=layers)
        checkpoints.save(Path(folder), config, ARCHITECTURE, dict(draw(config, ARCHITECTURE, 0)))
        for name in formats.split(","):
            for one in FORMATS[name]:
                command = [sys.executable, "-m", "benchmarks.exports.base", "--source", folder]
                command += ["--formats", name, "--dtype", one]
                found = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
                rows.append(Row(**json.loads(found.splitlines()[-1])))
                print(f"{name} {one}: {rows[-1].seconds:.1f} s", file=sys.stderr, flush=True)
    print(make_table(rows))


if __name__ == "__main__":
    typer.run(main)

"""`python -m benchmarks.checkpoints.conversions`: compare the time of each conversion with that of a file copy.

Converts every format to every other format, each in a separate process. Before each conversion, the files of the
source are copied and synced on the same disk. The figures are the time of the conversion relative to that of the copy,
and its peak anonymous memory (RssAnon) in addition to that of the interpreter with the converter loaded. The limits are
3 times the copy and 250 MB.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

MOST_COPIES = 3.0
MOST_MEMORY = 250.0  # MB

WORKER = """
import json, sys, threading, time
from pathlib import Path
from roberta_core.checkpoints import conversion, bin_file, h5_file, msgpack_file
import h5py, pyfive

def measure_anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))

before, peak, done = measure_anonymous(), 0.0, False
def watch():
    global peak
    while not done:
        peak = max(peak, measure_anonymous())
        time.sleep(0.002)
watcher = threading.Thread(target=watch)
watcher.start()
start = time.perf_counter()
conversion.convert(sys.argv[1], sys.argv[2], sys.argv[3])
seconds = time.perf_counter() - start
done = True
watcher.join()
print(json.dumps({"seconds": seconds, "memory": peak - before}))
"""


def save_random_base(folder: Path) -> None:
    """Save a checkpoint of roberta-base's size (499 MB) with random weights."""
    from roberta_core import checkpoints
    from roberta_core.config import RobertaConfig
    from roberta_core.parameters import draw

    config = RobertaConfig.base()
    checkpoints.save(folder, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM")))


def time_copy(source: Path, scratch: Path) -> float:
    """Return the seconds that copying and syncing the weights of a folder takes."""
    start = time.perf_counter()
    for path in source.iterdir():
        if path.name != "config.json":
            with open(path, "rb") as read, open(scratch / "copy", "wb") as write:
                shutil.copyfileobj(read, write, 16 << 20)
                write.flush()
                os.fsync(write.fileno())
    seconds = time.perf_counter() - start
    (scratch / "copy").unlink()
    return seconds


def time_conversion(source: Path, target: Path, format: str) -> dict[str, float]:
    """Convert in a separate process; return the seconds and the peak memory in MB."""
    command = [sys.executable, "-c", WORKER, str(source), str(target), format]
    completed = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(completed.stdout)


def measure_pair(source: Path, scratch: Path, format: str, rounds: int) -> dict[str, Any]:
    """Measure the conversion to one format: medians over rounds in which the copy and the conversion take turns."""
    copies, runs = [], []
    for _ in range(rounds):
        copies.append(time_copy(source, scratch))
        runs.append(time_conversion(source, scratch / "target", format))
        shutil.rmtree(scratch / "target")
    seconds = statistics.median(run["seconds"] for run in runs)
    return {
        "copy": statistics.median(copies),
        "seconds": seconds,
        "copies": statistics.median(run["seconds"] / copy for run, copy in zip(runs, copies, strict=True)),
        "memory": max(run["memory"] for run in runs),
    }


def main() -> None:
    """Print a row per pair of formats, then the maxima; exit with 1 if one exceeds a limit."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checkpoints.conversions", description=__doc__)
    parser.add_argument("--source", type=Path, help="checkpoint in safetensors format (default: random weights)")
    parser.add_argument("--scratch", type=Path, help="folder for temporary files (default: that of the system)")
    parser.add_argument("--rounds", type=int, default=1, help="conversions of each pair (%(default)s)")
    parser.add_argument("--formats", default="", help="formats, separated by commas (default: all)")
    parser.add_argument("--sources", default="", help="source formats, separated by commas (default: all of --formats)")
    parser.add_argument("--json-file", type=Path, help="write JSON to this file")
    options = parser.parse_args()
    from roberta_core.checkpoints.conversion import convert
    from roberta_core.checkpoints.formats import FORMATS

    formats = [row.name for row in FORMATS if row.name in options.formats.split(",") or not options.formats]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(dir=options.scratch) as name:
        scratch, start = Path(name), options.source or Path(name) / "base"
        if options.source is None:
            save_random_base(start)
        print(f"load {os.getloadavg()[0]:.1f}; columns: seconds of copy, seconds of conversion, ratio, memory in MB")
        for first in [name for name in formats if name in options.sources.split(",") or not options.sources]:
            source = scratch / "source"
            convert(start, source, first)
            for second in formats:
                row = found[f"{first} -> {second}"] = measure_pair(source, scratch, second, options.rounds)
                exceeded = row["copies"] > MOST_COPIES or row["memory"] > MOST_MEMORY
                numbers = f"{row['copy']:6.2f} {row['seconds']:6.2f} {row['copies']:6.2f} {row['memory']:6.0f}"
                print(f"{first:>16} -> {second:16} {numbers}{'  over the limit' if exceeded else ''}", flush=True)
            shutil.rmtree(source)
    copies, memory = (max(found, key=lambda pair: found[pair][what]) for what in ("copies", "memory"))
    print(
        f"maximum: {found[copies]['copies']:.2f} times the copy ({copies}), {found[memory]['memory']:.0f} MB ({memory})"
    )
    print(f"load {os.getloadavg()[0]:.1f}")
    if options.json_file:
        options.json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.exit(found[copies]["copies"] > MOST_COPIES or found[memory]["memory"] > MOST_MEMORY)


if __name__ == "__main__":
    main()

"""How long each conversion of a checkpoint takes, beside a copy of its file.

`python -m benchmarks.checkpoints.conversions` converts every format to every other, one after the other, each in a
process of its own. Before each, the source's file is copied and synced on the same disk: the figures are the time of
the conversion in parts of that, and the anonymous memory (RssAnon) that it takes above the interpreter with the
converter loaded. The bounds are 3 copies and 250 MB.
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

def anonymous():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1000 for line in lines if line.startswith("RssAnon"))

before, peak, done = anonymous(), 0.0, False
def watch():
    global peak
    while not done:
        peak = max(peak, anonymous())
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


def base(folder: Path) -> None:
    """A checkpoint of roberta-base's shape: 499 MB."""
    from roberta_core import checkpoints
    from roberta_core.config import RobertaConfig
    from roberta_core.parameters import draw

    config = RobertaConfig.base()
    checkpoints.save(folder, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM")))


def copied(source: Path, scratch: Path) -> float:
    """The seconds of copying the weights of a folder, synced."""
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


def converted(source: Path, target: Path, format: str) -> dict[str, float]:
    """The seconds of a conversion, and its megabytes."""
    command = [sys.executable, "-c", WORKER, str(source), str(target), format]
    ended = subprocess.run(command, capture_output=True, text=True, check=True)
    return json.loads(ended.stdout)


def measured(source: Path, scratch: Path, format: str, rounds: int) -> dict[str, Any]:
    """One pair of formats: medians over rounds in which the copy and the conversion take turns."""
    copies, runs = [], []
    for _ in range(rounds):
        copies.append(copied(source, scratch))
        runs.append(converted(source, scratch / "target", format))
        shutil.rmtree(scratch / "target")
    seconds = statistics.median(run["seconds"] for run in runs)
    return {
        "copy": statistics.median(copies),
        "seconds": seconds,
        "copies": statistics.median(run["seconds"] / copy for run, copy in zip(runs, copies, strict=True)),
        "memory": max(run["memory"] for run in runs),
    }


def main() -> None:
    """Print a row a pair, then the worst; the exit status is 1 if one is over a bound."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.checkpoints.conversions")
    options.add_argument("--source", type=Path, help="a checkpoint as safetensors; otherwise one is drawn")
    options.add_argument("--scratch", type=Path, help="where to write; otherwise a temporary folder")
    options.add_argument("--rounds", type=int, default=1)
    options.add_argument("--formats", default="", help="only these, with commas between")
    options.add_argument("--sources", default="", help="from these to all of those; otherwise from each of them")
    options.add_argument("--json-file", type=Path)
    options = options.parse_args()
    from roberta_core.checkpoints.conversion import convert
    from roberta_core.checkpoints.formats import FORMATS

    formats = [row.name for row in FORMATS if row.name in options.formats.split(",") or not options.formats]
    found: dict[str, dict[str, Any]] = {}
    with tempfile.TemporaryDirectory(dir=options.scratch) as place:
        scratch, start = Path(place), options.source or Path(place) / "base"
        if options.source is None:
            base(start)
        print(
            f"load {os.getloadavg()[0]:.1f}; seconds of a copy, of the conversion, its copies, MB above the interpreter"
        )
        for first in [name for name in formats if name in options.sources.split(",") or not options.sources]:
            source = scratch / "source"
            convert(start, source, first)
            for second in formats:
                row = found[f"{first} -> {second}"] = measured(source, scratch, second, options.rounds)
                wrong = row["copies"] > MOST_COPIES or row["memory"] > MOST_MEMORY
                numbers = f"{row['copy']:6.2f} {row['seconds']:6.2f} {row['copies']:6.2f} {row['memory']:6.0f}"
                print(f"{first:>16} -> {second:16} {numbers}{'  over' if wrong else ''}", flush=True)
            shutil.rmtree(source)
    copies, memory = (max(found, key=lambda pair: found[pair][what]) for what in ("copies", "memory"))
    print(
        f"at most {found[copies]['copies']:.2f} copies ({copies}), {found[memory]['memory']:.0f} MB ({memory}); ",
        end="",
    )
    print(f"load {os.getloadavg()[0]:.1f}")
    if options.json_file:
        options.json_file.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    sys.exit(found[copies]["copies"] > MOST_COPIES or found[memory]["memory"] > MOST_MEMORY)


if __name__ == "__main__":
    main()

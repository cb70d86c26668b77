"""`python -m benchmarks.performance [PART ...]`: measure again what docs/performance.md shows, and rewrite its figures.

Wants a checkout whose environment has all three frameworks, and the interpreter of another one with transformers 5,
ONNX Runtime and OpenVINO. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks import startup
from benchmarks.performance.page import FOLDER, PARTS, rewrite

BENCH = "from roberta_core.cli import main; main()"
OURS = ("--frameworks", "pt,tf,flax", "--also", "limit,limit-packed", "--chart", str(FOLDER / "encoder.svg"))
PEERS = ("transformers-pt", "openvino", "onnxruntime")


def bench(python: str, rounds: int) -> list[str]:
    """The command that measures the encoder's times, with the interpreter that has the other implementations."""
    peers = [word for name in PEERS for word in ("--peer", f"{name}={python}")]
    files = ["--json", str(FOLDER / "encoder.json"), "--rounds", str(rounds)]
    return [sys.executable, "-c", BENCH, "bench", *OURS, *peers, *files]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts, each in a run of its own, and rewrite the page."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none is named")
    options.add_argument("--peer", metavar="PYTHON", required=True, help="the environment with transformers 5")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(arguments)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(sorted(unknown))}")
    FOLDER.mkdir(exist_ok=True)
    for part in given.parts or PARTS:
        if part == "start":
            startup.main(FOLDER / "start.json", given.rounds)
        else:
            subprocess.run(bench(given.peer, given.rounds), check=True)
    missing = [part for part in PARTS if not (FOLDER / f"{part}.json").exists()]
    if missing:
        print(f"the page waits for {', '.join(missing)}")
    else:
        rewrite()


if __name__ == "__main__":
    main()

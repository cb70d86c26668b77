"""`python -m benchmarks.performance [PART ...]`: measure again what docs/performance.md shows, and rewrite its figures.

Wants a checkout whose environment has all three frameworks, and the interpreters of two others: one with transformers 4
and its three frameworks, one with transformers 5, ONNX Runtime and OpenVINO. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import startup
from benchmarks.performance.page import FOLDER, PARTS, rewrite

BENCH = "from roberta_core.cli import main; main()"
PEERS = {
    "encoder": ((), ("transformers-pt", "openvino", "onnxruntime")),
    "called": (
        ("transformers-tf", "transformers-tf-function", "transformers-tf-xla", "transformers-flax",
         "transformers-flax-jit"), (),
    ),
    "variants": ((), ("transformers-pt-bf16", "openvino-bf16")),
}  # fmt: skip
OURS = {
    "encoder": ("--frameworks", "pt,tf,flax", "--also", "limit,limit-packed", "--chart", str(FOLDER / "encoder.svg")),
    "called": ("--frameworks", "tf,flax"),
    "variants": ("--frameworks", "pt", "--also", "pt-compile,pt-bf16,tf-bf16,flax-bf16"),
}


def bench(part: str, older: str, newer: str, rounds: int) -> list[str]:
    """The command that measures a part of the encoder's times."""
    pythons = [f"{name}={python}" for names, python in zip(PEERS[part], (older, newer), strict=True) for name in names]
    peers = [word for pair in pythons for word in ("--peer", pair)]
    files = ["--json", str(FOLDER / f"{part}.json"), "--rounds", str(rounds)]
    return [sys.executable, "-c", BENCH, "bench", *OURS[part], *peers, *files]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts, each in a run of its own, and rewrite the page."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none is named")
    options.add_argument("--older", metavar="PYTHON", required=True, help="the environment with transformers 4")
    options.add_argument("--newer", metavar="PYTHON", required=True, help="the one with transformers 5")
    options.add_argument("--tokenizer", type=Path, required=True, help="a folder with roberta-base's vocabulary")
    options.add_argument("--sentences", type=Path, required=True, help="SST-2's dev.tsv")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(arguments)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(sorted(unknown))}")
    for part in given.parts or PARTS:
        if part == "start":
            startup.main(FOLDER / "start.json", given.rounds)
        elif part == "sentences":
            command = [sys.executable, "-m", "benchmarks.classification", "--peer", given.newer]
            command += ["--tokenizer", str(given.tokenizer), "--sentences", str(given.sentences)]
            command += ["--rounds", str(given.rounds), "--json", str(FOLDER / "sentences.json")]
            subprocess.run(command, check=True)
        else:
            subprocess.run(bench(part, given.older, given.newer, given.rounds), check=True)
    missing = [part for part in PARTS if not (FOLDER / f"{part}.json").exists()]
    if missing:
        print(f"the page waits for {', '.join(missing)}")
    else:
        rewrite()


if __name__ == "__main__":
    main()

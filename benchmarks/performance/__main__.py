"""`python -m benchmarks.performance [PART ...]`: measure again what docs/performance.md shows, and rewrite its figures.

Wants a checkout whose environment has all three frameworks, the interpreter of another one with transformers 5,
ONNX Runtime and OpenVINO, and that of a third with transformers 4.57.6. Nothing else should run meanwhile.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.performance.page import CALLED, FOLDER, HALVED, PARTS, rewrite
from roberta_bench.harness import VARIANTS
from roberta_bench.process import ROBERTA

PEERS = ("transformers-pt", "openvino", "onnxruntime")


def commands(peer: str, old: str, tokenizer: str, sentences: str, rounds: int) -> dict[str, list[str]]:
    """The command that measures each part, with the interpreters that have the other implementations."""
    python, chart = sys.executable, str(FOLDER / "encoder.svg")
    bench = [*ROBERTA, "bench", "--rounds", str(rounds)]
    ours, limits = ["--frameworks", "pt,tf,flax"], ["--also", "limit,limit-packed"]
    variants, called = ["--also", ",".join(VARIANTS)], [name for names in CALLED.values() for name in names]
    texts = ["--tokenizer", tokenizer, "--sentences", sentences, "--peer", peer, "--rounds", str(rounds)]
    asked = {
        "encoder": [*bench, *ours, *limits, "--chart", chart, *peers(peer, PEERS)],
        "called": [
            *bench, "--frameworks", ",".join(CALLED), "--shapes", "1x16,8x128", *peers(old, called),
        ],
        "variants": [
            *bench, "--frameworks", "pt", "--shapes", "1x16,8x128", *variants, *peers(peer, [HALVED]),
        ],
        "sentences": [python, "-m", "benchmarks.classification", *texts],
        "start": [python, "-m", "benchmarks.startup", "--rounds", str(rounds)],
    }  # fmt: skip
    return {part: [*command, "--json-file", str(FOLDER / f"{part}.json")] for part, command in asked.items()}


def peers(python: str, names: Sequence[str]) -> list[str]:
    """The options that name implementations of another environment."""
    return [word for name in names for word in ("--peer", f"{name}={python}")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the parts, each in a run of its own, and rewrite the page."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    options.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all if none is named")
    options.add_argument("--peer", metavar="PYTHON", required=True, help="the environment with transformers 5")
    options.add_argument("--old", metavar="PYTHON", required=True, help="the environment with transformers 4.57.6")
    options.add_argument("--tokenizer", required=True, help="a folder with the vocabulary, for real sentences")
    options.add_argument("--sentences", required=True, help="a file with a heading and a sentence a line")
    options.add_argument("--rounds", type=int, default=5)
    given = options.parse_args(arguments)
    unknown = set(given.parts) - set(PARTS)
    if unknown:
        options.error(f"there is no part {', '.join(sorted(unknown))}")
    FOLDER.mkdir(exist_ok=True)
    asked = commands(given.peer, given.old, given.tokenizer, given.sentences, given.rounds)
    for part in given.parts or PARTS:
        subprocess.run(asked[part], check=True)
    missing = [part for part in PARTS if not (FOLDER / f"{part}.json").exists()]
    if missing:
        print(f"the page waits for {', '.join(missing)}")
    else:
        rewrite()


if __name__ == "__main__":
    main()

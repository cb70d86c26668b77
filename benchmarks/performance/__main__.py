"""`python -m benchmarks.performance [PART ...]`: repeat the measurements of docs/performance.md and rewrite its tables.

Run it from a checkout whose environment has all three frameworks. It also requires an environment with transformers 5,
ONNX Runtime and OpenVINO, and another one with transformers 4.57.6. Run nothing else on the machine at the same time.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Sequence

from benchmarks.performance.page import CALLED, FOLDER, PARTS, PEER_IN_BFLOAT16, rewrite_page
from roberta_bench.harness import VARIANTS
from roberta_bench.process import ROBERTA

PEERS = ("transformers-pt", "transformers-openvino", "transformers-onnxruntime")


def build_commands(peer: str, old: str, tokenizer: str, sentences: str, rounds: int) -> dict[str, list[str]]:
    """Return the command that measures each part.

    Args:
        peer: The Python interpreter of the environment with transformers 5, ONNX Runtime and OpenVINO.
        old: The Python interpreter of the environment with transformers 4.57.6.
        tokenizer: A folder with a tokenizer.
        sentences: A file with a header line and one sentence per line.
        rounds: The number of timed calls.
    """
    python, chart = sys.executable, str(FOLDER / "encoder.svg")
    bench = [*ROBERTA, "bench", "--rounds", str(rounds)]
    ours, limits = ["--frameworks", "pt,tf,flax"], ["--also", "limit,limit-packed"]
    variants, called = ["--also", ",".join(VARIANTS)], [name for names in CALLED.values() for name in names]
    texts = ["--tokenizer", tokenizer, "--sentences", sentences, "--peer", peer, "--rounds", str(rounds)]
    commands = {
        "encoder": [*bench, *ours, *limits, "--chart", chart, *build_peer_options(peer, PEERS)],
        "called": [
            *bench, "--frameworks", ",".join(CALLED), "--shapes", "1x16,8x128", *build_peer_options(old, called),
        ],
        "variants": [
            *bench, "--frameworks", "pt", "--shapes", "1x16,8x128", *variants,
            *build_peer_options(peer, [PEER_IN_BFLOAT16]),
        ],
        "sentences": [python, "-m", "benchmarks.classification", *texts],
        "start": [python, "-m", "benchmarks.startup", "--rounds", str(rounds)],
    }  # fmt: skip
    return {part: [*command, "--json-file", str(FOLDER / f"{part}.json")] for part, command in commands.items()}


def build_peer_options(python: str, names: Sequence[str]) -> list[str]:
    """Return the options `--peer NAME=PYTHON` for implementations of another environment."""
    return [word for name in names for word in ("--peer", f"{name}={python}")]


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure each part in a separate run and rewrite the page."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.performance", description=__doc__)
    parser.add_argument("parts", nargs="*", metavar="PART", help=f"{', '.join(PARTS)}; all by default")
    parser.add_argument("--peer", metavar="PYTHON", required=True, help="interpreter with transformers 5")
    parser.add_argument("--old", metavar="PYTHON", required=True, help="interpreter with transformers 4.57.6")
    parser.add_argument("--tokenizer", required=True, help="folder with a tokenizer, for text classification")
    parser.add_argument("--sentences", required=True, help="file with a header line and one sentence per line")
    parser.add_argument("--rounds", type=int, default=5, help="timed calls (%(default)s)")
    options = parser.parse_args(arguments)
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"unknown part {', '.join(sorted(unknown))}; choose from {', '.join(PARTS)}")
    FOLDER.mkdir(exist_ok=True)
    commands = build_commands(options.peer, options.old, options.tokenizer, options.sentences, options.rounds)
    for part in options.parts or PARTS:
        subprocess.run(commands[part], check=True)
    missing = [part for part in PARTS if not (FOLDER / f"{part}.json").exists()]
    if missing:
        print(f"The page was not rewritten: there is no result of {', '.join(missing)} in {FOLDER}; measure it first.")
    else:
        rewrite_page()


if __name__ == "__main__":
    main()

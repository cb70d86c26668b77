"""`python -m benchmarks.startup --json-file FILE`: how long a user waits for the command.

That is its help, and the first answer of each framework with the embedded model.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

from roberta_bench.process import ROBERTA
from roberta_bench.report import describe_machine
from roberta_core import backend

TEXT = "She opened the<mask> and went in."


def commands() -> dict[str, tuple[str, ...]]:
    """What is run, by the names of the results."""
    fill = (*ROBERTA, "fill-mask", TEXT, "--frameworks")
    return {"help": (*ROBERTA, "--help"), **{name: (*fill, name) for name in backend.available()}}


def measure(asked: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[float]]:
    """Seconds from the start of a process to its end, in turns, after a first one that warms the caches of files.

    `OSError` if one fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in asked}
    for turn in range(rounds + 1):
        for name, command in asked.items():
            begin = time.perf_counter()
            ended = subprocess.run(command, capture_output=True, text=True)
            if ended.returncode:
                raise ChildProcessError(f"{name} ended with status {ended.returncode}: {ended.stderr}")
            seconds[name] += [time.perf_counter() - begin] if turn else []
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure, and write the result."""
    options = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    options.add_argument("--rounds", type=int, default=5)
    options.add_argument("--json-file", type=Path, required=True)
    given = options.parse_args(arguments)
    where = describe_machine()
    results = [{"name": name, "seconds": found} for name, found in measure(commands(), given.rounds).items()]
    text = json.dumps({"machine": where, "results": results}, indent=1)
    given.json_file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""`python -m benchmarks.startup --json-file FILE`: measure the time of a complete command.

The commands are `roberta --help` and, in each framework, `roberta fill-mask` with the embedded model.
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


def build_commands() -> dict[str, tuple[str, ...]]:
    """Return the commands to run, by the names of their results."""
    fill = (*ROBERTA, "fill-mask", TEXT, "--frameworks")
    return {"help": (*ROBERTA, "--help"), **{name: (*fill, name) for name in backend.available()}}


def measure(commands: Mapping[str, Sequence[str]], rounds: int) -> dict[str, list[float]]:
    """Time commands that take turns, from the start of each process to its end.

    Args:
        commands: The commands by name.
        rounds: The number of timed runs of each, after one run that fills the file caches.

    Returns:
        The seconds of every timed run, by name.

    Raises:
        ChildProcessError: If a command fails.
    """
    seconds: dict[str, list[float]] = {name: [] for name in commands}
    for turn in range(rounds + 1):
        for name, command in commands.items():
            begin = time.perf_counter()
            completed = subprocess.run(command, capture_output=True, text=True)
            if completed.returncode:
                raise ChildProcessError(f"{name} exited with status {completed.returncode}: {completed.stderr}")
            seconds[name] += [time.perf_counter() - begin] if turn else []
    return seconds


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure the commands and write the result."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.startup", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="timed runs of each command (%(default)s)")
    parser.add_argument("--json-file", type=Path, required=True, help="write JSON to this file")
    options = parser.parse_args(arguments)
    machine = describe_machine()
    results = [{"name": name, "seconds": found} for name, found in measure(build_commands(), options.rounds).items()]
    text = json.dumps({"machine": machine, "results": results}, indent=1)
    options.json_file.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

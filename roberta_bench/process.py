"""Processes of the benchmarks: the command, and an implementation in a separate process that answers in JSON lines."""

from __future__ import annotations

import json
import shlex
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

ROBERTA = (sys.executable, "-c", "from roberta_core.cli import main; main()")  # the command in this environment


class Process:
    """A process that answers one line per question. Raises `OSError` if it ends before it has answered."""

    def __init__(self, name: str, command: Sequence[str]):
        self.name, self.command = name, command
        self.process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
        )

    def answer(self) -> Any:
        """Read the next answer."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            status, command = self.process.wait(), shlex.join(self.command)
            raise ChildProcessError(f"{self.name} exited with status {status}; to see why, run: {command}")
        return json.loads(line)

    def ask(self, question: Any) -> Any:
        """Write a question and read the answer."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(question) + "\n")
        self.process.stdin.flush()
        return self.answer()

    def close(self) -> None:
        """End the process."""
        self.process.kill()
        self.process.communicate()

"""What `roberta pretrain` and `roberta finetune` show: a progress bar and sentences, or JSON lines."""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from roberta_core.cli.frameworks import describe_backend
from roberta_core.cli.terminal import EarlyExit, format_count, get_command_line, make_console

if TYPE_CHECKING:
    from roberta_core.backend import Backend
    from roberta_core.training.processes import Processes
    from roberta_core.training.stopping import Stopped


class Display:
    """A progress bar and a sentence per event; or, for programs, one JSON object per line.

    Args:
        as_json: whether JSON objects are printed.
        shown: whether anything is shown: of several processes only the first shows the run.
    """

    def __init__(self, as_json: bool, shown: bool = True):
        from rich.progress import (
            BarColumn,
            MofNCompleteColumn,
            Progress,
            TextColumn,
            TimeElapsedColumn,
            TimeRemainingColumn,
        )

        self.as_json, self.shown = as_json, shown
        self.bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(),
            TimeRemainingColumn(), console=make_console(stderr=as_json), disable=as_json or not shown,
        )  # fmt: skip
        self.task = self.bar.add_task("reading", total=None, visible=False)  # until something is done
        self.steps, self.seeds = 0, [0]

    def __enter__(self) -> Display:
        if self.shown and not self.as_json:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if (
            self.shown and not self.as_json
        ):  # older versions of rich print an empty line even for a bar that was never shown
            self.bar.stop()

    def say(self, line: Mapping[str, Any], *sentences: str) -> None:
        """Print a line as JSON, or the sentences."""
        if not self.shown:
            return
        if self.as_json:
            print(json.dumps(line), flush=True)
            return
        for sentence in filter(None, sentences):
            self.bar.console.print(sentence, soft_wrap=True)

    def show_backend(self, backend: Backend) -> None:
        """Show which framework trains, and on which device."""
        from roberta_core.training.processes import find_processes

        line: dict[str, Any] = {"framework": backend.title, "version": backend.version, "device": backend.device}
        processes, shared = find_processes(backend), ""
        if processes.count > 1:
            line["processes"] = processes.count
            shared = f", {processes.count} processes"
        if processes.devices > 1:
            line["devices"] = processes.devices
            shared += f", {processes.devices} devices each" if shared else f", {processes.devices} devices"
        self.say(line, f"training with {describe_backend(backend)}{shared}")

    def show_reading(self, done: int, total: int) -> None:
        """Show how many bytes are tokenised."""
        self.bar.update(self.task, description="tokenising, MiB", completed=done >> 20, total=total >> 20, visible=True)

    def start(self, steps: int, seeds: Sequence[int] = (0,), step: int = 0) -> None:
        """Show that training begins: `steps` for each of the seeds."""
        self.steps, self.seeds = steps, list(seeds)
        total = steps * len(self.seeds)
        self.bar.reset(self.task, description="training", total=total, completed=step, visible=True)

    def report(self, line: Mapping[str, Any]) -> None:
        """Show a line of the log."""
        for kind, format_line in FORMATS.items():
            if kind in line:
                self.say(line, *format_line(line))
                break
        else:
            self.say(line)
        if "loss" in line and not self.as_json:
            done = self.seeds.index(line.get("seed", self.seeds[0])) * self.steps + line["step"]
            speed = f"{line['tokens_per_second']:,} tokens/s"
            self.bar.update(self.task, completed=done, description=f"loss {line['loss']:.3f}  {speed}")


def _format_data(line: Mapping[str, Any]) -> Iterator[str]:
    yield f"{format_count(line['examples'], 'example')} for {line['data']}, {line['skipped']:,} skipped"
    yield from (f"  skipped {reason}" for reason in line["reasons"])
    yield line.get("target", "")


def _format_evaluation(line: Mapping[str, Any]) -> Iterator[str]:
    best = " (best so far)" if line["best"] else ""
    yield f"seed {line['seed']}, epoch {line['epoch']:g}: {format_scores(line['scores'])}{best}"
    yield from (f"  {line[name]}" for name in ("remark", "stopped") if name in line)


def _format_held_out(line: Mapping[str, Any]) -> Iterator[str]:
    loss, accuracy = line["held_out_loss"], line["held_out_accuracy"]
    yield f"step {line['step']}: held-out loss {loss:.3f}, masked accuracy {accuracy:.1%}"


def _format_resumed(line: Mapping[str, Any]) -> Iterator[str]:
    seed = f"seed {line['seed']}: " if "seed" in line else ""
    yield from line["damaged"]
    yield f"{seed}resumed at step {line['step']:,} from {line['resumed']}"


def _format_step(line: Mapping[str, Any]) -> Iterator[str]:
    if "remark" in line:
        yield f"step {line['step']}: {line['remark']}"


def _format_note(line: Mapping[str, Any]) -> Iterator[str]:
    yield line["note"]


FORMATS = {
    "data": _format_data,
    "note": _format_note,
    "scores": _format_evaluation,
    "held_out_loss": _format_held_out,
    "resumed": _format_resumed,
    "loss": _format_step,
}


def call_after_loss(function: Callable[[], None], report: Callable[[Mapping[str, Any]], None]) -> Any:
    """Return a report that calls a function after a line with a loss: the framework has done its first steps."""

    def both(line: Mapping[str, Any]) -> None:
        report(line)
        if "loss" in line:
            function()

    return both


def format_scores(scores: Mapping[str, float]) -> str:
    """Format scores as one line."""
    return ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in scores.items())


@contextmanager
def handle_stop(processes: Processes | None = None) -> Iterator[None]:
    """If a signal stops the run of the block, print where it was saved and how to resume it, and exit with 128 + N.

    Of several processes, the first prints it.
    """
    from roberta_core.training.stopping import Stopped

    try:
        yield
    except Stopped as stopped:
        status = 128 + stopped.signal
        if processes is not None and not processes.is_first:
            raise EarlyExit("", status) from None
        raise EarlyExit(_format_stopped(stopped, processes), status) from None


def _format_stopped(stopped: Stopped, processes: Processes | None) -> str:
    saved = f"saved {stopped.checkpoint}" if stopped.checkpoint else "no step was done"
    arguments = get_command_line()
    several = processes is not None and processes.count > 1
    program, where = ["roberta"], ", in every process" if several else ""
    if several and os.environ.get("LOCAL_WORLD_SIZE") == os.environ.get("WORLD_SIZE", ""):  # torchrun on one machine
        program, where = ["torchrun", "--nproc-per-node", os.environ["WORLD_SIZE"], "-m", "roberta_core"], ""
    command = shlex.join([*program, *arguments, *(() if "--resume" in arguments else ("--resume",))])
    return f"{stopped}; {saved}. To resume{where}: {command}"

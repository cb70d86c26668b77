"""The command `roberta`: one module a command, loaded when it is called.

Exit status: 0 done, 1 refused or a failed check, 2 wrong usage. Errors are one sentence on stderr.
"""

import os
import sys
from collections.abc import Sequence
from functools import cached_property
from importlib import import_module
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from roberta_core import __version__

GROUP = "roberta.commands"  # entry points of commands that live above the core
COMMANDS = {
    "info": "roberta_core.cli.info:info",
    "fill-mask": "roberta_core.cli.fill_mask:fill_mask",
    "finetune": "roberta_core.cli.finetune:finetune",
    "classify": "roberta_core.cli.classify:classify",
    "convert": "roberta_core.cli.convert:convert",
    "evaluate": "roberta_core.cli.evaluate:evaluate",
    "pretrain": "roberta_core.cli.pretrain:pretrain",
    "tokenizer": "roberta_core.cli.tokenizer:tokenizer",
}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}  # else a framework's greetings stand among the errors
REFUSED, USAGE, INTERRUPTED = 1, 2, 130

# typer keeps its own copy of click, whose base of all usage errors it does not name.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class LazyGroup(TyperGroup):
    """A group of commands whose modules are imported when one of them is asked for."""

    def list_commands(self, ctx: Any) -> list[str]:
        """The names in the order of the help."""
        return list(self.points)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """The command of that name, None if there is none."""
        return build(cmd_name, self.points[cmd_name]) if cmd_name in self.points else None

    @cached_property
    def points(self) -> dict[str, EntryPoint]:
        """Where the commands are; found once, for that reads the metadata of every package that is installed."""
        return points()


def points() -> dict[str, EntryPoint]:
    """Where the commands are: the core's own, then those that others register, none of them loaded."""
    own = {name: EntryPoint(name, place, GROUP) for name, place in COMMANDS.items()}
    return own | {point.name: point for point in entry_points(group=GROUP)}


def build(name: str, point: EntryPoint) -> Any:
    """A command made of its function's signature, or a group of them; one that cannot be loaded says so when called."""
    try:
        function = getattr(import_module(point.module), point.attr)
    except ImportError as error:
        function = unavailable(name, error)
    if isinstance(function, typer.Typer):
        return typer.main.get_command(function)
    single = typer.Typer(add_completion=False)
    single.command(name)(function)
    return typer.main.get_command(single)


def unavailable(name: str, error: ImportError) -> Any:
    """What stands for a command that cannot be loaded."""
    reason = f"{name} cannot be loaded: {error}"

    def command() -> None:
        raise ValueError(reason)

    command.__doc__ = f"({reason})"
    return command


def show_version(asked: bool) -> None:
    """Print the version and end, if asked."""
    if asked:
        print(f"triberta {__version__}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, add_completion=False)


@app.callback(invoke_without_command=True)
def roberta(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=show_version, is_eager=True)
    ] = False,
) -> None:
    """RoBERTa in PyTorch, TensorFlow and JAX: one checkpoint, three frameworks, the same answer."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(USAGE)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line and end the process with its status; this is the one place where errors are told."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    command = typer.main.get_command(app)
    try:
        status = command.main(arguments and list(arguments), prog_name="roberta", standalone_mode=False)
    except UsageError as error:
        status = tell(usage_sentence(error), USAGE)
    except (ValueError, OSError) as error:
        status = tell(sentence(error), REFUSED)
    except typer.Abort:
        status = tell("interrupted", INTERRUPTED)
    sys.exit(status if isinstance(status, int) else 0)


def tell(text: str, status: int) -> int:
    """Say on stderr why it ends; returns the exit status."""
    print(f"roberta: {text}", file=sys.stderr)
    return status


def sentence(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return " ".join(str(error).split()) or type(error).__name__


def usage_sentence(error: Any) -> str:
    """What a usage error says, and where the usage is told."""
    context = error.ctx.command_path if error.ctx else "roberta"
    text = " ".join(error.format_message().split()).removesuffix(".")
    return f"{text} (see `{context} --help`)"

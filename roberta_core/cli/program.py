"""The commands of `roberta` and how one is run: one module per command, imported when the command is called."""

import os
import sys
from collections.abc import Sequence
from functools import cached_property
from importlib.metadata import EntryPoint, entry_points
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from roberta_core import __version__
from roberta_core.cli.terminal import EarlyExit, format_error, print_error, set_command_line
from roberta_core.entry_points import load_entry_point
from roberta_core.interface import COMMAND, use_interface

GROUP = "roberta.commands"  # entry points of commands that other packages register
COMMANDS = {
    "info": "roberta_core.cli.info:info",
    "tasks": "roberta_core.cli.tasks:tasks",
    "recipes": "roberta_core.cli.recipes:recipes",
    "fill-mask": "roberta_core.cli.fill_mask:fill_mask",
    "finetune": "roberta_core.cli.finetune:finetune",
    "classify": "roberta_core.cli.predict:classify",
    "tag": "roberta_core.cli.predict:tag",
    "answer": "roberta_core.cli.predict:answer",
    "choose": "roberta_core.cli.predict:choose",
    "embed": "roberta_core.cli.predict:embed",
    "rank": "roberta_core.cli.predict:rank",
    "zero-shot": "roberta_core.cli.predict:zero_shot",
    "generate": "roberta_core.cli.predict:generate",
    "convert": "roberta_core.cli.convert:convert",
    "export": "roberta_core.cli.export:export",
    "migrate": "roberta_core.cli.migrate:migrate",
    "evaluate": "roberta_core.cli.evaluate:evaluate",
    "pretrain": "roberta_core.cli.pretrain:pretrain",
    "tokenizer": "roberta_core.cli.tokenizer:tokenizer",
    "serve": "roberta_core.cli.serve:serve",
}
QUIET = {"TF_CPP_MIN_LOG_LEVEL": "2"}  # otherwise a framework's start-up messages are mixed with the errors
TRACEBACK = "ROBERTA_TRACEBACK"  # environment variable: show the traceback of an unexpected error
FAILED, USAGE, INTERRUPTED = 1, 2, 130

# typer keeps its own copy of click, and does not export the base class of its usage errors.
UsageError: type[Exception] = typer.BadParameter.__mro__[1]


class LazyGroup(TyperGroup):
    """A group of commands whose modules are imported when a command is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names in the order of the help."""
        return list(self.points)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Return the command of that name, or None."""
        return build_command(cmd_name, self.points[cmd_name]) if cmd_name in self.points else None

    @cached_property
    def points(self) -> dict[str, EntryPoint]:
        """The entry points of the commands, found once: that reads the metadata of every installed package."""
        return find_commands()


def find_commands() -> dict[str, EntryPoint]:
    """Return the entry points of all commands by name: the core's, then those of other packages. None is loaded."""
    own = {name: EntryPoint(name, place, GROUP) for name, place in COMMANDS.items()}
    return own | {point.name: point for point in entry_points(group=GROUP)}


def build_command(name: str, point: EntryPoint) -> Any:
    """Build a command, or a group of commands, from its function; one that cannot be imported fails when called."""
    try:
        function = load_entry_point(point)
    except ImportError as error:
        function = _make_unavailable(name, error)
    if isinstance(function, typer.Typer):
        command = typer.main.get_command(function)
    else:
        single = typer.Typer(add_completion=False)
        single.command(name)(function)
        command = typer.main.get_command(single)
    command.name = name
    for one in (command, *getattr(command, "commands", {}).values()):
        one.help = _join_lines(one.help)
    return command


def _join_lines(text: str | None) -> str | None:
    """Return a help text with one line per paragraph: the terminal's width decides where lines end."""
    if text is None:
        return None
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _make_unavailable(name: str, error: ImportError) -> Any:
    """Return a function that takes the place of a command that cannot be imported."""
    reason = f"{name} cannot be loaded: {error}"

    def command() -> None:
        raise ValueError(reason)

    command.__doc__ = f"({reason})"
    return command


def _show_version(requested: bool) -> None:
    if requested:
        print(f"triberta {__version__}")
        raise typer.Exit


app = typer.Typer(cls=LazyGroup, add_completion=False)


@app.callback(invoke_without_command=True)
def roberta(
    context: typer.Context,
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
    ] = False,
) -> None:
    """RoBERTa in PyTorch, TensorFlow and JAX: one checkpoint, three frameworks, the same answer."""
    if context.invoked_subcommand is None:
        print(context.get_help())
        raise typer.Exit(USAGE)


def run(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return its exit status. All errors are printed here, and only here."""
    for name, value in QUIET.items():
        os.environ.setdefault(name, value)
    given = sys.argv[1:] if arguments is None else list(arguments)
    set_command_line(given)
    command = typer.main.get_command(app)
    try:
        with use_interface(COMMAND):
            status = command.main(given, prog_name="roberta", standalone_mode=False)
        sys.stdout.flush()
    except UsageError as error:
        return print_error(_format_usage_error(error), USAGE)
    except EarlyExit as error:
        return print_error(format_error(error), error.status) if error.args[0] else error.status
    except typer.Abort:
        return print_error("interrupted", INTERRUPTED)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python fails again when it flushes
        return FAILED
    except (ValueError, OSError) as error:
        return print_error(format_error(error), FAILED)
    except (SystemExit, KeyboardInterrupt):
        raise
    except BaseException as error:  # a library in Rust raises its own kind
        return _report_unexpected(error)
    if status == INTERRUPTED:  # what typer makes of Ctrl-C
        return print_error("interrupted", INTERRUPTED)
    return status if isinstance(status, int) else 0


def _report_unexpected(error: BaseException) -> int:
    """Print an error that no command foresees, in one sentence; its traceback on request."""
    if os.environ.get(TRACEBACK):
        raise error
    if isinstance(error, MemoryError):
        reason = format_error(error)
        return print_error(reason if "not enough memory" in reason else f"not enough memory: {reason}", FAILED)
    hint = f"this is a bug; {TRACEBACK}=1 in the environment shows where"
    return print_error(f"unexpected {type(error).__name__}: {format_error(error)} ({hint})", FAILED)


def _format_usage_error(error: Any) -> str:
    """Return the message of a usage error, with the command that explains the usage."""
    context = error.ctx.command_path if error.ctx else "roberta"
    text = " ".join(error.format_message().split()).removesuffix(".")
    return f"{text} (see `{context} --help`)"

"""The options that all prediction commands share, declared once."""

import inspect
from collections.abc import Callable
from copy import copy
from dataclasses import dataclass
from functools import wraps
from pathlib import Path, PurePosixPath
from typing import Annotated, Any, get_args, get_type_hints

import typer

from roberta_core.cli.frameworks import DEVICE, FRAMEWORK
from roberta_core.data.records import FORMATS as RECORD_FORMATS
from roberta_core.data.sources import locate

FORMATS = ("table", "tsv", "jsonl", "parquet")
INPUT_FORMATS = ("lines", *RECORD_FORMATS)

MODEL = Annotated[
    str,
    typer.Option(help="A folder with a checkpoint that is fine-tuned for the task, or a name on the Hugging Face Hub."),
]
FILES = Annotated[
    list[str] | None,
    typer.Argument(
        help="Files of rows: the suffix tells whether they are JSON lines, JSON, CSV, TSV or Parquet (for `roberta "
        "tag` also CoNLL), and any other file is read as lines of text. Files can be compressed (.gz, .bz2, .xz, .zst) "
        "and in an object store, such as s3://bucket/rows.jsonl.gz. Without files, or for -, standard input is read.",
    ),
]
COLUMNS = Annotated[
    list[str] | None,
    typer.Option(
        metavar="FIELD=COLUMN",
        help="The column that holds a field, such as text=body; for several use commas, or repeat the option.",
    ),
]
HEADER = Annotated[
    str | None,
    typer.Option(help="Column names of CSV and TSV files without a header, separated by commas."),
]
INPUT_FORMAT = Annotated[
    str | None,
    typer.Option(
        help="Format of the files and of standard input, if the suffix does not tell it: "
        f"{', '.join(INPUT_FORMATS)}; conll is for `roberta tag`."
    ),
]
FORMAT = Annotated[
    str | None,
    typer.Option(
        "--format",
        help="table, tsv, jsonl or parquet; by default parquet if --output has that suffix, a table on a terminal, "
        "TSV otherwise.",
    ),
]
OUTPUT = Annotated[
    Any,  # a `File` or None, for which typer has no type
    typer.Option(
        parser=locate,
        metavar="FILE",
        help="File to write instead of standard output, also one of an object store, such as s3://bucket/labels.jsonl.",
    ),
]
JSON = Annotated[bool, typer.Option("--json", help="Print a line of JSON per row; the same as --format jsonl.")]
HTML = Annotated[
    Path | None,
    typer.Option("--html", help="Also write the results into this file, as one HTML page that needs no other file."),
]
MAX_BATCH_TOKENS = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Maximum number of tokens per batch, padding included; by default chosen by the command.",
        show_default=False,
    ),
]
PROCESSES = Annotated[
    int | None,
    typer.Option(
        min=1,
        help="Number of worker processes, each with the model and a share of the cores; by default none: the command "
        "computes in its own process. With --engine ray this is the number of actors.",
        show_default=False,
    ),
]
ENGINE = Annotated[
    str | None,
    typer.Option(
        help="ray: compute in actors of Ray; by default the command computes on this machine, see --processes."
    ),
]
ADDRESS = Annotated[
    str | None,
    typer.Option(
        help="With --engine ray: the address of a Ray cluster, such as auto or ray://HOST:10001; by default that of "
        "RAY_ADDRESS, or else this machine."
    ),
]


@dataclass(frozen=True)
class Request:
    """What to run on which rows, and where to write the results: the options that all prediction commands share."""

    model: MODEL
    files: FILES = None
    framework: FRAMEWORK = None
    device: DEVICE = "auto"
    columns: COLUMNS = None
    header: HEADER = None
    input_format: INPUT_FORMAT = None
    format: FORMAT = None
    output: OUTPUT = None
    as_json: JSON = False
    max_batch_tokens: MAX_BATCH_TOKENS = None
    processes: PROCESSES = None
    engine: ENGINE = None
    address: ADDRESS = None

    def __post_init__(self) -> None:
        if self.format is not None and self.format not in FORMATS:
            raise typer.BadParameter(f"--format is {self.format}; expected one of {', '.join(FORMATS)}")
        if self.format == "parquet" and self.as_json:
            raise typer.BadParameter("--json and --format parquet are two formats: drop one of them")
        if self.is_parquet() and self.output is None:
            raise typer.BadParameter("--format parquet needs --output FILE")
        other = "--json" if self.as_json else f"--format {self.format}"
        if self.names_parquet() and other not in ("--format None", "--format parquet"):
            raise typer.BadParameter(
                f"--output is a Parquet file, but {other} asks for another format: drop one of them"
            )
        if self.input_format is not None and self.input_format not in INPUT_FORMATS:
            known = ", ".join(INPUT_FORMATS)
            raise typer.BadParameter(f"--input-format is {self.input_format}; expected one of {known}")
        if self.engine not in (None, "ray"):
            raise typer.BadParameter(f"--engine is {self.engine}; expected ray")
        if self.address is not None and self.engine is None:
            raise typer.BadParameter("--address is for --engine ray")
        if self.engine is None and (self.processes or 1) > 1 and self.device not in ("auto", "cpu"):
            raise typer.BadParameter(
                f"--processes is {self.processes}, but --device {self.device} serves one process best: specify "
                "--processes 1, or --device cpu"
            )

    def is_parquet(self) -> bool:
        """Whether the output is a Parquet file, by its format or its suffix."""
        return self.format == "parquet" or self.names_parquet()

    def names_parquet(self) -> bool:
        """Whether the output has the suffix of a Parquet file."""
        return self.output is not None and PurePosixPath(self.output.name).suffix.lower() == ".parquet"

    def has_workers(self) -> bool:
        """Whether workers compute the results, not this process."""
        return self.processes is not None or self.engine is not None


def with_shared_options(*, model: str, columns: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Return a decorator that puts the options of `Request` around a function's own.

    The command's function gets a `Request` first.

    Args:
        model: what kind of model the command needs, for the help.
        columns: an example of --columns.
    """
    notes = {
        "model": describe_option(MODEL, f"A folder with {model}, or its name on the Hugging Face Hub."),
        "columns": describe_option(
            COLUMNS,
            f"The column that holds a field, such as {columns}; for several use commas, or repeat the option.",
        ),
    }

    def decorate(function: Callable[..., None]) -> Callable[..., None]:
        shared = inspect.signature(Request, eval_str=True).parameters
        own = list(inspect.signature(function, eval_str=True).parameters.values())[1:]
        before = [shared[name] for name in ("model", "files")]
        after = [parameter for name, parameter in shared.items() if name not in ("model", "files")]
        parameters = [one.replace(kind=inspect.Parameter.KEYWORD_ONLY) for one in (*before, *own, *after)]

        @wraps(function)
        def command(**given: Any) -> None:
            function(Request(**{name: given.pop(name) for name in shared}), **given)

        hints = get_type_hints(Request, include_extras=True) | get_type_hints(function, include_extras=True) | notes
        command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]  # what typer reads
            [one.replace(annotation=hints[one.name]) for one in parameters]
        )
        command.__annotations__ = {one.name: hints[one.name] for one in parameters}
        return command

    return decorate


def describe_option(option: Any, text: str) -> Any:
    """Return the annotation of an option with another help text."""
    kind, information = get_args(option)
    information = copy(information)
    information.help = text
    return Annotated[kind, information]

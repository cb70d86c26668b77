"""`roberta parity`: compare each framework with the float64 model."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TextIO

import typer

from roberta_core.cli.files import STDOUT, check_files
from roberta_core.cli.frameworks import DEVICE

if TYPE_CHECKING:
    from .adapters import Adapter
    from .suite.run import Report


PRECISIONS = ("float32", "bfloat16", "float16", "int8")


def parity(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            help="A folder, a built-in model, or a model on the Hub. Without it, the built-in test cases are run.",
            show_default=False,
        ),
    ] = None,
    frameworks: Annotated[
        str | None,
        typer.Option(help="Comma-separated frameworks, such as pt,tf,flax. Default: all that are installed."),
    ] = None,
    against: Annotated[
        str | None,
        typer.Option(
            metavar="TARGET",
            help="Your own implementation, compared instead of the frameworks. MODULE:CALLABLE is called with the "
            "folder and returns a function of input_ids and attention_mask, which returns a dict of outputs such as "
            "hidden_states and logits (docs/conformance.md); onnx:FILE is an exported model; "
            "http://HOST:PORT is a running `roberta serve`, whose hidden states are compared.",
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="Texts for the checkpoint, one per line."),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option(
            help="Tolerance of every stage of the checkpoint. Default: 10 times NumPy's rounding error (see above)."
        ),
    ] = None,
    precision: Annotated[
        str,
        typer.Option(
            help="Data type in which the checkpoint is run: float32, bfloat16 or float16; int8 only with --against."
        ),
    ] = "float32",
    device: DEVICE = "auto",
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    json_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JSON to FILE.")] = None,
    junit: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JUnit XML to FILE.")] = None,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write an HTML page with a heat map of the errors to FILE.")
    ] = None,
    faults: Annotated[
        bool,
        typer.Option(
            "--faults",
            help="Plant deliberate faults in the model, one at a time, and show which test case detects each; "
            "with a checkpoint, show whether the check of that checkpoint detects each.",
        ),
    ] = False,
) -> None:
    """Measure the error of each framework at every stage, compared with a float64 model.

    A stage is an output of the model: the embeddings, each layer, the head. Its error is the largest difference from
    float64, divided by the largest value. For a checkpoint, the tolerance of a stage is ten times the error of the same
    model evaluated in NumPy in the same data type.
    The exit status is 1 if an error exceeds its tolerance.
    """
    if faults:
        given = {
            "--against": against, "--tolerance": tolerance, "--json-file": json_file, "--junit": junit, "--html": html,
            "--json": as_json or None, "--precision": None if precision == "float32" else precision,
        }  # fmt: skip
        if unused := [option for option, value in given.items() if value is not None]:
            raise typer.BadParameter(f"--faults prints a table and takes no {unused[0]}")
        if checkpoint is None:
            raise typer.Exit(show_faults())
        raise typer.Exit(show_checkpoint_faults(checkpoint, frameworks, read_texts(texts) if texts else None))
    other = None if precision == "float32" else precision
    for option, value in (
        ("--against", against), ("--texts", texts), ("--tolerance", tolerance), ("--precision", other)
    ):  # fmt: skip
        if value is not None and checkpoint is None:
            raise typer.BadParameter(f"{option} requires a checkpoint")
    if tolerance is not None and not tolerance > 0:
        raise typer.BadParameter(f"--tolerance is {tolerance}; it must be greater than 0")
    if precision not in PRECISIONS:
        raise typer.BadParameter(f"--precision is {precision}; choose from {', '.join(PRECISIONS)}")
    if precision == "int8" and (against is None or frameworks is not None):
        raise typer.BadParameter(
            "--precision int8 requires --against, without --frameworks: the frameworks do not compute in int8"
        )
    check_files(json_file, junit, html)
    report = measure(
        checkpoint, frameworks, read_texts(texts) if texts else None, tolerance, precision, against, device
    )
    save(report, STDOUT if as_json else None, json_file, junit, html)
    show(report, sys.stderr if as_json or STDOUT in (json_file, junit, html) else sys.stdout)
    raise typer.Exit(0 if report.ok else 1)


def measure(
    checkpoint: str | None,
    frameworks: str | None,
    texts: list[str] | None,
    tolerance: float | None = None,
    precision: str = "float32",
    against: str | None = None,
    device: str = "auto",
) -> "Report":
    """Compare a checkpoint, or the suite's cases; shows progress on stderr if that is a terminal."""
    from rich.console import Console

    from roberta_core.cli.frameworks import hold_back_stderr
    from roberta_core.config import RobertaConfig

    from .measurement import measure_checkpoint
    from .suite.case import load_cases
    from .suite.run import TEXTS, run_cases

    if checkpoint is not None:
        RobertaConfig.from_pretrained(checkpoint)  # a wrong name is reported before any framework is imported
    with hold_back_stderr(), Console(stderr=True).status("starting") as status:
        adapters = choose_adapters(frameworks, against, precision)
        place_adapters(adapters, device)
        if checkpoint is None:
            return run_cases(adapters, load_cases().values(), status.update)
        return measure_checkpoint(adapters, checkpoint, texts or TEXTS, status.update, tolerance, precision)


def choose_adapters(frameworks: str | None, against: str | None = None, precision: str = "float32") -> "list[Adapter]":
    """Return the requested adapters, or those of every installed framework."""
    from .measurement import select_adapters

    names = None if frameworks is None else [name.strip() for name in frameworks.split(",")]
    if names is not None and len(set(names)) < len(names):
        raise typer.BadParameter(f"--frameworks {frameworks} lists a framework twice")
    try:
        return select_adapters(names, against, precision)
    except KeyError as error:
        raise typer.BadParameter(error.args[0]) from None


def place_adapters(adapters: "list[Adapter]", device: str) -> None:
    """Put the models of the frameworks on a device; other people's implementations choose theirs."""
    for adapter in adapters:
        if own := getattr(adapter, "backend", None):
            adapter.backend = own.on(device)  # type: ignore[attr-defined]
            if adapter.backend.device != "cpu":  # type: ignore[attr-defined]
                adapter.title = f"{adapter.title} on {adapter.backend.device}"  # type: ignore[attr-defined]


def read_texts(path: Path) -> list[str]:
    """Return the non-empty lines of a file."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: {error.reason} at byte {error.start}") from None
    texts = [line for line in lines if line.strip()]
    if not texts:
        raise ValueError(f"{path} contains no text")
    return texts


def save(report: "Report", printed: Path | None, json_file: Path | None, junit: Path | None, html: Path | None) -> None:
    """Write the requested files; `-` is standard output."""
    from .report.formats import to_json, to_junit, write
    from .report.page import to_html

    for path, make in ((printed, to_json), (json_file, to_json), (junit, to_junit), (html, to_html)):
        if path == STDOUT:
            print(make(report), end="")
        elif path is not None:
            write(path, make(report))


def show(report: "Report", file: TextIO) -> None:
    """Print the table and what failed."""
    from rich.console import Console

    from .report.formats import describe_failures, to_table

    console = Console(file=file)
    console.print(to_table(report))
    for warning in report.warnings:
        console.print(f"warning: {warning}", style="yellow", markup=False, highlight=False)
    for sentence in describe_failures(report):
        console.print(sentence, style="red", markup=False, highlight=False)


def show_faults() -> int:
    """Print the table of faults. Returns 1 if a fault is not caught, else 0."""
    from rich.console import Console

    from .faults.catalogue import find_best_catches
    from .report.formats import make_fault_table

    with Console(stderr=True).status("running the faults"):
        found = list(find_best_catches())
    Console().print(make_fault_table(found))
    return 0 if all(catch is not None and catch.caught for _, catch in found) else 1


def show_checkpoint_faults(checkpoint: str, frameworks: str | None, texts: list[str] | None) -> int:
    """Print the table of faults on a checkpoint. Returns 1 if a visible fault is not caught, else 0."""
    from rich.console import Console

    from roberta_core.cli.frameworks import hold_back_stderr
    from roberta_core.config import RobertaConfig

    from .faults.on_checkpoint import judge_faults
    from .report.formats import make_checkpoint_fault_table
    from .suite.run import TEXTS

    RobertaConfig.from_pretrained(checkpoint)  # a wrong name is reported before any framework is imported
    with hold_back_stderr(), Console(stderr=True).status("running the faults"):
        found = list(judge_faults(choose_adapters(frameworks), checkpoint, texts or TEXTS))
    Console().print(make_checkpoint_fault_table(found, checkpoint))
    visible = [one for one in found if one.visible]
    caught = sum(one.ok for one in visible)
    print(f"{caught} of {len(visible)} faults that move a stage by ten times its tolerance are caught")
    if idle := [one.fault for one in found if one.moved is None]:
        print(f"without effect on this model and these texts: {', '.join(idle)}")
    return 0 if caught == len(visible) else 1

"""`roberta bench`: how fast the encoder is, in each framework and beside other implementations."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roberta_core.cli.files import STDOUT, check_chart, check_files
from roberta_core.cli.frameworks import FRAMEWORKS

if TYPE_CHECKING:
    from roberta_bench.harness import Shape


def bench(
    checkpoint: Annotated[
        str | None,
        typer.Argument(help="A folder; without it, a random model of roberta-base's size.", show_default=False),
    ] = None,
    frameworks: FRAMEWORKS = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PYTHON",
            help="Another implementation and the interpreter of its environment, such as "
            "transformers-pt=venv/bin/python. Repeatable.",
        ),
    ] = None,
    also: Annotated[
        str | None,
        typer.Option(
            help="More of this environment, with commas between: pt-compile, pt-bf16, tf-bf16, flax-bf16; "
            "limit, the bare matrix products, and limit-packed, those with weights in oneDNN's own order."
        ),
    ] = None,
    shapes: Annotated[str, typer.Option(help="Batch x length, with commas between.")] = "1x16,1x128,8x128,4x512",
    rounds: Annotated[int, typer.Option(min=1, help="Calls of each shape after the first one.")] = 5,
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Write every number as JSON; - is the screen.")
    ] = None,
    chart: Annotated[Path | None, typer.Option(metavar="FILE", help="Draw a chart; needs matplotlib.")] = None,
) -> None:
    """Time the encoder in each framework, and beside other implementations: the same weights and inputs, taking turns.

    Each runs in a process of its own. A result is the median of its calls; two that answer differently are an error.
    """
    from rich.console import Console

    from roberta_bench import report
    from roberta_bench.harness import CONTESTANTS, here, measure
    from roberta_core.config import RobertaConfig

    pythons = here(names(frameworks)) | peers(peer or [], set(CONTESTANTS)) | here(more(also))
    wanted, where = sizes(shapes), report.machine()
    check_files(json_file)
    check_chart(chart)
    with tempfile.TemporaryDirectory() as scratch, Console(stderr=True).status("start") as status:
        folder = random_base(Path(scratch)) if checkpoint is None else located(checkpoint)
        results = measure(folder, pythons, wanted, rounds, status.update)
        config = RobertaConfig.from_pretrained(folder)
    if json_file == STDOUT:
        print(report.to_json(results, config, where))
    elif json_file is not None:
        json_file.write_text(report.to_json(results, config, where) + "\n", encoding="utf-8")
    if chart is not None:
        report.write_chart(chart, results, config)
    Console(file=sys.stderr if json_file == STDOUT else sys.stdout).print(report.to_table(results, config))


def names(frameworks: str | None) -> list[str]:
    """The frameworks named, or all that are installed."""
    from roberta_core import backend
    from roberta_core.cli.frameworks import PREFERRED, resolve_frameworks

    if frameworks is None:
        return [name for name in PREFERRED if name in backend.available()]
    return resolve_frameworks(frameworks)


def more(also: str | None) -> list[str]:
    """The variants and limits named; a wrong one is wrong usage."""
    from roberta_bench.harness import LIMITS, VARIANTS

    found = [name.strip() for name in also.split(",")] if also else []
    unknown = sorted(set(found) - {*VARIANTS, *LIMITS})
    if unknown:
        raise typer.BadParameter(f"--also has {', '.join(unknown)}; known are {', '.join((*VARIANTS, *LIMITS))}")
    return found


def peers(given: list[str], known: set[str]) -> dict[str, str]:
    """NAME=PYTHON as a mapping; a wrong one is wrong usage."""
    pairs = {}
    for text in given:
        name, separator, python = text.partition("=")
        if name not in known or not separator:
            raise typer.BadParameter(f"--peer {text} is not NAME=PYTHON; names are {', '.join(sorted(known))}")
        if not Path(python).exists():
            raise typer.BadParameter(f"--peer {text}: there is no {python}")
        pairs[name] = python
    return pairs


def sizes(shapes: str) -> list[Shape]:
    """Pairs of batch and length."""
    found = []
    for text in shapes.split(","):
        batch, _, length = text.strip().partition("x")
        if not (batch.isdecimal() and length.isdecimal() and int(batch) and int(length) >= 2):
            raise typer.BadParameter(f"--shapes has {text!r}; a shape is BATCHxLENGTH, such as 8x128")
        found.append((int(batch), int(length)))
    return found


def located(checkpoint: str) -> Path:
    """The folder of a checkpoint."""
    from roberta_core.checkpoints import resolve

    return Path(resolve(checkpoint))


def random_base(folder: Path) -> Path:
    """A model of roberta-base's size whose weights are drawn from a fixed seed."""
    from roberta_core import checkpoints
    from roberta_core.config import RobertaConfig
    from roberta_core.parameters import draw

    config = RobertaConfig.base()
    checkpoints.save(folder, config, "Model", dict(draw(config, "Model", 0)))
    return folder

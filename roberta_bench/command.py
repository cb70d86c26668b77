"""`roberta bench`: time the encoder in each framework and in other implementations."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from roberta_core.cli.files import check_chart, check_files
from roberta_core.cli.frameworks import FRAMEWORKS

if TYPE_CHECKING:
    from roberta_bench.harness import Shape


def bench(
    checkpoint: Annotated[
        str | None,
        typer.Argument(
            help="A folder, a built-in model, or a model on the Hub. Default: a random model of roberta-base's size.",
            show_default=False,
        ),
    ] = None,
    frameworks: FRAMEWORKS = None,
    peer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=PYTHON",
            help="Another implementation and the Python interpreter of its environment, such as "
            "transformers-pt=venv/bin/python. NAME is transformers- and one of pt, pt-bf16, tf, tf-function, "
            "tf-xla, flax, flax-jit, or of onnxruntime, openvino, openvino-bf16, which run an exported PyTorch model. "
            "Can be repeated.",
        ),
    ] = None,
    also: Annotated[
        str | None,
        typer.Option(
            help="More variants, separated by commas: onnx, onnx-int8, openvino, openvino-bf16 (this project's graph "
            "of the model; onnx and openvino may be given here or in --frameworks); pt-plain, "
            "tf-plain and flax-plain (the model called directly, where the default is `model.frozen()`, a view "
            "that is optimised for inference); pt-compile, pt-bf16, tf-bf16, flax-bf16; limit (a lower bound: only the "
            "matrix products) and limit-packed (the same, with weights packed by oneDNN)."
        ),
    ] = None,
    shapes: Annotated[
        str, typer.Option(help="Batch sizes and lengths, separated by commas.")
    ] = "1x16,1x128,8x128,4x512",
    rounds: Annotated[int, typer.Option(min=1, help="Timed calls per shape, after the first call.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of the table.")] = False,
    json_file: Annotated[Path | None, typer.Option(metavar="FILE", help="Write JSON to FILE.")] = None,
    chart: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Draw a chart to FILE; requires matplotlib.")
    ] = None,
) -> None:
    """Time the encoder in each framework and in other implementations, with the same weights and inputs.

    Each implementation runs in a separate process; the processes take turns. The result is the median of the calls.
    The last lines recommend the fastest of this project's implementations on this machine, with its error.
    The command fails if outputs differ by more than 1e-4 of the largest value, 5e-2 in bfloat16, or 3e-1 in int8.
    """
    from rich.console import Console

    from roberta_bench import report
    from roberta_bench.harness import CONTESTANTS, measure, use_own_python
    from roberta_bench.recommendation import recommend
    from roberta_core.config import RobertaConfig

    peers = parse_peers(peer or [], set(CONTESTANTS))
    pythons = use_own_python(select_frameworks(frameworks)) | peers | use_own_python(parse_variants(also))
    sizes, machine = parse_shapes(shapes), report.describe_machine()
    check_files(json_file)
    check_chart(chart)
    with tempfile.TemporaryDirectory() as scratch, Console(stderr=True).status("starting") as status:
        folder = save_random_base(Path(scratch)) if checkpoint is None else find_folder(checkpoint)
        results = measure(folder, pythons, sizes, rounds, status.update)
        config = RobertaConfig.from_pretrained(folder)
    text = report.to_json(results, config, machine)
    if json_file is not None:
        json_file.write_text(text + "\n", encoding="utf-8")
    if chart is not None:
        report.write_chart(chart, results, config)
    if as_json:
        print(text)
    else:
        Console().print(report.to_table(results, config))
        if (found := recommend(results)) is not None:
            print(found)


def select_frameworks(frameworks: str | None) -> list[str]:
    """Return the requested frameworks, or all that are installed."""
    from roberta_core import backend
    from roberta_core.cli.frameworks import resolve_frameworks

    if frameworks is None:
        return [name for name in backend.PREFERRED if name in backend.available()]
    return resolve_frameworks(frameworks, need_installed=False)  # the worker that runs it reports what is missing


def parse_variants(also: str | None) -> list[str]:
    """Return the requested variants and limits; an unknown one is a usage error, one that is not installed an error."""
    from roberta_bench.harness import EXPORTED, LIMITS, PLAIN, VARIANTS, is_ours
    from roberta_core import backend

    known = (*VARIANTS, *EXPORTED, *PLAIN, *LIMITS)
    found = [name.strip() for name in also.split(",")] if also else []
    unknown = sorted(set(found) - {*known})
    if unknown:
        raise typer.BadParameter(f"--also contains {', '.join(unknown)}; choose from {', '.join(known)}")
    for name in filter(is_ours, found):
        backend.require(name.partition("-")[0])
    return found


def parse_peers(given: list[str], known: set[str]) -> dict[str, str]:
    """Parse pairs NAME=PYTHON into a mapping; an invalid one is a usage error."""
    pairs = {}
    for text in given:
        name, separator, python = text.partition("=")
        if not separator:
            raise typer.BadParameter(f"--peer {text} is not NAME=PYTHON, such as transformers-pt=venv/bin/python")
        if name not in known:
            raise typer.BadParameter(
                f"--peer names an unknown implementation {name}; choose from {', '.join(sorted(known))}"
            )
        if not Path(python).exists():
            raise typer.BadParameter(f"--peer {text}: {python} does not exist")
        pairs[name] = python
    return pairs


def parse_shapes(shapes: str) -> list[Shape]:
    """Parse pairs of batch size and length; an invalid one is a usage error."""
    found = []
    for text in shapes.split(","):
        batch, _, length = text.strip().partition("x")
        if not (batch.isdecimal() and length.isdecimal() and int(batch) and int(length) >= 2):
            raise typer.BadParameter(f"--shapes contains {text!r}; a shape is BATCHxLENGTH, such as 8x128")
        found.append((int(batch), int(length)))
    return found


def find_folder(checkpoint: str) -> Path:
    """Return the folder of a checkpoint."""
    from roberta_core.checkpoints import resolve

    return Path(resolve(checkpoint))


def save_random_base(folder: Path) -> Path:
    """Save a model of roberta-base's size with random weights from a fixed seed."""
    from roberta_core import checkpoints
    from roberta_core.config import RobertaConfig
    from roberta_core.parameters import draw

    config = RobertaConfig.base()
    checkpoints.save(folder, config, "Model", dict(draw(config, "Model", 0)))
    return folder

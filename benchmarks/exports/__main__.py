"""Export every class in every format and compare the result with float64: `python -m benchmarks.exports`.

The models are small, with large random weights (a freshly initialised model hides mistakes) and the positions of
roberta-base, so that rows of 511 tokens are compared.
"""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import typer

from conformance.suite.case import draw_weight
from roberta_core import checkpoints, exports
from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES, parameters

# Format -> the types in which it is exported.
FORMATS = {
    "onnx": ("float32", "float16", "int8"),
    "torch-export": ("float32",),
    "saved-model": ("float32",),
    "tflite": ("float32",),
    "stablehlo": ("float32",),
}
WEIGHTS = {"seed": 1, "spread": 0.2}
SIZES: dict[str, Any] = {
    "vocab_size": 997, "hidden_size": 96, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 160,
    "max_position_embeddings": 514, "layer_norm_eps": 1e-5, "type_vocab_size": 2,
}  # fmt: skip
BEGIN, END = "<!-- exports: written by `python -m benchmarks.exports --page docs/export.md` -->", "<!-- end -->"


@dataclass(frozen=True)
class Cell:
    """The result of one export."""

    architecture: str
    format: str
    dtype: str
    bytes: int = 0  # of the model, without tokenizer and configuration
    error: float = 0.0  # the largest of all shapes and outputs
    expected: float = 0.0  # the expected rounding of that one
    shapes: int = 0
    reason: str = ""  # why it is not supported


def make_checkpoint(folder: Path, architecture: str) -> None:
    """Save a small model of a class."""
    labels: dict[str, Any] = {} if architecture == "ForQuestionAnswering" else {"num_labels": 3}
    config = RobertaConfig(**SIZES, **labels, is_decoder=architecture == "ForCausalLM")
    table = parameters(config, architecture)
    tensors = {name: draw_weight(WEIGHTS, name, row.kind, row.shape) for name, row in table.items()}
    checkpoints.save(folder, config, architecture, tensors)


def measure(architecture: str, name: str, dtype: str) -> Cell:
    """Export a class in a format and return the result; a refusal is its reason."""
    with tempfile.TemporaryDirectory() as scratch:
        source, target = Path(scratch) / "source", Path(scratch) / "target"
        make_checkpoint(source, architecture)
        try:
            made = exports.export(source, target, name, dtype=dtype)
        except (ValueError, checkpoints.CheckpointError) as error:
            return Cell(architecture, name, dtype, reason=str(error).replace(scratch, ""))
        size = sum(size for file, size in made.files.items() if not file.endswith(".json"))
        worst = max(made.checks, key=lambda check: check.error / check.expected)
        return Cell(architecture, name, dtype, size, worst.error, worst.expected, len(made.checks))


def measure_format(name: str) -> Iterator[Cell]:
    """Measure every class in a separate process for each format: two frameworks do not share one."""
    command = [sys.executable, "-m", "benchmarks.exports", "--format", name]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            yield Cell(**json.loads(line))
    if process.returncode:
        raise SystemExit(f"the exports to {name} ended with status {process.returncode}")


def make_table(cells: Sequence[Cell]) -> str:
    """Return a row for each class, with a column for each format."""
    columns = [(name, dtype) for name, dtypes in FORMATS.items() for dtype in dtypes]
    titles = [name if len(FORMATS[name]) == 1 else f"{name} {dtype}" for name, dtype in columns]
    rows = [["class", *titles], ["---"] * (len(columns) + 1)]
    found = {(cell.architecture, cell.format, cell.dtype): cell for cell in cells}
    for architecture in ARCHITECTURES:
        rows.append([architecture, *(describe(found.get((architecture, *column))) for column in columns)])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def describe(cell: Cell | None) -> str:
    """Return what the table shows of a result."""
    if cell is None:
        return "not measured"
    if cell.reason:
        return f"no: {cell.reason}"
    return f"{cell.error:.1e} ({cell.error / cell.expected:.1f}x), {cell.bytes / 1e6:.2f} MB"


def write_page(page: Path, table: str) -> None:
    """Replace the table between the two marks of a page."""
    before, _, rest = page.read_text(encoding="utf-8").partition(BEGIN)
    _, _, after = rest.partition(END)
    page.write_text(f"{before}{BEGIN}\n{table}\n{END}{after}", encoding="utf-8")


def main(
    format: Annotated[str | None, typer.Option(help="Measure one format and print JSON lines.")] = None,
    page: Annotated[Path | None, typer.Option(help="Page whose table is replaced.")] = None,
    json_file: Annotated[Path | None, typer.Option(help="Write the results as JSON.")] = None,
) -> None:
    """Export every class in every format, and print the table."""
    if format is not None:
        for architecture in ARCHITECTURES:
            for dtype in FORMATS[format]:
                print(json.dumps(asdict(measure(architecture, format, dtype))), flush=True)
        return
    cells: list[Cell] = []
    for name in FORMATS:
        for cell in measure_format(name):
            cells.append(cell)
            print(f"{cell.architecture} {name} {cell.dtype}: {describe(cell)}", file=sys.stderr, flush=True)
    facts: list[dict[str, Any]] = [asdict(cell) for cell in cells]
    if json_file is not None:
        json_file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    if page is not None:
        write_page(page, make_table(cells))
    print(make_table(cells))


if __name__ == "__main__":
    typer.run(main)

"""`python -m benchmarks.task_scores --model sst2=FOLDER ...`: scores of fine-tuned models in int8 and bfloat16.

Each model is scored on the test data of its task (`--data`, as for `python -m benchmarks.finetuning`) in float32, in
int8 by ONNX Runtime and in bfloat16 by OpenVINO. The table has the score and the share of equal predictions. The exit
status is 1 if a type loses more than one point and changes more than one prediction in a hundred.
"""

import argparse
import json
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks.finetuning.data import DATA, Data
from roberta_core import backend
from roberta_core.training.finetune_run import Reading, evaluate_task

# Variant -> framework and type.
VARIANTS = {"float32": ("onnx", "float32"), "onnx-int8": ("onnx", "int8"), "openvino-bf16": ("openvino", "bfloat16")}
MOST_LOST, LEAST_EQUAL = 1.0, 0.99  # points; the share of equal predictions that is enough whatever the score


@dataclass(frozen=True)
class Row:
    """The result of a variant on a task.

    Attributes:
        task: The name of the data.
        variant: The name of the variant.
        score: Its score in percent.
        lost: The points that it loses compared with float32.
        equal: The share of its predictions that float32 has too: labels, tags, choices, answers.
        predictions: The number of predictions.
    """

    task: str
    variant: str
    score: float
    lost: float
    equal: float
    predictions: int

    @property
    def is_good(self) -> bool:
        """Whether the variant is as good as float32 for practical purposes."""
        return self.lost <= MOST_LOST or self.equal >= LEAST_EQUAL


class InType:
    """A backend whose models compute in a type."""

    def __init__(self, framework: str, dtype: str):
        self.backend, self.dtype = backend.load(framework), dtype

    def from_pretrained(self, architecture: str, source: str) -> Any:
        """Return the model of a checkpoint."""
        return self.backend.from_pretrained(architecture, source, dtype=self.dtype)

    def run(self, model: Any, inputs: Any) -> Any:
        """Run a forward pass."""
        return self.backend.run(model, inputs)


def measure(name: str, data: Data, model: str, variants: Sequence[str]) -> Iterator[Row]:
    """Yield the row of each variant of a model."""
    options = dict(zip(data.options[::2], data.options[1::2], strict=True))
    header = tuple(options["--header"].split(",")) if "--header" in options else ()
    reading = Reading(header=header, format=options.get("--input-format"))
    full: Row | None = None
    want: list[Any] = []
    for variant in ("float32", *(one for one in variants if one != "float32")):
        found, _ = evaluate_task(
            InType(*VARIANTS[variant]), model, data.task, [str(data.test)], None, reading, lambda line: None
        )
        score, given = 100 * found.scores[data.score], flatten(found.predictions)
        if full is None:
            want, full = given, Row(name, variant, score, 0.0, 1.0, len(given))
            yield full
        else:
            equal = sum(one == other for one, other in zip(given, want, strict=True)) / len(want)
            yield Row(name, variant, score, full.score - score, equal, len(given))


def flatten(predictions: Sequence[Any]) -> list[Any]:
    """Return single predictions: the tags of all words, where a prediction is a list."""
    return [part for one in predictions for part in (one if isinstance(one, list) else [one])]


def make_table(rows: Sequence[Row]) -> str:
    """Return a Markdown table."""
    lines = ["| task | computes in | score | points lost | equal predictions |", "| --- | --- | --- | --- | --- |"]
    for row in rows:
        equal = f"{row.equal:.2%} of {row.predictions:,}"
        cells = (row.task, row.variant, f"{row.score:.1f}", f"{row.lost + 0.0:.1f}", equal)
        lines.append(f"| {' | '.join(cells if row.variant != 'float32' else (*cells[:3], '', ''))} |")
    return "\n".join(lines)


def main(arguments: Sequence[str] | None = None) -> int:
    """Score the models and print the table; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.task_scores", description=__doc__)
    parser.add_argument(
        "--model", action="append", required=True, metavar="TASK=FOLDER",
        help=f"a fine-tuned model and the data of its task: {', '.join(DATA)}; may be repeated",
    )  # fmt: skip
    parser.add_argument(
        "--data", type=Path, default=Path("../shared/data"), help="folder with the data sets (%(default)s)"
    )
    parser.add_argument("--variants", default=",".join(VARIANTS), help="separated by commas (%(default)s)")
    parser.add_argument("--json-file", type=Path, help="write the results as JSON")
    options = parser.parse_args(arguments)
    pairs = [given.partition("=")[::2] for given in options.model]
    variants = options.variants.split(",")
    for given, known in (([name for name, _ in pairs], DATA), (variants, VARIANTS)):
        if unknown := sorted(set(given) - set(known)):
            parser.error(f"{', '.join(unknown)} is unknown; choose from {', '.join(known)}")
    with tempfile.TemporaryDirectory() as work:
        rows = [
            row for name, model in pairs for row in measure(name, DATA[name](options.data, Path(work)), model, variants)
        ]
    if options.json_file is not None:
        options.json_file.write_text(json.dumps([asdict(row) for row in rows], indent=1) + "\n", encoding="utf-8")
    print(make_table(rows))
    return int(not all(row.is_good for row in rows))


if __name__ == "__main__":
    sys.exit(main())

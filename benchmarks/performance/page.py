"""`python -m benchmarks.performance.page`: write the tables of docs/performance.md from the result files.

A table is between two marks, `<!-- table NAME -->` and `<!-- end -->`; the rest of the page is written by hand.
"""

from __future__ import annotations

import json
import re
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.classification.__main__ import PIPELINE
from roberta_bench.harness import VARIANTS

DOCS = Path(__file__).resolve().parents[2] / "docs"
PAGE, FOLDER = DOCS / "performance.md", DOCS / "performance"
PARTS = ("encoder", "called", "variants", "sentences", "start")
TITLES = {"pt": "PyTorch", "tf": "TensorFlow", "flax": "Flax"}
TITLES |= {"openvino": "OpenVINO", "onnx": "ONNX Runtime", "onnxruntime": "ONNX Runtime"}
CALLED = {
    "tf": ["transformers-tf", "transformers-tf-function", "transformers-tf-xla"],
    "flax": ["transformers-flax", "transformers-flax-jit"],
}
PEER_IN_BFLOAT16 = "transformers-pt-bf16"  # compared with our variants
MARKED = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Run = Mapping[str, Any]


def tabulate_times(run: Run) -> str:
    """Return a table of the milliseconds of each shape: median, minimum and maximum."""
    headings, rows = format_shapes(run), []
    for result in run["results"]:
        cells = [format_range([1e3 * second for second in shape["seconds"]]) for shape in result["shapes"]]
        rows.append([format_title(result), *cells])
    return format_table(["ms", *headings], rows)


def tabulate_ratios(run: Run, pairs: Mapping[str, Iterable[str]]) -> str:
    """Return a table of time ratios: the medians of the values in `pairs` divided by those of their key."""
    rows = [
        [f"{format_name(other)} / {format_name(own)}", *(f"{ratio:.2f}" for ratio in divide_medians(run, other, own))]
        for own, others in pairs.items()
        for other in others
    ]
    return format_table(["", *format_shapes(run)], rows)


def tabulate_shares(run: Run, limit: str) -> str:
    """Return a table of the operations per second of each implementation relative to a measured limit."""
    rates = {result["name"]: [shape["gflops"] for shape in result["shapes"]] for result in run["results"]}
    rows = [
        [format_name(own), *(f"{rate / most:.0%}" for rate, most in zip(found, rates[limit], strict=True))]
        for own, found in rates.items()
    ]
    return format_table(["", *format_shapes(run)], rows)


def tabulate_costs(run: Run) -> str:
    """Return a table of the seconds for import, loading and the first call, and of the peak memory."""
    rows = [
        [
            format_title(result),
            f"{result['import_seconds']:.1f}",
            f"{result['load_seconds']:.1f}",
            f"{result['shapes'][0]['first_seconds']:.2f}",
            f"{result['peak_mib']:,}",
        ]
        for result in run["results"]
    ]
    return format_table(
        ["", "import, s", "load, s", f"first call, {format_shapes(run)[0]}, s", "peak memory, MiB"], rows
    )


def tabulate_sentences(run: Run) -> str:
    """Return a table of text classification: seconds, tokens per second, speed relative to the fastest pipeline."""
    medians = {result["name"]: statistics.median(result["seconds"]) for result in run["results"]}
    fastest = min(seconds for name, seconds in medians.items() if name.startswith(PIPELINE))
    rows = [
        [
            format_classifier_name(result["name"]),
            format_range(result["seconds"]),
            f"{run['tokens'] / medians[result['name']]:,.0f}",
            f"{fastest / medians[result['name']]:.2f}",
        ]
        for result in run["results"]
    ]
    return format_table(["", "s", "tokens/s", "speed relative to the fastest pipeline"], rows)


def tabulate_start(run: Run) -> str:
    """Return a table of the seconds of complete commands."""
    titles = {"help": "`roberta --help`"}
    rows = [
        [
            titles.get(result["name"], f"`roberta fill-mask --frameworks {result['name']}`"),
            format_range(result["seconds"]),
        ]
        for result in run["results"]
    ]
    return format_table(["", "s"], rows)


def tabulate_machines(runs: Mapping[str, Run]) -> str:
    """Return a table of the machine of each run and the number of timed calls."""
    rows = []
    for part, run in runs.items():
        machine, first = run["machine"], run["results"][0]
        calls = len((first["shapes"][0] if "shapes" in first else first)["seconds"])
        rows.append([part, machine["cpu"], str(machine["cores"]), str(machine["load"]), str(calls)])
    return format_table(["run", "CPU", "cores", "load before", "timed calls"], rows)


TABLES: dict[str, Callable[[Mapping[str, Run]], str]] = {
    "machine": tabulate_machines,
    "encoder-times": lambda runs: tabulate_times(runs["encoder"]),
    "encoder-transformers": lambda runs: tabulate_ratios(runs["encoder"], {"pt": ["transformers-pt"]}),
    "encoder-openvino": lambda runs: tabulate_ratios(runs["encoder"], {"transformers-openvino": ["pt", "tf", "flax"]}),
    "encoder-limit": lambda runs: tabulate_shares(runs["encoder"], "limit"),
    "encoder-costs": lambda runs: tabulate_costs(runs["encoder"]),
    "called-times": lambda runs: tabulate_times(runs["called"]),
    "called-ratios": lambda runs: tabulate_ratios(runs["called"], CALLED),
    "variants-times": lambda runs: tabulate_times(runs["variants"]),
    "variants-ratios": lambda runs: tabulate_ratios(
        runs["variants"], dict.fromkeys((*VARIANTS, PEER_IN_BFLOAT16), ("pt",))
    ),
    "sentences": lambda runs: tabulate_sentences(runs["sentences"]),
    "start": lambda runs: tabulate_start(runs["start"]),
}


def render_page(text: str, runs: Mapping[str, Run]) -> str:
    """Return the text of the page with every table replaced; raise `KeyError` if a mark names an unknown table."""
    return MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](runs)}\n\n{found[3]}", text)


def read_results(folder: Path = FOLDER) -> dict[str, Run]:
    """Return the contents of the result files by the names of their runs."""
    return {part: json.loads((folder / f"{part}.json").read_text(encoding="utf-8")) for part in PARTS}


def rewrite_page(page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Replace the tables of the page by those of the result files."""
    page.write_text(render_page(page.read_text(encoding="utf-8"), read_results(folder)), encoding="utf-8")


def format_name(contestant: str) -> str:
    """Return the name of an implementation for people: `transformers-tf-xla` is transformers, TensorFlow, xla."""
    return ", ".join(TITLES.get(part, part) for part in contestant.split("-"))


def format_classifier_name(contestant: str) -> str:
    """Return the name of an implementation of text classification; `pipeline-8` is a pipeline with batch size 8."""
    size = contestant.removeprefix(PIPELINE)
    return format_name(contestant) if size == contestant else f"transformers, pipeline, batch size {size}"


def format_title(result: Run) -> str:
    """Return the name and version of an implementation."""
    return f"{format_name(result['name'])} {result['version']}"


def format_shapes(run: Run) -> list[str]:
    """Return the shapes as column headings."""
    return [" x ".join(map(str, shape["shape"])) for shape in run["results"][0]["shapes"]]


def divide_medians(run: Run, numerator: str, denominator: str) -> list[float]:
    """Return the median time of one implementation divided by that of another, for each shape."""
    medians = {
        result["name"]: [statistics.median(shape["seconds"]) for shape in result["shapes"]] for result in run["results"]
    }
    return [first / second for first, second in zip(medians[numerator], medians[denominator], strict=True)]


def format_range(values: Sequence[float]) -> str:
    """Return the median, minimum and maximum, with about three digits."""
    return f"{format_number(statistics.median(values))} ({format_number(min(values))} to {format_number(max(values))})"


def format_number(value: float) -> str:
    """Return a number with about three digits."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def format_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [headings, ["---"] * len(headings), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    rewrite_page()

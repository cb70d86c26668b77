"""The tables of docs/performance.md, made of the result files beside it: `python -m benchmarks.performance.page`.

A table stands between two marks, `<!-- table NAME -->` and `<!-- end -->`; all else on the page is written by hand.
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
CALLED = {
    "tf": ["transformers-tf", "transformers-tf-function", "transformers-tf-xla"],
    "flax": ["transformers-flax", "transformers-flax-jit"],
}
HALVED = "transformers-pt-bf16"  # the peer beside our variants
MARKED = re.compile(r"(<!-- table ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)

Run = Mapping[str, Any]


def times(run: Run) -> str:
    """Milliseconds of each shape: the median, and the least and most."""
    heads, rows = shapes(run), []
    for one in run["results"]:
        cells = [spread([1e3 * second for second in shape["seconds"]]) for shape in one["shapes"]]
        rows.append([title(one), *cells])
    return markdown(["ms", *heads], rows)


def ratios(run: Run, pairs: Mapping[str, Iterable[str]]) -> str:
    """How many times as long others take as the one they are listed under, of the medians of one run."""
    rows = [
        [f"{name(other)} / {name(own)}", *(f"{ratio:.2f}" for ratio in divided(run, other, own))]
        for own, others in pairs.items()
        for other in others
    ]
    return markdown(["", *shapes(run)], rows)


def shares(run: Run, limit: str) -> str:
    """The share of a measured limit that each implementation reaches, in operations a second."""
    rates = {one["name"]: [shape["gflops"] for shape in one["shapes"]] for one in run["results"]}
    rows = [
        [name(own), *(f"{rate / most:.0%}" for rate, most in zip(found, rates[limit], strict=True))]
        for own, found in rates.items()
    ]
    return markdown(["", *shapes(run)], rows)


def costs(run: Run) -> str:
    """What comes before the second call: importing, loading, the first call; and the memory of it all."""
    rows = [
        [
            title(one),
            f"{one['import_seconds']:.1f}",
            f"{one['load_seconds']:.1f}",
            f"{one['shapes'][0]['first_seconds']:.2f}",
            f"{one['peak_mib']:,}",
        ]
        for one in run["results"]
    ]
    return markdown(["", "import, s", "load, s", f"first call, {shapes(run)[0]}, s", "peak memory, MiB"], rows)


def sentences(run: Run) -> str:
    """Real sentences through a classifier: seconds, tokens a second, and how often the best pipeline's speed."""
    medians = {one["name"]: statistics.median(one["seconds"]) for one in run["results"]}
    best = min(seconds for name, seconds in medians.items() if name.startswith(PIPELINE))
    rows = [
        [
            piped(one["name"]),
            spread(one["seconds"]),
            f"{run['tokens'] / medians[one['name']]:,.0f}",
            f"{best / medians[one['name']]:.2f}",
        ]
        for one in run["results"]
    ]
    return markdown(["", "s", "tokens a second", "times the best pipeline's speed"], rows)


def start(run: Run) -> str:
    """Seconds of a command, from the shell and back."""
    said = {"help": "`roberta --help`"}
    rows = [
        [said.get(one["name"], f"`roberta fill-mask --frameworks {one['name']}`"), spread(one["seconds"])]
        for one in run["results"]
    ]
    return markdown(["", "s"], rows)


def machine(runs: Mapping[str, Run]) -> str:
    """Where each run took place, and how many times each was measured."""
    rows = []
    for part, run in runs.items():
        where, first = run["machine"], run["results"][0]
        counted = len((first["shapes"][0] if "shapes" in first else first)["seconds"])
        rows.append([part, where["cpu"], str(where["cores"]), str(where["load"]), str(counted)])
    return markdown(["run", "CPU", "cores", "load before", "times counted"], rows)


TABLES: dict[str, Callable[[Mapping[str, Run]], str]] = {
    "machine": machine,
    "encoder-times": lambda runs: times(runs["encoder"]),
    "encoder-transformers": lambda runs: ratios(runs["encoder"], {"pt": ["transformers-pt"]}),
    "encoder-openvino": lambda runs: ratios(runs["encoder"], {"openvino": ["pt", "tf", "flax"]}),
    "encoder-limit": lambda runs: shares(runs["encoder"], "limit"),
    "encoder-costs": lambda runs: costs(runs["encoder"]),
    "called-times": lambda runs: times(runs["called"]),
    "called-ratios": lambda runs: ratios(runs["called"], CALLED),
    "variants-times": lambda runs: times(runs["variants"]),
    "variants-ratios": lambda runs: ratios(runs["variants"], dict.fromkeys((*VARIANTS, HALVED), ("pt",))),
    "sentences": lambda runs: sentences(runs["sentences"]),
    "start": lambda runs: start(runs["start"]),
}


def rendered(text: str, runs: Mapping[str, Run]) -> str:
    """Return the page with every table written again; raise `KeyError` if a mark names no table."""
    return MARKED.sub(lambda found: f"{found[1]}\n{TABLES[found[2]](runs)}\n\n{found[3]}", text)


def results(folder: Path = FOLDER) -> dict[str, Run]:
    """The result files by the names of their runs."""
    return {part: json.loads((folder / f"{part}.json").read_text(encoding="utf-8")) for part in PARTS}


def rewrite(page: Path = PAGE, folder: Path = FOLDER) -> None:
    """Put what was measured into the page."""
    page.write_text(rendered(page.read_text(encoding="utf-8"), results(folder)), encoding="utf-8")


def name(contestant: str) -> str:
    """How people call an implementation: `transformers-tf-xla` is transformers, TensorFlow, xla."""
    return ", ".join(TITLES.get(part, part) for part in contestant.split("-"))


def piped(contestant: str) -> str:
    """An implementation of the sentences' run: `pipeline-8` is a pipeline with eight texts a batch."""
    size = contestant.removeprefix(PIPELINE)
    return name(contestant) if size == contestant else f"transformers, pipeline, {size} a batch"


def title(one: Run) -> str:
    """An implementation with its version."""
    return f"{name(one['name'])} {one['version']}"


def shapes(run: Run) -> list[str]:
    """The shapes as headings."""
    return [" x ".join(map(str, shape["shape"])) for shape in run["results"][0]["shapes"]]


def divided(run: Run, one: str, other: str) -> list[float]:
    """The medians of one implementation by those of another."""
    found = {each["name"]: [statistics.median(shape["seconds"]) for shape in each["shapes"]] for each in run["results"]}
    return [first / second for first, second in zip(found[one], found[other], strict=True)]


def spread(values: Sequence[float]) -> str:
    """The median, and the least and most, with three digits."""
    return f"{digits(statistics.median(values))} ({digits(min(values))} to {digits(max(values))})"


def digits(value: float) -> str:
    """A number as a table shows it."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def markdown(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


if __name__ == "__main__":
    rewrite()

"""Load every kind of published checkpoint in every framework and compare its outputs with the stored ones.

`python -m conformance.suite.published_checkpoints FIXTURES` prints a table. FIXTURES is a folder with `hf/` and
`fairseq/`: checkpoints written by transformers and fairseq, and the outputs that those libraries computed in float64.

Shapes: B batch, S sequence, L layers.
"""

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass, field
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from safetensors.numpy import load_file

from roberta_core import backend
from roberta_core.checkpoints import CheckpointError
from roberta_core.cli import frameworks

from .judge import compare

RTOL = 1e-5  # of an output's largest value; transformers in float32 reaches 5.2e-6
PAD = 1
PROBLEMS = {"single_label": "single_label_classification", "multi_label": "multi_label_classification",
            "regression": "regression"}  # fmt: skip
DIFFERENT = {("ForQuestionAnswering", "labels_out_of_range")}  # docs/differences.md: negative positions are ignored
CACHE = ("past_key", "past_value", "past_cross_key", "past_cross_value")
WHOLE = "all_"  # prefix of the inputs and outputs of a whole sequence that the case also runs in two steps
# The outputs in expected/quirks.safetensors of each quirk; the others have the outputs of the plain file.
READINGS = {"bias_conflict": "bias_conflict.decoder_bias_wins", "fp16": "fp16", "bf16": "bf16",
            "v5_untied_zero_bias": "untied"}  # fmt: skip
REFUSED = "prenorm"  # the published classes do not support it
BODY_ONLY = {"relu": "Model"}  # the published language-model head always uses gelu


@dataclass(frozen=True)
class Case:
    """A call of a model: its inputs, its expected outputs, and the settings with which the model is loaded."""

    name: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    settings: Mapping[str, Any] = field(default_factory=dict)
    real: np.ndarray | None = None  # [B, S]: the tokens whose outputs are compared; all if None


@dataclass(frozen=True)
class Entry:
    """A checkpoint and a class; without cases, loading it must fail."""

    name: str
    folder: Path
    architecture: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Cell:
    """The error of a framework on an entry, and what failed, if anything."""

    error: float
    outputs: int
    complaint: str | None = None
    refused: bool = False  # as expected


def list_entries(fixtures: Path) -> Iterator[Entry]:
    """Yield every checkpoint in a folder of fixtures. Raises `ValueError` if it has none."""
    hf, fairseq = fixtures / "hf", fixtures / "fairseq"
    if not (hf / "checkpoints").is_dir() or not (fairseq / "expected").is_dir():
        raise ValueError(f"{fixtures} does not contain hf/checkpoints and fairseq/expected")
    for variant in sorted((hf / "checkpoints").iterdir()):
        for format in sorted(variant.iterdir()):
            cases = read_cases(hf / f"expected/{variant.name}.safetensors")
            yield Entry(f"{variant.name} {format.name}", format, variant.name.split("_")[0], cases)
    for version in sorted((hf / "old").iterdir()):
        for architecture in sorted(version.iterdir()):
            for format in sorted(architecture.iterdir()):
                cases = read_cases(hf / f"expected/{architecture.name}.safetensors")
                yield Entry(f"{version.name} {architecture.name} {format.name}", format, architecture.name, cases)
    for quirk in sorted((hf / "quirks").iterdir()):
        for format in sorted(quirk.iterdir()):
            yield make_quirk(hf, quirk.name, format)
    for folder in sorted(path for path in fairseq.iterdir() if (path / "model.pt").exists()):
        yield from list_fairseq_entries(fairseq, folder)


@cache
def read_cases(path: Path) -> tuple[Case, ...]:
    """Read the cases of a file of expected outputs."""
    sides: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for key, value in load_file(path).items():
        name, side, argument = key.split(".")
        sides.setdefault(name, {"in": {}, "out": {}})[side][argument] = value
    return tuple(
        Case(
            name, make_arguments(side["in"]), side["out"], {"problem_type": PROBLEMS[name]} if name in PROBLEMS else {}
        )
        for name, side in sides.items()
        if (path.stem, name) not in DIFFERENT
    )


def make_arguments(given: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Return the arguments of a call, with a cache as one tuple per layer."""
    found: dict[str, Any] = {name: value for name, value in given.items() if not name.startswith((WHOLE, *CACHE))}
    kinds = [given[name].astype(np.float32) for name in CACHE if name in given]
    if kinds:
        found["past_key_values"] = tuple(tuple(kind[layer] for kind in kinds) for layer in range(len(kinds[0])))
    return found


def make_quirk(hf: Path, quirk: str, format: Path) -> Entry:
    """Return the entry of a file with a quirk, and the logits that it must give."""
    name = f"quirk {quirk} {format.name}"
    if quirk == "base_no_prefix":
        return Entry(name, format, "Model", read_cases(hf / "expected/Model.safetensors"))
    held = load_file(hf / "expected/quirks.safetensors")
    inputs = {key.removeprefix("in."): value for key, value in held.items() if key.startswith("in.")}
    logits = held[f"out.{READINGS.get(quirk, 'plain')}.logits"]
    return Entry(name, format, "ForMaskedLM", (Case("mask", inputs, {"logits": logits}),))


def list_fairseq_entries(fairseq: Path, folder: Path) -> Iterator[Entry]:
    """Yield a fairseq checkpoint as each class whose outputs are stored."""
    kind = folder.name.rpartition("-")[2]
    held = load_file(fairseq / f"expected/{kind}.safetensors")
    classes = {BODY_ONLY.get(kind, "ForMaskedLM"): "lm_logits"}
    if kind == "classification":
        classes["ForSequenceClassification"] = "classification_logits"
    for architecture, logits in classes.items():
        cases = []
        for batch in ("right", "left", "longest"):
            tokens = held[f"{batch}.in.src_tokens"]
            real = tokens != PAD  # fairseq zeroes the others
            mask = {"input_ids": tokens, "attention_mask": real.astype(np.int64)}
            expected = {"hidden_states": held[f"{batch}.out.inner_states"]}
            if architecture != "Model":
                expected["logits"] = held[f"{batch}.out.{logits}"]
            cases.append(Case(batch, mask, expected, real=real))
        name = f"fairseq {folder.name} as {architecture}"
        yield Entry(name, folder, architecture, () if kind == REFUSED else tuple(cases))


def measure(framework: backend.Backend, entry: Entry, only: Sequence[str] = ()) -> Cell:
    """Load an entry in a framework and compare its outputs: all cases, or those in `only`."""
    if not entry.cases:
        return check_refused(framework, entry)
    worst, count = 0.0, 0
    models: dict[Any, Any] = {}
    for case in entry.cases:
        if only and case.name not in only and entry.cases[0].name in only:
            continue
        try:
            key = tuple(case.settings.items())
            if key not in models:
                models[key] = framework.from_pretrained(entry.architecture, entry.folder, **case.settings)
            output = framework.run(models[key], case.inputs, output_hidden_states=True, output_attentions=True)
            for name, want in case.outputs.items():
                if name.startswith(WHOLE):
                    continue  # of the whole sequence: the outputs of the second step are compared
                verdict = compare(name, *select_real(stack_output(output, name), want, case.real), RTOL)
                worst, count = max(worst, verdict.max_rel), count + 1
                if not verdict.ok:
                    return Cell(worst, count, f"{case.name}: {verdict.complaint}")
        except Exception as error:  # other frameworks are still measured
            return Cell(np.inf, count, f"{case.name}: {type(error).__name__}: {error}")
    return Cell(worst, count)


def check_refused(framework: backend.Backend, entry: Entry) -> Cell:
    """Check that an entry cannot be loaded."""
    try:
        framework.from_pretrained(entry.architecture, entry.folder)
    except CheckpointError:
        return Cell(0.0, 1, refused=True)
    return Cell(np.inf, 1, "it loads, although no published class supports it")


def stack_output(output: Any, name: str) -> np.ndarray:
    """Return an output stacked over layers, as in the files."""
    if name in CACHE:
        return np.stack([layer[CACHE.index(name)] for layer in output.past_key_values])
    return np.stack(output[name]) if isinstance(output[name], tuple) else np.asarray(output[name])


def select_real(got: np.ndarray, want: np.ndarray, real: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Return both arrays at the real tokens; for one value per row, in the rows that start with a real token."""
    if real is None or got.shape != want.shape:
        return got, want
    if want.ndim == 4:  # [L, B, S, D]
        return got[:, real], want[:, real]
    return (got[real], want[real]) if want.ndim == 3 else (got[real[:, 0]], want[real[:, 0]])


def make_table(found: Mapping[str, Mapping[str, Cell]], names: Sequence[str]) -> Any:
    """Return a table with a row for each entry and a column for each framework."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=f"largest error of any output / its largest value; tolerance {RTOL:.0e}")
    made.add_column("checkpoint", overflow="fold")
    made.add_column("outputs", justify="right")
    for name in names:
        made.add_column(name, justify="right")
    for row, cells in found.items():
        outputs = str(max(cell.outputs for cell in cells.values()))
        shown = [Text(describe_cell(cell), style="red" if cell.complaint else "") for cell in cells.values()]
        made.add_row(row, outputs, *shown)
    return made


def describe_cell(cell: Cell) -> str:
    """Return the text of a cell."""
    if cell.complaint:
        return "fails" if np.isinf(cell.error) else f"{cell.error:.1e} fails"
    return "refused" if cell.refused else f"{cell.error:.1e}"


def measure_in_processes(
    fixtures: Path, name: str, groups: Sequence[Sequence[str]], only: Sequence[str]
) -> dict[str, Cell]:
    """Measure a framework's column, each group of rows in a separate process.

    The compilers of two frameworks crashed in one process, and one compiler crashed after thousands of programs.
    """
    found = {}
    for some in groups:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            try:
                found |= pool.submit(measure_rows, fixtures, name, some, only).result()
            except BrokenProcessPool:
                found |= {row: Cell(np.inf, 0, "its process ended unexpectedly") for row in some}
    return found


def measure_rows(fixtures: Path, name: str, rows: Sequence[str], only: Sequence[str]) -> dict[str, Cell]:
    """Measure entries in one framework and log each on stderr."""
    framework, found = frameworks.load_backend(name), {}
    for entry in list_entries(fixtures):
        if entry.name in rows:
            found[entry.name] = measure(framework, entry, only)
            print(f"{name}: {entry.name}: {describe_cell(found[entry.name])}", file=sys.stderr, flush=True)
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Print the table. Returns 1 if anything failed, else 0."""
    options = argparse.ArgumentParser(prog="python -m conformance.suite.published_checkpoints")
    options.add_argument("fixtures", type=Path, help="a folder with hf/ and fairseq/")
    options.add_argument("--frameworks", default="", help="comma-separated names; default: all that are installed")
    options.add_argument("--match", default="", help="only checkpoints whose name contains this")
    options.add_argument("--cases", default="", help="only these cases of the stored outputs, such as mask")
    options.add_argument("--json", type=Path, help="write JSON to this file")
    options = options.parse_args(given)
    from rich.console import Console

    names = [name for name in options.frameworks.split(",") if name] or list(backend.available())
    only = [name for name in options.cases.split(",") if name]
    rows = {entry.name: entry.architecture for entry in list_entries(options.fixtures) if options.match in entry.name}
    # One process per class: its checkpoints share compiled programs.
    groups = [[row for row in rows if rows[row] == architecture] for architecture in dict.fromkeys(rows.values())]
    with ThreadPoolExecutor() as pool:
        measured = list(pool.map(lambda name: measure_in_processes(options.fixtures, name, groups, only), names))
    found = {row: {name: column[row] for name, column in zip(names, measured, strict=True)} for row in rows}
    Console(width=None if sys.stdout.isatty() else 120).print(make_table(found, names))
    cells = {(row, name): cell for row, line in found.items() for name, cell in line.items()}
    wrong = {place: cell.complaint for place, cell in cells.items() if cell.complaint}
    for (row, name), complaint in wrong.items():
        print(f"{row} in {name}: {complaint}")
    if options.json:
        facts = {row: {name: vars(cell) for name, cell in line.items()} for row, line in found.items()}
        options.json.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    worst = max((cell.error for cell in cells.values()), default=0.0)
    print(f"{len(found)} checkpoints in {', '.join(names)}: {len(wrong)} of {len(cells)} fail; worst error {worst:.1e}")
    return bool(wrong) or not cells


if __name__ == "__main__":
    sys.exit(main())

"""Every published kind of checkpoint in every framework, against the outputs that are kept beside it.

`python -m conformance.matrix FIXTURES` prints it as a table. FIXTURES is a folder with `hf/` and `fairseq/`, whose
READMEs say what the files are: checkpoints written by transformers and fairseq themselves, and outputs that those
computed from them in float64.

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

from conformance.compare import compare
from roberta_core import backend
from roberta_core.checkpoints import CheckpointError
from roberta_core.cli import frameworks

RTOL = 1e-5  # of an output's largest value; transformers itself scores 5.2e-6 in float32
PAD = 1
PROBLEMS = {"single_label": "single_label_classification", "multi_label": "multi_label_classification",
            "regression": "regression"}  # fmt: skip
DIFFERENT = {("ForQuestionAnswering", "labels_out_of_range")}  # docs/differences.md: negative positions are ignored
CACHE = ("past_key", "past_value", "past_cross_key", "past_cross_value")
WHOLE = "all_"  # before inputs and outputs of a sequence that the case also takes in two steps
# Which of the outputs in expected/quirks.safetensors a quirk gives; the others mean what the plain file means.
READINGS = {"bias_conflict": "bias_conflict.decoder_bias_wins", "fp16": "fp16", "bf16": "bf16",
            "v5_untied_zero_bias": "untied"}  # fmt: skip
REFUSED = "prenorm"  # what the published classes cannot express
BODY_ONLY = {"relu": "Model"}  # the published language-model head always takes gelu


@dataclass(frozen=True)
class Case:
    """A call of a model: its inputs, the outputs that it must give, and the settings that the model is loaded with."""

    name: str
    inputs: Mapping[str, np.ndarray]
    outputs: Mapping[str, np.ndarray]
    settings: Mapping[str, Any] = field(default_factory=dict)
    real: np.ndarray | None = None  # [B, S]: where outputs are compared; everywhere if None


@dataclass(frozen=True)
class Entry:
    """A checkpoint as a class; without cases it must be refused."""

    name: str
    folder: Path
    architecture: str
    cases: tuple[Case, ...]


@dataclass(frozen=True)
class Cell:
    """How far a framework is from the outputs of an entry, and what is wrong if something is."""

    error: float
    outputs: int
    complaint: str | None = None
    refused: bool = False  # as it must be


def entries(fixtures: Path) -> Iterator[Entry]:
    """Every checkpoint below a folder of fixtures. `ValueError` if it is none."""
    hf, fairseq = fixtures / "hf", fixtures / "fairseq"
    if not (hf / "checkpoints").is_dir() or not (fairseq / "expected").is_dir():
        raise ValueError(f"{fixtures} has no hf/checkpoints and fairseq/expected")
    for variant in sorted((hf / "checkpoints").iterdir()):
        for format in sorted(variant.iterdir()):
            cases = published(hf / f"expected/{variant.name}.safetensors")
            yield Entry(f"{variant.name} {format.name}", format, variant.name.split("_")[0], cases)
    for version in sorted((hf / "old").iterdir()):
        for architecture in sorted(version.iterdir()):
            for format in sorted(architecture.iterdir()):
                cases = published(hf / f"expected/{architecture.name}.safetensors")
                yield Entry(f"{version.name} {architecture.name} {format.name}", format, architecture.name, cases)
    for quirk in sorted((hf / "quirks").iterdir()):
        for format in sorted(quirk.iterdir()):
            yield quirky(hf, quirk.name, format)
    for folder in sorted(path for path in fairseq.iterdir() if (path / "model.pt").exists()):
        yield from of_fairseq(fairseq, folder)


@cache
def published(path: Path) -> tuple[Case, ...]:
    """The cases in a file of expected outputs."""
    sides: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for key, value in load_file(path).items():
        name, side, argument = key.split(".")
        sides.setdefault(name, {"in": {}, "out": {}})[side][argument] = value
    return tuple(
        Case(name, arguments(side["in"]), side["out"], {"problem_type": PROBLEMS[name]} if name in PROBLEMS else {})
        for name, side in sides.items()
        if (path.stem, name) not in DIFFERENT
    )


def arguments(given: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The arguments of a call; a cache as a tuple a layer."""
    found: dict[str, Any] = {name: value for name, value in given.items() if not name.startswith((WHOLE, *CACHE))}
    kinds = [given[name].astype(np.float32) for name in CACHE if name in given]
    if kinds:
        found["past_key_values"] = tuple(tuple(kind[layer] for kind in kinds) for layer in range(len(kinds[0])))
    return found


def quirky(hf: Path, quirk: str, format: Path) -> Entry:
    """An odd file: it gives the logits of its reading, or those of a body whose head is not in it."""
    name = f"quirk {quirk} {format.name}"
    if quirk == "base_no_prefix":
        return Entry(name, format, "Model", published(hf / "expected/Model.safetensors"))
    held = load_file(hf / "expected/quirks.safetensors")
    inputs = {key.removeprefix("in."): value for key, value in held.items() if key.startswith("in.")}
    logits = held[f"out.{READINGS.get(quirk, 'plain')}.logits"]
    return Entry(name, format, "ForMaskedLM", (Case("mask", inputs, {"logits": logits}),))


def of_fairseq(fairseq: Path, folder: Path) -> Iterator[Entry]:
    """A checkpoint of fairseq as the classes whose outputs it has."""
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
            wanted = {"hidden_states": held[f"{batch}.out.inner_states"]}
            if architecture != "Model":
                wanted["logits"] = held[f"{batch}.out.{logits}"]
            cases.append(Case(batch, mask, wanted, real=real))
        name = f"fairseq {folder.name} as {architecture}"
        yield Entry(name, folder, architecture, () if kind == REFUSED else tuple(cases))


def measure(framework: backend.Backend, entry: Entry, only: Sequence[str] = ()) -> Cell:
    """Load an entry in a framework and compare all its outputs, or those of the cases in `only`."""
    if not entry.cases:
        return refused(framework, entry)
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
                    continue  # of the whole sequence at once: the step's are compared
                verdict = compare(name, *restricted(output_of(output, name), want, case.real), RTOL)
                worst, count = max(worst, verdict.max_rel), count + 1
                if not verdict.ok:
                    return Cell(worst, count, f"{case.name}: {verdict.complaint}")
        except Exception as error:  # what one framework cannot do, the others may
            return Cell(np.inf, count, f"{case.name}: {type(error).__name__}: {error}")
    return Cell(worst, count)


def refused(framework: backend.Backend, entry: Entry) -> Cell:
    """An entry that must not load."""
    try:
        framework.from_pretrained(entry.architecture, entry.folder)
    except CheckpointError:
        return Cell(0.0, 1, refused=True)
    return Cell(np.inf, 1, "it loads, but no published class can express it")


def output_of(output: Any, name: str) -> np.ndarray:
    """An output as the files hold it: stacked over layers."""
    if name in CACHE:
        return np.stack([layer[CACHE.index(name)] for layer in output.past_key_values])
    return np.stack(output[name]) if isinstance(output[name], tuple) else np.asarray(output[name])


def restricted(got: np.ndarray, want: np.ndarray, real: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Both at the real tokens; of one value a row, in the rows that begin with one."""
    if real is None or got.shape != want.shape:
        return got, want
    if want.ndim == 4:  # [L, B, S, D]
        return got[:, real], want[:, real]
    return (got[real], want[real]) if want.ndim == 3 else (got[real[:, 0]], want[real[:, 0]])


def table(found: Mapping[str, Mapping[str, Cell]], names: Sequence[str]) -> Any:
    """A row an entry, a column a framework."""
    from rich.table import Table
    from rich.text import Text

    made = Table(title=f"largest error of any output, in parts of its largest value; at most {RTOL:.0e}")
    made.add_column("checkpoint", overflow="fold")
    made.add_column("outputs", justify="right")
    for name in names:
        made.add_column(name, justify="right")
    for row, cells in found.items():
        outputs = str(max(cell.outputs for cell in cells.values()))
        shown = [Text(said(cell), style="red" if cell.complaint else "") for cell in cells.values()]
        made.add_row(row, outputs, *shown)
    return made


def said(cell: Cell) -> str:
    """A cell in a word."""
    if cell.complaint:
        return "fails" if np.isinf(cell.error) else f"{cell.error:.1e} fails"
    return "refused" if cell.refused else f"{cell.error:.1e}"


def apart(fixtures: Path, name: str, groups: Sequence[Sequence[str]], only: Sequence[str]) -> dict[str, Cell]:
    """A framework's column, each group of rows measured in a process of its own.

    The compilers of two frameworks crashed in one, and so did one after the thousands of programs of all rows.
    """
    found = {}
    for some in groups:
        with ProcessPoolExecutor(1, get_context("spawn")) as pool:
            try:
                found |= pool.submit(column, fixtures, name, some, only).result()
            except BrokenProcessPool:
                found |= {row: Cell(np.inf, 0, "its process died") for row in some}
    return found


def column(fixtures: Path, name: str, rows: Sequence[str], only: Sequence[str]) -> dict[str, Cell]:
    """The named entries in one framework, told on stderr as they come."""
    framework, found = frameworks.load_backend(name), {}
    for entry in entries(fixtures):
        if entry.name in rows:
            found[entry.name] = measure(framework, entry, only)
            print(f"{name}: {entry.name}: {said(found[entry.name])}", file=sys.stderr, flush=True)
    return found


def main(given: Sequence[str] | None = None) -> int:
    """Print the table; the exit status is 1 if something in it fails."""
    options = argparse.ArgumentParser(prog="python -m conformance.matrix")
    options.add_argument("fixtures", type=Path, help="a folder with hf/ and fairseq/")
    options.add_argument("--frameworks", default="", help="names with commas between; otherwise all that are installed")
    options.add_argument("--match", default="", help="only checkpoints with this in their name")
    options.add_argument("--cases", default="", help="only these cases of the published outputs, such as mask")
    options.add_argument("--json", type=Path, help="write JSON too")
    options = options.parse_args(given)
    from rich.console import Console

    names = [name for name in options.frameworks.split(",") if name] or list(backend.available())
    only = [name for name in options.cases.split(",") if name]
    rows = {entry.name: entry.architecture for entry in entries(options.fixtures) if options.match in entry.name}
    # A process a class: what is compiled for one of its checkpoints serves the others.
    groups = [[row for row in rows if rows[row] == architecture] for architecture in dict.fromkeys(rows.values())]
    with ThreadPoolExecutor() as pool:
        measured = list(pool.map(lambda name: apart(options.fixtures, name, groups, only), names))
    found = {row: {name: column[row] for name, column in zip(names, measured, strict=True)} for row in rows}
    Console(width=None if sys.stdout.isatty() else 120).print(table(found, names))
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

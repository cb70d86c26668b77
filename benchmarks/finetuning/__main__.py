"""`python -m benchmarks.finetuning`: real tasks, fine-tuned in every framework, beside others.

It can be stopped and started again: a run that is done is not done again. The table is printed from what is there.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.finetuning.contestants import adapted, framework, simple, trainer
from benchmarks.finetuning.data import DATA
from benchmarks.finetuning.table import table

RECIPES = {
    "sst2": "tiny-classification", "wnut17": "tiny-tagging", "codah": "tiny-choice", "squad": "tiny-answering"
}  # fmt: skip
RESULTS = "results.json"


def main(
    data: Annotated[Path, typer.Option(help="The folder with sst2, wnut17, codah and squad.")] = Path("../shared/data"),
    work: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("finetuning-runs"),
    model: Annotated[str, typer.Option(help="What is fine-tuned.")] = "roberta-tiny",
    tasks: Annotated[str, typer.Option(help="Of sst2, wnut17, codah, squad.")] = ",".join(DATA),
    frameworks: Annotated[str, typer.Option(help="Of pt, tf, flax; the first one shows the noise.")] = "pt,tf,flax",
    seeds: Annotated[str, typer.Option(help="The first is everyone's; the others show the noise.")] = "1,2,3",
    peer: Annotated[str | None, typer.Option(help="The python of an environment with transformers 5.")] = None,
    runs: Annotated[int | None, typer.Option(help="Make at most so many more runs now.")] = None,
) -> None:
    """Fine-tune, and print the table."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / RESULTS
    done: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    chosen = tasks.split(",")
    plans = _plans(data, work, model, chosen, frameworks.split(","), seeds.split(","), peer)
    left = [(key, make) for key, make in plans if key not in done]
    for key, make in left[:runs]:
        print(f"{key} ...", file=sys.stderr, flush=True)
        done[key] = make()
        path.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    print(table(done, {name: DATA[name](data, work / "data") for name in chosen}))
    if runs is not None and len(left) > runs:
        raise typer.Exit(3)  # more to do


def _plans(
    data: Path, work: Path, model: str, tasks: list[str], frameworks: list[str], seeds: list[str], peer: str | None
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """The runs in order: what compares the frameworks first, then the noise, for each task."""
    for name in tasks:
        files, recipe = DATA[name](data, work / "data"), RECIPES[name]
        yield f"{name}/baselines", lambda files=files: simple(files, work)
        given = model
        if files.texts is not None:
            given = str(work / name / "adapted" / "model")
            folder = work / name / "adapted"
            yield f"{name}/adapted", lambda a=(files.texts, model, frameworks[0], folder): adapted(*a)
        pairs = [(one, seeds[0]) for one in frameworks] + [(frameworks[0], seed) for seed in seeds[1:]]
        for one, seed in pairs:
            folder = work / name / f"{one}-{seed}"
            yield f"{name}/{one}-{seed}", lambda a=(files, recipe, given, one, int(seed), folder): framework(*a)
        if peer:
            folder = work / name / f"peer-{seeds[0]}"
            yield f"{name}/peer-{seeds[0]}", lambda a=(files, recipe, given, peer, int(seeds[0]), folder): trainer(*a)


if __name__ == "__main__":
    typer.run(main)

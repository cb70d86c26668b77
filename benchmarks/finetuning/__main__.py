"""`python -m benchmarks.finetuning`: fine-tune on real tasks in every framework and compare the scores with baselines.

The command can be interrupted and started again; completed runs are not repeated. The table has the completed runs.
"""

import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from benchmarks.finetuning.contestants import adapt_model, run_baselines, run_framework, run_trainer
from benchmarks.finetuning.data import DATA
from benchmarks.finetuning.table import format_table

RECIPES = {
    "sst2": "tiny-classification", "wnut17": "tiny-tagging", "codah": "tiny-choice", "squad": "tiny-answering"
}  # fmt: skip
RESULTS = "results.json"


def main(
    data: Annotated[Path, typer.Option(help="Folder with sst2, wnut17, codah and squad.")] = Path("../shared/data"),
    work: Annotated[Path, typer.Option(help="Folder for the runs.")] = Path("finetuning-runs"),
    model: Annotated[str, typer.Option(help="Model to fine-tune.")] = "roberta-tiny",
    tasks: Annotated[str, typer.Option(help="Tasks, separated by commas.")] = ",".join(DATA),
    frameworks: Annotated[str, typer.Option(help="Frameworks, separated by commas.")] = "pt,tf,flax",
    seeds: Annotated[
        str, typer.Option(help="Seeds, separated by commas. Only the first framework uses all of them.")
    ] = "1,2,3",
    peer: Annotated[str | None, typer.Option(help="Python interpreter of an environment with transformers 5.")] = None,
    runs: Annotated[int | None, typer.Option(help="Maximum number of new runs. Exits with 3 if more are left.")] = None,
) -> None:
    """Fine-tune and print the table."""
    work.mkdir(parents=True, exist_ok=True)
    path = work / RESULTS
    done: dict[str, dict[str, Any]] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    chosen = tasks.split(",")
    plans = _plan_runs(data, work, model, chosen, frameworks.split(","), seeds.split(","), peer)
    left = [(key, run) for key, run in plans if key not in done]
    for key, run in left[:runs]:
        print(f"{key} ...", file=sys.stderr, flush=True)
        done[key] = run()
        path.write_text(json.dumps(done, indent=1) + "\n", encoding="utf-8")
    print(format_table(done, {name: DATA[name](data, work / "data") for name in chosen}))
    if runs is not None and len(left) > runs:
        raise typer.Exit(3)  # more runs are left


def _plan_runs(
    data: Path, work: Path, model: str, tasks: list[str], frameworks: list[str], seeds: list[str], peer: str | None
) -> Iterator[tuple[str, Callable[[], dict[str, Any]]]]:
    """Yield the key and function of each run; per task, first those that compare frameworks, then the other seeds."""
    for name in tasks:
        files, recipe = DATA[name](data, work / "data"), RECIPES[name]
        yield f"{name}/baselines", lambda files=files: run_baselines(files)
        base = model
        if files.texts is not None:
            base = str(work / name / "adapted" / "model")
            folder = work / name / "adapted"
            yield f"{name}/adapted", lambda a=(files.texts, model, frameworks[0], folder): adapt_model(*a)
        pairs = [(one, seeds[0]) for one in frameworks] + [(frameworks[0], seed) for seed in seeds[1:]]
        for one, seed in pairs:
            folder = work / name / f"{one}-{seed}"
            yield f"{name}/{one}-{seed}", lambda a=(files, recipe, base, one, int(seed), folder): run_framework(*a)
        if peer:
            folder = work / name / f"peer-{seeds[0]}"
            yield (
                f"{name}/peer-{seeds[0]}",
                lambda a=(files, recipe, base, peer, int(seeds[0]), folder): run_trainer(*a),
            )


if __name__ == "__main__":
    typer.run(main)

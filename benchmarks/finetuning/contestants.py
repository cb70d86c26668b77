"""The runs of the benchmark: one process each, a JSON file of scores each."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.finetuning.baselines import baselines
from benchmarks.finetuning.data import Data
from roberta_bench.process import ROBERTA
from roberta_core.checkpoints import resolve
from roberta_core.data.records import Skipped, read
from roberta_core.tasks import Example, Feature, Task
from roberta_core.training.finetune_run import Reading, build_task, resolve_schedule
from roberta_core.training.recipe import Recipe

ADAPTATION = "tiny-adaptation"
PEER = Path(__file__).with_name("peer.py")


def adapted(texts: Path, model: str, name: str, folder: Path) -> dict[str, Any]:
    """`roberta pretrain` of a checkpoint on the training texts of a task: what is then fine-tuned by everyone."""
    command = [*ROBERTA, "pretrain", "--model", model, "--recipe", ADAPTATION, "--framework", name]
    begin = time.perf_counter()
    _run([*command, "--texts", f"{texts}/*.txt", "--output", str(folder), "--json"])
    return {"seconds": round(time.perf_counter() - begin)}


def framework(data: Data, recipe: str, model: str, name: str, seed: int, folder: Path) -> dict[str, Any]:
    """`roberta finetune` in a framework with a seed; the scores on the test file."""
    command = [*ROBERTA, "finetune", data.task, "--json", *data.options]
    command += ["--train", str(data.train), "--validation", str(data.test), "--recipe", recipe, "--model", model]
    command += ["--framework", name, "--seeds", str(seed), "--output", str(folder)]
    begin = time.perf_counter()
    _run(command)
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return {"who": found["framework"], "scores": found["median"], "seconds": round(time.perf_counter() - begin)}


def trainer(data: Data, recipe: str, model: str, python: str, seed: int, folder: Path) -> dict[str, Any]:
    """Transformers' Trainer on the same weights, features and recipe, scored by the same measures."""
    plan = Recipe.load(recipe)
    options = dict(zip(data.options[::2], data.options[1::2], strict=True))
    header = tuple(options["--header"].split(",")) if "--header" in options else ()
    task = build_task(data.task, model, plan.task, Reading())
    sets: list[tuple[list[Example], list[Feature]]] = []
    for path in (data.train, data.test):
        records = read(path, Skipped(strict=True), format=options.get("--format"), header=header)
        examples = task.collect_examples(records, Skipped(strict=True), learn=not sets)
        sets.append((examples, task.build_features(examples)))
    (_, train), (examples, test) = sets
    folder.mkdir(parents=True, exist_ok=True)
    outputs = folder / "outputs.npz"
    spec = _spec(task, resolve_schedule(plan, len(train)), model, seed) | {"outputs": str(outputs)}
    spec |= {"train": [_row(feature) for feature in train], "test": [_row(feature) for feature in test]}
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    begin = time.perf_counter()
    printed = _run([python, str(PEER), str(folder / "spec.json")])
    seconds = round(time.perf_counter() - begin)
    rows: list[dict[str, np.ndarray]] = [{} for _ in test]
    with np.load(outputs) as arrays:
        for key in arrays.files:
            number, _, name = key.partition("/")
            rows[int(number)][name] = arrays[key]
    version = json.loads(printed.splitlines()[-1])["version"]
    scores = task.score(examples, [task.value_of(found) for found in task.decode(examples, test, rows)])
    return {"who": f"transformers {version}, Trainer", "scores": scores, "seconds": seconds}


def simple(data: Data, folder: Path) -> dict[str, Any]:
    """Every baseline of a task."""
    return {"who": "baselines", "all": baselines(data)}


def _spec(task: Task, plan: Recipe, model: str, seed: int) -> dict[str, Any]:
    settings = plan.optimizer
    return {
        "model": str(resolve(model)),
        "architecture": task.architecture,
        "config": {**plan.model, **task.config()},
        "seed": seed,
        "threads": plan.run.threads,
        "arguments": {
            "max_steps": settings.steps,
            "warmup_steps": settings.warmup_steps,
            "per_device_train_batch_size": settings.batch_size,
            "learning_rate": settings.peak_learning_rate,
            "adam_beta1": settings.beta1,
            "adam_beta2": settings.beta2,
            "adam_epsilon": settings.epsilon,
            "weight_decay": settings.weight_decay,
            "max_grad_norm": settings.clip_norm,
            "bf16": settings.precision == "bfloat16",
        },
    }


def _row(feature: Feature) -> dict[str, Any]:
    return {"ids": feature.ids, **feature.targets}


def _run(command: list[str]) -> str:
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command[:5])} ... ended with {done.returncode}:\n{done.stderr[-2000:]}")
    return done.stdout

"""The runs of the benchmark: each trains in a separate process and returns its scores."""

import json
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.finetuning.baselines import score_baselines
from benchmarks.finetuning.data import Data
from roberta_bench.process import ROBERTA
from roberta_core.checkpoints import resolve
from roberta_core.data.records import Skipped, read
from roberta_core.tasks import Example, Feature, Task
from roberta_core.training.finetune_run import Reading, build_task, resolve_schedule
from roberta_core.training.recipe import Recipe

ADAPTATION = "tiny-adaptation"
PEER = Path(__file__).with_name("peer.py")


def adapt_model(texts: Path, model: str, name: str, folder: Path) -> dict[str, Any]:
    """Pretrain the model further on the training texts of a task; all runs then fine-tune the result."""
    command = [*ROBERTA, "pretrain", "--model", model, "--recipe", ADAPTATION, "--framework", name]
    begin = time.perf_counter()
    run_command([*command, "--texts", f"{texts}/*.txt", "--output", str(folder), "--json"])
    return {"seconds": round(time.perf_counter() - begin)}


def run_framework(data: Data, recipe: str, model: str, name: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run `roberta finetune` in a framework with a seed; return the scores on the test file."""
    command = [*ROBERTA, "finetune", data.task, "--json", *data.options]
    command += ["--train", str(data.train), "--validation", str(data.test), "--recipe", recipe, "--model", model]
    command += ["--framework", name, "--seeds", str(seed), "--output", str(folder)]
    begin = time.perf_counter()
    run_command(command)
    found = json.loads((folder / "result.json").read_text(encoding="utf-8"))
    return {"who": found["framework"], "scores": found["median"], "seconds": round(time.perf_counter() - begin)}


def run_trainer(data: Data, recipe: str, model: str, python: str, seed: int, folder: Path) -> dict[str, Any]:
    """Run the Trainer of transformers on the same weights, features and recipe; return the same scores."""
    plan = Recipe.load(recipe)
    options = dict(zip(data.options[::2], data.options[1::2], strict=True))
    header = tuple(options["--header"].split(",")) if "--header" in options else ()
    task = build_task(data.task, model, plan.task, Reading())
    sets: list[tuple[list[Example], list[Feature]]] = []
    for path in (data.train, data.test):
        records = read(path, Skipped(strict=True), format=options.get("--input-format"), header=header)
        examples = task.collect_examples(records, Skipped(strict=True), learn=not sets)
        sets.append((examples, task.build_features(examples)))
    (_, train), (examples, test) = sets
    folder.mkdir(parents=True, exist_ok=True)
    outputs = folder / "outputs.npz"
    spec = build_spec(task, resolve_schedule(plan, len(train)), model, seed) | {"outputs": str(outputs)}
    spec |= {
        "train": [feature_to_row(feature) for feature in train],
        "test": [feature_to_row(feature) for feature in test],
    }
    (folder / "spec.json").write_text(json.dumps(spec), encoding="utf-8")
    begin = time.perf_counter()
    output = run_command([python, str(PEER), str(folder / "spec.json")])
    seconds = round(time.perf_counter() - begin)
    rows: list[dict[str, np.ndarray]] = [{} for _ in test]
    with np.load(outputs) as arrays:
        for key in arrays.files:
            number, _, name = key.partition("/")
            rows[int(number)][name] = arrays[key]
    version = json.loads(output.splitlines()[-1])["version"]
    scores = task.score(examples, [task.value_of(found) for found in task.decode(examples, test, rows)])
    return {"who": f"transformers {version}, Trainer", "scores": scores, "seconds": seconds}


def run_baselines(data: Data) -> dict[str, Any]:
    """Return the scores of every baseline of a task."""
    return {"who": "baselines", "all": score_baselines(data)}


def build_spec(task: Task, plan: Recipe, model: str, seed: int) -> dict[str, Any]:
    """Return what peer.py needs besides the features: the checkpoint, the class, the settings and the seed."""
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


def feature_to_row(feature: Feature) -> dict[str, Any]:
    """Return the ids and the targets of a feature."""
    return {"ids": feature.ids, **feature.targets}


def run_command(command: list[str]) -> str:
    """Run a command and return its standard output; raise `RuntimeError` if it fails."""
    completed = subprocess.run(command, capture_output=True, text=True)
    if completed.returncode:
        raise RuntimeError(
            f"{' '.join(command[:5])} ... exited with status {completed.returncode}:\n{completed.stderr[-2000:]}"
        )
    return completed.stdout

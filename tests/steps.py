"""A small model, its recipe and its batches, to test training steps in any framework."""

import subprocess
import sys
import time
from pathlib import Path
from signal import SIGKILL

import numpy as np

from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.parameters import draw, has_weight_decay, parameters
from roberta_core.training.recipe import Recipe

MODEL = {
    "hidden_size": 12,
    "num_hidden_layers": 1,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 19,
}
OPTIMIZER = {"batch_size": 4, "steps": 50, "warmup_steps": 5, "peak_learning_rate": 1e-2}
RATE = 1e-2
STARTS = np.arange(40) * 9
DATA = MaskedBlocks(
    np.arange(369) % 90 + 4, np.stack([STARTS, STARTS + 9 + np.arange(40) % 4], axis=1), Masking(101, 100, 0.3), 16, 1
)
CLASSES = {
    "ForCausalLM": {"labels": np.array([[5, 6, 7, -100, 8], [9, 4, -100, -100, -100]])},
    "ForMaskedLM": {"labels": np.array([[-100, 6, -100, 7, -100], [9, -100, -100, -100, -100]])},
    "ForSequenceClassification": {"labels": np.array([1, 0])},
    "ForMultipleChoice": {"labels": np.array([1, 0])},
    "ForTokenClassification": {"labels": np.array([[0, 1, -100, 1, 1], [0, -100, -100, -100, -100]])},
    "ForQuestionAnswering": {"start_positions": np.array([1, 0]), "end_positions": np.array([3, 2])},
}


def build_recipe(dropout: float = 0.0, run: dict | None = None, **optimizer) -> Recipe:
    """Return the recipe with a dropout rate and other settings of the optimiser."""
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    return Recipe.from_dict(
        {
            "model": MODEL | rates,
            "data": {"sequence_length": 16},
            "optimizer": OPTIMIZER | optimizer,
            "run": {"threads": 1, **(run or {})},
        }
    )


def build_trainer(
    backend, plan: Recipe | None = None, architecture: str = "ForMaskedLM", seed: int = 0, scale: float = 1.0
):
    """Return a trainer of a randomly initialised model whose matrices and embeddings are multiplied by `scale`."""
    plan = plan or build_recipe()
    config = plan.config(101)
    config.is_decoder = architecture == "ForCausalLM"
    table = parameters(config, architecture)
    tensors = {
        name: array * np.float32(scale if has_weight_decay(table[name]) else 1)
        for name, array in draw(config, architecture, seed)
    }
    return backend.trainer(backend.from_tensors(architecture, config, tensors), plan)


def build_batch(number: int, rows: int = 4) -> dict[str, np.ndarray]:
    """Return a pretraining batch; its rows have different numbers of masked tokens."""
    return DATA.batch(number, rows)


def expand_labels(masked: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Convert a pretraining batch to the inputs of the model class, with a label for every token."""
    labels = np.full_like(masked["input_ids"], -100)
    rows, places = np.nonzero(masked["masked_labels"] != -100)
    labels[rows, masked["masked_positions"][rows, places]] = masked["masked_labels"][rows, places]
    return {"input_ids": masked["input_ids"], "attention_mask": masked["attention_mask"], "labels": labels}


def build_task_batch(architecture: str) -> dict[str, np.ndarray]:
    """Return a batch of two rows with labels for a class; the second row is padded."""
    ids = np.array([[0, 45, 9, 100, 2], [0, 33, 2, 1, 1]])
    if architecture == "ForMultipleChoice":
        ids = np.stack([ids, ids[::-1], ids], axis=1)
    return {"input_ids": ids, "attention_mask": (ids != 1).astype(np.int64), **CLASSES[architecture]}


def run_steps(trainer, numbers, rate: float = RATE) -> list[float]:
    """Train on these batches and return the losses."""
    return [float(trainer.step([build_batch(number)], rate)["loss"]) for number in numbers]


def find_differences(one, other) -> list[str]:
    """Return the names of the tensors and moments that are not bitwise equal in two states."""
    parts = ("tensors", "first_moments", "second_moments")
    return [
        f"{part} {name}"
        for part in parts
        for name, array in getattr(one, part).items()
        if array.tobytes() != getattr(other, part)[name].tobytes()
    ]


TOML = """
[model]
hidden_size = 12
num_hidden_layers = 1
num_attention_heads = 3
intermediate_size = 20
max_position_embeddings = 19
hidden_dropout_prob = {dropout}
attention_probs_dropout_prob = {dropout}
[data]
sequence_length = 16
held_out = ["1.txt"]
[optimizer]
batch_size = 4
steps = {steps}
warmup_steps = 10
peak_learning_rate = 5e-3
[run]
threads = 1
log_every = 1
evaluate_every = {steps}
evaluation_blocks = 16
checkpoint_every = 3
"""
LIMIT = 600  # seconds of CPU time; compiling and 90 steps take 30
PAUSE, LOOKS = 0.002, 600_000  # seconds between two checks, and number of checks: 20 minutes for a process that sleeps
LIMITED = """
from resource import RLIMIT_CPU, getrlimit, setrlimit
from roberta_core.cli import main
setrlimit(RLIMIT_CPU, ({}, getrlimit(RLIMIT_CPU)[1]))
main()
"""
WORDS = ["the", "old", "man", "came", "to", "a", "house", "by", "sea", "and", "said", "nothing", "of", "it"]


def write_texts(folder: Path, dropout: float, steps: int) -> Path:
    """Write three documents, a tokenizer and a recipe into a folder."""
    from roberta_core.tokenization import train_tokenizer

    generator = np.random.default_rng(0)
    for number in range(3):
        sentences = (" ".join(generator.choice(WORDS, 8)).capitalize() + "." for _ in range(50))
        (folder / f"{number}.txt").write_text(" ".join(sentences) + "\n")
    train_tokenizer(sorted(folder.glob("[0-9].txt")), 300, folder)
    (folder / "recipe.toml").write_text(TOML.format(dropout=dropout, steps=steps))
    return folder


def build_command(folder: Path, output: Path, framework: str, *further: str) -> list[str]:
    """Return the arguments of `roberta pretrain`."""
    return [
        "pretrain", "--texts", str(folder / "[0-9].txt"), "--tokenizer", str(folder), "--recipe",
        str(folder / "recipe.toml"), "--output", str(output), "--framework", framework, "--json", *further,
    ]  # fmt: skip


def run_command(arguments: list[str]) -> None:
    """Run the command in this process until it exits."""
    from roberta_core import cli

    status = 0
    try:
        cli.main(arguments)
    except SystemExit as end:
        status = end.code
    assert not status, f"it exited with {status}"


def run_and_kill(
    arguments: list[str], output: Path, step: int, delay: float = 0.0, limit: int = LIMIT, looks: int = LOOKS
) -> None:
    """Run the command in a separate process and kill it `delay` seconds after its checkpoint of that step.

    Neither limit elapses while the machine is suspended: `limit` is CPU time, `looks` is a number of checks.
    """
    process = subprocess.Popen([sys.executable, "-c", LIMITED.format(limit), *arguments], stdout=subprocess.DEVNULL)
    try:
        while not any(int(path.name[5:]) >= step for path in output.glob("step-???????")):
            assert process.poll() is None, f"it exited with {process.poll()} before step {step}"
            assert looks > 0, f"no checkpoint of step {step}"
            looks -= 1
            time.sleep(PAUSE)
    except AssertionError:
        process.kill()
        process.wait()
        raise
    time.sleep(delay)
    process.send_signal(SIGKILL)
    assert process.wait() == -SIGKILL

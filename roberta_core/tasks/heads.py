"""The head of a task: whether a checkpoint has it, and the model that a task is trained with.

Training keeps a checkpoint's own head where it predicts the same labels, else it begins with a new one.
"""

import os
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core import checkpoints
from roberta_core.backend import Backend
from roberta_core.checkpoints.conversion import open_checkpoint
from roberta_core.checkpoints.errors import join_names
from roberta_core.checkpoints.exported import check_graph_class, find_graph
from roberta_core.checkpoints.report import LoadReport
from roberta_core.config import RobertaConfig
from roberta_core.parameters import BASE_PREFIX, draw, parameters
from roberta_core.tasks.base import Task

# How a checkpoint gets the head of a class: the task of `roberta finetune` that trains it.
TRAINED_BY = {
    "ForSequenceClassification": "classification",
    "ForTokenClassification": "tagging",
    "ForMultipleChoice": "multiple-choice",
    "ForQuestionAnswering": "question-answering",
}
LANGUAGE_MODELS = {"ForMaskedLM": "masked", "ForCausalLM": "causal"}


def require_head(source: str | os.PathLike[str], architecture: str, task: str = "", **where: Any) -> None:
    """Check that a checkpoint has the head of a class, with NumPy alone: predictions of another head would be random.

    Args:
        source: A folder, the name of an embedded model, or one on the Hub.
        architecture: The class without its prefix, such as "ForTokenClassification".
        task: What the head is needed for, for the message; by default what `roberta finetune` calls it.
        **where: Options that select a repository on the Hub, such as `revision`.

    Raises:
        ValueError: Tensors of the head are missing; the message names them and the command that trains the head.
    """
    folder = checkpoints.resolve(source, **where)
    if (graph := find_graph(folder)) is not None:
        return check_graph_class(graph, architecture)
    found = open_checkpoint(folder, architecture)
    if not found.report.missing:
        return
    lacking = f"it lacks {join_names(found.report.missing)}"
    if architecture in LANGUAGE_MODELS:
        kind = LANGUAGE_MODELS[architecture]
        raise ValueError(f"the checkpoint {source} is not a {kind} language model: {lacking}; specify one that is")
    trained = TRAINED_BY[architecture]
    raise ValueError(
        f"the checkpoint {source} is not fine-tuned for {task or trained}: {lacking}; train it with "
        f"`roberta finetune {trained} --model {source} --recipe RECIPE --train FILE --output FOLDER` "
        f"(`roberta tasks {trained}` lists recipes)"
    )


def load_model(backend: Backend, task: Task, source: str, seed: int, **settings: Any) -> tuple[Any, str]:
    """Return the framework's model of a checkpoint for a task, and a sentence if a head of it is newly initialised.

    Args:
        backend: the framework.
        task: the task, with its labels.
        source: the checkpoint.
        seed: seed of the values of a newly initialised head.
        settings: fields of the configuration that differ from the checkpoint's.
    """
    settings |= task.config()
    folder = checkpoints.resolve(source)
    config = RobertaConfig.from_pretrained(folder, **settings)
    fits = task.head_fits
    found, report = checkpoints.load(folder, config, task.architecture, ignore_mismatched_sizes=not fits)
    head = {name for name in parameters(config, task.architecture) if not name.startswith(BASE_PREFIX)}
    if any(mismatch.name not in head for mismatch in report.mismatched):
        checkpoints.load(folder, config, task.architecture)  # raises the error that names them
    drawn = set(report.new) if fits else head | set(report.new)
    if not drawn:
        return backend.from_pretrained(task.architecture, source, seed=seed, **settings), ""
    tensors = {name: np.asarray(array, np.float32) for name, array in found.items()}
    tensors |= draw(config, task.architecture, seed, only=drawn)
    return backend.from_tensors(task.architecture, config, tensors), _describe(source, folder, drawn, head, report)


def _describe(source: str, folder: Path, drawn: set[str], head: set[str], report: LoadReport) -> str:
    """Return a sentence on what is newly initialised."""
    if head and not head <= set(report.missing):
        old = ", ".join(RobertaConfig.from_pretrained(folder).id2label.values())
        return f"{source} predicts other labels ({old}): its classifier was replaced by a newly initialised one"
    parts = sorted({name.removeprefix(BASE_PREFIX).split(".")[0] for name in drawn})
    return f"{' and '.join(parts)} newly initialised; training starts from {source}"

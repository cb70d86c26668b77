"""Reading and writing checkpoints, in published names, with NumPy alone."""

import copy
import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from roberta_core.checkpoints import formats, names
from roberta_core.checkpoints.atomic import finish, refuse_unfinished, transaction
from roberta_core.checkpoints.errors import CheckpointError, listed
from roberta_core.checkpoints.mapped import Content
from roberta_core.checkpoints.matching import match
from roberta_core.checkpoints.report import LoadReport
from roberta_core.checkpoints.shards import bytes_of
from roberta_core.checkpoints.source import embedded, resolve
from roberta_core.config import CONFIG_NAME, RobertaConfig
from roberta_core.parameters import aliases, parameters

__all__ = ["CheckpointError", "LoadReport", "embedded", "finish", "load", "resolve", "save"]


def load(
    folder: str | os.PathLike[str],
    config: RobertaConfig,
    architecture: str,
    *,
    pooler: bool | None = None,
    ignore_mismatched_sizes: bool = False,
) -> tuple[dict[str, np.ndarray], LoadReport]:
    """The tensors of a checkpoint under the published names of a class, and what became of every one.

    Args:
        folder: the checkpoint; see `resolve` for names.
        config: the model to be filled. Its `position_embedding_type` must be absolute.
        architecture: the class without its prefix, such as `"ForMaskedLM"`; the file may be of another class.
        pooler: whether the model has a pooler; None means as published for the class.
        ignore_mismatched_sizes: report tensors of another shape as new, instead of refusing them.

    Returns:
        The tensors that the file gives, in the model's order and with the file's dtype, mapped from the file (those
        of before 2023 that a file does not align are copied): writing to one changes memory only. `LoadReport.new`
        names those that it does not give, all of them outside the encoder unless sizes are ignored: draw them with
        `parameters.draw(..., only=report.new)`.

    Raises:
        CheckpointError: the files are broken, or the encoder does not load; all reasons in one sentence.
        ValueError: the class does not exist or cannot be built with this configuration.
    """
    folder = Path(folder)
    if config.position_embedding_type != "absolute":
        raise CheckpointError(
            f"{folder} has {config.position_embedding_type!r} positions; only absolute ones are supported, and without "
            "the relative ones the model would compute something else"
        )
    expected = parameters(config, architecture, pooler)
    refuse_unfinished(folder)
    kind = formats.find(folder)
    tensors, metadata = kind.read(folder), kind.metadata(folder)
    refuse_unfinished(folder)  # a save may have begun while the files were opened
    found, report = match(tensors, metadata, config, expected, LoadReport(str(folder), architecture))
    problems = list(report.problems)
    if report.mismatched and not ignore_mismatched_sizes:
        texts = [f"{name} is {list(shape)}, expected {list(want)}" for name, shape, want in report.mismatched]
        pruned = " (the configuration has pruned_heads)" if config.pruned_heads else ""
        problems.append(f"shapes differ{pruned}: {listed(texts)}")
    if problems:
        raise CheckpointError(f"{folder} does not load as Roberta{architecture}: {'; '.join(problems)}")
    return {name: array if array.flags.aligned else array.copy() for name, array in found.items()}, report


def save(
    folder: str | os.PathLike[str],
    config: RobertaConfig,
    architecture: str,
    tensors: Mapping[str, np.ndarray],
    *,
    max_shard_size: int | str = "5GB",
    metadata: Mapping[str, str] | None = None,
    format: str = "safetensors",
    carried: Mapping[str, bytes] | None = None,
    beside: bool = False,
) -> None:
    """Write the weights (in one file, or in shards with an index) and config.json as transformers does, all or nothing.

    `tensors` are those of the class under their published names; the pooler and the second names of tied tensors may
    be there or not. The second names are not written, except the decoder's bias where the head is untied (there the
    5.x releases of transformers use that one, the 4.x releases the other) and in PyTorch's own format, which stores
    them once. `carried` are further files, such as a tokenizer's, that belong to the checkpoint. What the folder held
    stays valid until the new files are whole (see `atomic`).

    Raises:
        CheckpointError: a tensor is missing, unknown or of the wrong shape, the folder has another weights file that
            would be read instead (unless the new one is to stand `beside` it), or the disk refuses.
        ValueError: the format or the size is none.
    """
    limit, kind = bytes_of(max_shard_size), formats.named(format)
    _check(config, architecture, tensors)
    hidden = sorted({other.file for other in formats.before(kind) if formats.has(Path(folder), other)})
    if hidden and not beside:
        raise CheckpointError(f"{folder} has {listed(hidden)}, read in place of {kind.file}; remove or replace that")
    second = aliases(config, architecture) if kind.dialect == "pt" else {}
    untied = second if kind.name == "safetensors" and not config.tie_word_embeddings else {}
    spelled = names.spelled(config, architecture, kind.dialect, tensors, untied)
    settings = copy.copy(config)
    settings.architectures = [f"Roberta{architecture}"]
    settings.dtype = next(iter(spelled.values())).dtype.name
    with transaction(folder) as files:
        kind.stage(files, Content(config, spelled, metadata or {"format": kind.dialect}, second), limit)
        files.write(CONFIG_NAME, settings.to_json_string().encode())
        for name, content in (carried or {}).items():
            files.write(name, content)


def _check(config: RobertaConfig, architecture: str, tensors: Mapping[str, np.ndarray]) -> None:
    """Raise `CheckpointError` unless these are the tensors of the class."""
    pooler = any(name.endswith("pooler.dense.weight") for name in tensors)
    second = aliases(config, architecture)
    expected = parameters(config, architecture, pooler)
    missing = sorted(expected.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - expected.keys() - second.keys())
    shapes = [
        f"{name} {list(tensors[name].shape)} instead of {list(parameter.shape)}"
        for name, parameter in expected.items()
        if name in tensors and tensors[name].shape != parameter.shape
    ]
    wrong = {"missing": missing, "unknown": unknown, "wrong shapes": shapes}
    if any(wrong.values()):
        text = "; ".join(f"{what}: {listed(names)}" for what, names in wrong.items() if names)
        raise CheckpointError(f"these are not the tensors of Roberta{architecture}: {text}")

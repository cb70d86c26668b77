"""Reading and writing checkpoints by their published names, with NumPy alone."""

import copy
import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import numpy as np

from roberta_core.checkpoints import formats, names
from roberta_core.checkpoints.atomic import finish, transaction
from roberta_core.checkpoints.consistency import read_consistently
from roberta_core.checkpoints.errors import CheckpointError, join_names
from roberta_core.checkpoints.mapped import Content
from roberta_core.checkpoints.matching import match
from roberta_core.checkpoints.other_formats import find_differing_formats
from roberta_core.checkpoints.report import LoadReport
from roberta_core.checkpoints.shards import parse_size
from roberta_core.checkpoints.sizes import check_sizes
from roberta_core.checkpoints.source import list_embedded, resolve
from roberta_core.config import CONFIG_NAME, RobertaConfig
from roberta_core.parameters import Parameter, aliases, check_class, has_pooler, parameters

__all__ = ["CheckpointError", "LoadReport", "finish", "list_embedded", "load", "read_consistently", "resolve", "save"]

# The prefix of class names by model type, as config.json lists them under "architectures".
CLASS_PREFIXES = {"roberta": "Roberta", "camembert": "Camembert", "xlm-roberta": "XLMRoberta"}


def load(
    folder: str | os.PathLike[str],
    config: RobertaConfig,
    architecture: str,
    *,
    pooler: bool | None = None,
    ignore_mismatched_sizes: bool = False,
    strip_prefix: str = "",
    table: Mapping[str, Parameter] | None = None,
    class_name: str = "",
    tensors: Mapping[str, np.ndarray] | None = None,
) -> tuple[dict[str, np.ndarray], LoadReport]:
    """Load the tensors of a checkpoint under the published names of a class, with a report on every tensor.

    Args:
        folder: The checkpoint; see `resolve` for names.
        config: The configuration of the model. Its `position_embedding_type` must be absolute.
        architecture: The class without its prefix, such as `"ForMaskedLM"`; the file may be of another class.
        pooler: Whether the model has a pooler; None means as published for the class.
        ignore_mismatched_sizes: Whether to report tensors of another shape as new instead of refusing them.
        strip_prefix: What to remove from the keys of the file that begin with it, such as "module.".
        table: The tensors of the model by name if it is a user's class; None means those of `architecture`.
        class_name: The name of a user's class.
        tensors: Tensors by name, to be read instead of the weights in the folder, which then only names them.

    Returns:
        The tensors that the file has, in the model's order and with the file's dtype, mapped from the file (copied if
        the file does not align them): writing to one changes only memory. `LoadReport.new` names the others, all of
        them outside the encoder unless sizes are ignored: draw them with `parameters.draw(..., only=report.new)`.

    Raises:
        CheckpointError: The files are broken, or the encoder does not load; one message with all reasons.
        ValueError: The class does not exist or cannot be built with this configuration.
    """
    folder = Path(folder)
    if config.position_embedding_type != "absolute":
        raise CheckpointError(
            f"{folder} has {config.position_embedding_type!r} positions; only absolute positions are supported, "
            "and the model would give other results without the relative ones"
        )
    check_class(config, architecture)
    report = LoadReport(str(folder), architecture, class_name=class_name)
    if tensors is None:
        found, report = read_consistently(
            folder, lambda: _match_folder(folder, config, report, pooler, table, strip_prefix)
        )
    else:
        found, report, _ = _match_tensors(tensors, {}, config, report, pooler, table)
    problems = list(report.problems)
    if report.mismatched and not ignore_mismatched_sizes:
        texts = [f"{name} is {list(shape)}, expected {list(want)}" for name, shape, want in report.mismatched]
        pruned = " (the configuration has pruned_heads)" if config.pruned_heads else ""
        problems.append(f"shapes differ{pruned}: {join_names(texts)}")
    if problems:
        raise CheckpointError(f"{folder} does not load as {report.title}: {'; '.join(problems)}")
    return {name: array if array.flags.aligned else array.copy() for name, array in found.items()}, report


def _match_folder(
    folder: Path,
    config: RobertaConfig,
    report: LoadReport,
    pooler: bool | None,
    table: Mapping[str, Parameter] | None,
    strip_prefix: str,
) -> tuple[dict[str, np.ndarray], LoadReport]:
    _, tensors, metadata = formats.read_weights(folder, strip_prefix)
    check_sizes(folder, config, tensors)
    found, report, rows = _match_tensors(tensors, metadata, config, report, pooler, table)
    loaded = {name: array for name, array in found.items() if name in rows}
    differing = find_differing_formats(folder, config, rows, loaded, exhaustive=False)
    return found, replace(report, differing=tuple(differing))


def _match_tensors(
    tensors: Mapping[str, np.ndarray],
    metadata: Mapping[str, str],
    config: RobertaConfig,
    report: LoadReport,
    pooler: bool | None,
    table: Mapping[str, Parameter] | None,
) -> tuple[dict[str, np.ndarray], LoadReport, dict[str, Parameter]]:
    """Return the tensors of a model, the report, and the published rows of the table."""
    published = parameters(config, report.architecture, pooler)
    expected = published if table is None else table
    own = {name: row for name, row in expected.items() if published.get(name) != row}
    found, report = match(tensors, metadata, config, expected, report, own)
    return found, report, {name: row for name, row in expected.items() if name not in own}


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
    table: Mapping[str, Parameter] | None = None,
    class_name: str = "",
) -> None:
    """Write the weights (in one file, or in shards with an index) and config.json as transformers does, all or nothing.

    What the folder held stays valid until the new files are complete (see `atomic`).

    Args:
        folder: Created if it does not exist.
        config: The configuration of the model.
        architecture: The class without its prefix, such as `"ForMaskedLM"`.
        tensors: Those of the class under their published names; the pooler and the second names of tied tensors are
            optional. Second names are not written, except the decoder's bias if the head is untied (transformers 5
            uses that one, 4 the other) and in PyTorch's own format, which stores tied tensors once.
        max_shard_size: The largest size of a file, such as "5GB".
        metadata: The metadata of a safetensors file.
        format: A name in `formats.FORMATS`.
        carried: Further files of the checkpoint, such as a tokenizer's: name -> content.
        beside: Whether the folder may keep weights in a format that is read instead of this one.
        table: The tensors of the model by name if it is a user's class; None means those of `architecture`.
        class_name: The name of a user's class, for the configuration.

    Raises:
        CheckpointError: A tensor is missing, unknown or of the wrong shape, the folder has another weights file that
            would be read instead, or a file cannot be written.
        ValueError: The format or the size does not exist.
    """
    limit, kind = parse_size(max_shard_size), formats.get_format(format)
    table = parameters(config, architecture, has_pooler(tensors)) if table is None else table
    _check(config, architecture, tensors, table, class_name)
    preferred = [other for other in formats.list_preferred(kind) if formats.has_format(Path(folder), other)]
    if preferred and not beside:
        names_of = join_names(sorted({other.file for other in preferred}))
        raise CheckpointError(f"{folder} has {names_of}, which is read instead of {kind.file}: remove or replace it")
    second = aliases(config, architecture) if kind.dialect == "pt" else {}
    untied = second if kind.name == "safetensors" and not config.tie_word_embeddings else {}
    spelled = names.respell(config, architecture, kind.dialect, tensors, untied, table)
    settings = copy.copy(config)
    settings.architectures = [class_name or CLASS_PREFIXES[config.model_type] + architecture]
    settings.dtype = next(iter(spelled.values())).dtype.name
    with transaction(folder) as files:
        kind.stage(files, Content(config, spelled, metadata or {"format": kind.dialect}, second), limit)
        files.write(CONFIG_NAME, settings.to_json_string().encode())
        for name, content in (carried or {}).items():
            files.write(name, content)


def _check(
    config: RobertaConfig,
    architecture: str,
    tensors: Mapping[str, np.ndarray],
    expected: Mapping[str, Parameter],
    class_name: str,
) -> None:
    """Raise `CheckpointError` unless these are the tensors of the class."""
    second = aliases(config, architecture)
    missing = sorted(expected.keys() - tensors.keys())
    unknown = sorted(tensors.keys() - expected.keys() - second.keys())
    shapes = [
        f"{name} {list(tensors[name].shape)} instead of {list(parameter.shape)}"
        for name, parameter in expected.items()
        if name in tensors and tensors[name].shape != parameter.shape
    ]
    wrong = {"missing": missing, "unknown": unknown, "wrong shapes": shapes}
    if any(wrong.values()):
        text = "; ".join(f"{what}: {join_names(names)}" for what, names in wrong.items() if names)
        raise CheckpointError(f"these are not the tensors of {class_name or f'Roberta{architecture}'}: {text}")

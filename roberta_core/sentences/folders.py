"""Sentence-transformers folders: `modules.json`, `1_Pooling/config.json` and the like, read and written.

A folder lists its modules in modules.json; each has its own folder with a config.json. A setting that this library
cannot compute is refused: the vectors would be others than those the model was trained for.
"""

import json
import os
import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.checkpoints import CheckpointError, bin_file, safetensors_file
from roberta_core.safe_files import read_bytes, read_json_object
from roberta_core.sentences.modules import (
    SIMILARITIES,
    TANH,
    Dense,
    Normalize,
    Pooling,
    SentenceModules,
    check_activation,
)

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
CONFIG = "config.json"
PACKAGE = "sentence_transformers."
# Older versions named the encoder's settings after its model type.
ENCODER_SETTINGS = (
    "sentence_bert_config.json", "sentence_roberta_config.json", "sentence_xlm-roberta_config.json",
    "sentence_camembert_config.json",
)  # fmt: skip
TASKS = ("feature-extraction", "sequence-classification")
UNSUPPORTED = ("processing_kwargs", "query_expansion", "query_length", "document_length")
OLD_POOLINGS = {
    "pooling_mode_cls_token": "cls",
    "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_tokens": "mean",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens",
    "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}
INPUT = "sentence_embedding"


def list_modules(folder: Path) -> list[tuple[str, Path]]:
    """Return the class names and folders of the modules of a folder, the encoder first; empty without modules.json.

    Raises:
        CheckpointError: modules.json is broken, or a module is not from sentence-transformers.
    """
    path = folder / MODULES
    if not path.is_file():
        return []
    try:
        rows = json.loads(read_bytes(path))
        found = [(row["type"], row["path"]) for row in sorted(rows, key=lambda row: row["idx"])]
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise CheckpointError(f"{path} is not a list of modules: {error!r}") from None
    for kind, place in found:
        if not isinstance(kind, str) or not kind.startswith(PACKAGE):
            raise CheckpointError(f"{path} has the module {kind!r}, which is not one of sentence-transformers")
        if not isinstance(place, str) or not _is_relative(place):
            raise CheckpointError(f"{path} has the path {place!r}, which is not a folder inside {folder}")
    modules = [(kind.rpartition(".")[2], folder / place) for kind, place in found]
    if not modules or modules[0][0] != "Transformer":
        raise CheckpointError(f"{path} has no Transformer as its first module")
    return modules


def find_encoder(folder: Path) -> Path:
    """Return the folder of the encoder of a sentence-transformers folder; of any other folder, itself."""
    modules = list_modules(folder)
    return modules[0][1] if modules else folder


def read_modules(folder: str | os.PathLike[str]) -> SentenceModules:
    """Return the modules and settings of a sentence-transformers folder; those of mean pooling for any other folder.

    Raises:
        CheckpointError: a file is broken, or the folder has a module or a setting that is not supported.
    """
    folder = Path(folder)
    modules = list_modules(folder)
    if not modules:
        return SentenceModules()
    kinds = [kind for kind, _ in modules[1:] if kind != "Dropout"]
    unknown = [kind for kind in kinds if kind not in READERS]
    if unknown:
        known = ", ".join(("Transformer", *READERS, "Dropout"))
        raise CheckpointError(f"{folder / MODULES} has the module {unknown[0]}; supported are {known}")
    if kinds[:1] != ["Pooling"] or kinds.count("Pooling") > 1:
        raise CheckpointError(f"{folder / MODULES} must have one Pooling after the Transformer; it has {kinds}")
    try:
        pooling, *layers = [READERS[kind](place) for kind, place in modules[1:] if kind in READERS]
        encoder = read_encoder_settings(modules[0][1])
        settings = read_json_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
        return SentenceModules(pooling, tuple(layers), **encoder, **_read_settings(settings, str(folder / SETTINGS)))
    except CheckpointError:
        raise
    except (OSError, ValueError, TypeError) as error:
        raise CheckpointError(f"{folder} is not a sentence-transformers model: {error}") from None


def read_encoder_settings(folder: Path) -> dict[str, Any]:
    """Return `max_length` and `lower_case` of the encoder's folder.

    Raises:
        ValueError: a setting is not supported or has a wrong value.
    """
    path = next((folder / name for name in ENCODER_SETTINGS if (folder / name).is_file()), None)
    found = {} if path is None else read_json_object(path)
    task = found.get("transformer_task", TASKS[0])
    if task not in TASKS:
        raise ValueError(f"{path} has the transformer_task {task!r}; supported are {', '.join(TASKS)}")
    for name in UNSUPPORTED:
        if found.get(name):
            raise ValueError(f"{path} has {name} {found[name]!r}, which is not supported: remove it")
    length = found.get("max_seq_length")
    if length is not None and (not isinstance(length, int) or length < 1):
        raise ValueError(f"{path} has the max_seq_length {length!r}; it must be a positive integer")
    return {"max_length": length, "lower_case": bool(found.get("do_lower_case"))}


def read_prompts(found: Mapping[str, Any], place: str) -> dict[str, Any]:
    """Return `prompts` and `default_prompt_name` of a model's settings; raise `ValueError` if they are wrong."""
    prompts, default = found.get("prompts") or {}, found.get("default_prompt_name")
    prompts = {name: text for name, text in prompts.items() if text is not None}
    if not all(isinstance(text, str) for text in prompts.values()):
        raise ValueError(f"{place} has prompts that are not text")
    if default is not None and default not in prompts:
        raise ValueError(f"{place} has the default_prompt_name {default!r}, but the prompts {', '.join(prompts)}")
    return {"prompts": prompts, "default_prompt_name": default}


def _read_settings(found: Mapping[str, Any], place: str) -> dict[str, Any]:
    similarity, dimensions = found.get("similarity_fn_name") or "cosine", found.get("truncate_dim")
    if similarity not in SIMILARITIES:
        raise ValueError(
            f"{place} has the similarity_fn_name {similarity!r}; expected one of {', '.join(SIMILARITIES)}"
        )
    if dimensions is not None and (not isinstance(dimensions, int) or dimensions < 1):
        raise ValueError(f"{place} has the truncate_dim {dimensions!r}; it must be a positive integer")
    return {**read_prompts(found, place), "similarity": similarity, "dimensions": dimensions}


def _read_pooling(folder: Path) -> Pooling:
    found = read_json_object(folder / CONFIG)
    modes = found.get("pooling_mode") or [mode for key, mode in OLD_POOLINGS.items() if found.get(key)] or ["mean"]
    unknown = [key for key in found if key.startswith("pooling_mode_") and key not in OLD_POOLINGS and found[key]]
    if unknown:
        raise ValueError(f"{folder / CONFIG} has {unknown[0]}; the known modes are {', '.join(OLD_POOLINGS)}")
    return Pooling((modes,) if isinstance(modes, str) else tuple(modes), bool(found.get("include_prompt", True)))


def _read_dense(folder: Path) -> Dense:
    found = read_json_object(folder / CONFIG)
    _check_names(found, folder)
    activation = check_activation(found.get("activation_function", TANH), str(folder / CONFIG))
    read = safetensors_file.read if (folder / safetensors_file.FILE).exists() else bin_file.read
    tensors = {name: np.array(values, np.float32) for name, values in read(folder).items()}
    residual = tensors.pop("residual.weight", "input") if found.get("use_residual") else None
    expected = {"linear.weight", *(["linear.bias"] if found.get("bias", True) else [])}
    if set(tensors) != expected:
        raise ValueError(f"{folder} has the tensors {', '.join(tensors)}; expected {', '.join(sorted(expected))}")
    shape = (found.get("out_features"), found.get("in_features"))
    if tensors["linear.weight"].shape != shape:
        raise ValueError(f"{folder} has a weight of {tensors['linear.weight'].shape}, but its config.json says {shape}")
    return Dense(tensors["linear.weight"], tensors.get("linear.bias"), activation, residual)


def _read_normalize(folder: Path) -> Normalize:
    if (folder / CONFIG).is_file():
        _check_names(read_json_object(folder / CONFIG), folder)
    return Normalize()


def _check_names(found: Mapping[str, Any], folder: Path) -> None:
    """Raise `ValueError` unless a module reads and writes the vector of the text."""
    for key in ("module_input_name", "module_output_name"):
        if (found.get(key) or INPUT) != INPUT:
            raise ValueError(f"{folder / CONFIG} has the {key} {found[key]!r}; only {INPUT} is supported")


READERS: dict[str, Callable[[Path], Any]] = {
    "Pooling": _read_pooling,
    "Dense": _read_dense,
    "Normalize": _read_normalize,
}


def _is_relative(place: str) -> bool:
    parts = Path(place).parts
    return not Path(place).is_absolute() and ".." not in parts and "\0" not in place and "\\" not in place


def save_modules(
    folder: str | os.PathLike[str], modules: SentenceModules, hidden: int, save_encoder: Callable[[Path], object]
) -> None:
    """Write a folder that sentence-transformers opens.

    Args:
        folder: a folder that does not exist or is empty; it appears when all files are complete.
        modules: what follows the encoder.
        hidden: the size of the encoder's hidden states.
        save_encoder: writes the encoder and its tokenizer into a folder.

    Raises:
        CheckpointError: the folder is not empty, or a file cannot be written.
    """
    modules.check_size(hidden)

    def write(target: Path) -> None:
        save_encoder(target)
        rows = [("", "Transformer"), ("1_Pooling", "Pooling")]
        pooling = {key: mode in modules.pooling.modes for key, mode in OLD_POOLINGS.items()}
        if [mode for mode in OLD_POOLINGS.values() if mode in modules.pooling.modes] != list(modules.pooling.modes):
            pooling = {"pooling_mode": list(modules.pooling.modes)}  # another order, which only new versions read
        write_json(
            target / "1_Pooling" / CONFIG,
            {"word_embedding_dimension": hidden, **pooling, "include_prompt": modules.pooling.include_prompt},
        )
        for number, layer in enumerate(modules.layers, 2):
            kind = type(layer).__name__
            rows.append((f"{number}_{kind}", kind))
            place = target / f"{number}_{kind}"
            place.mkdir()
            if isinstance(layer, Dense):
                _write_dense(place, layer)
        encoder = {"max_seq_length": modules.max_length, "do_lower_case": modules.lower_case}
        write_json(target / ENCODER_SETTINGS[0], encoder)
        write_json(target / SETTINGS, _settings_of(modules))
        write_json(
            target / MODULES,
            [
                {"idx": idx, "name": str(idx), "path": path, "type": f"{PACKAGE}models.{kind}"}
                for idx, (path, kind) in enumerate(rows)
            ],
        )

    save_new_folder(folder, write)


def save_new_folder(folder: str | os.PathLike[str], write: Callable[[Path], None]) -> None:
    """Write a folder that appears when all its files are complete.

    Args:
        folder: a folder that does not exist or is empty.
        write: writes the files into a folder.

    Raises:
        CheckpointError: the folder is not empty, or a file cannot be written.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise CheckpointError(f"{folder} is not an empty folder: save to a new one")
    try:
        folder.absolute().parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder.absolute().parent, prefix=f".{folder.name}.") as temporary:
            made = Path(temporary, folder.name)
            made.mkdir()
            write(made)
            if folder.exists():
                folder.rmdir()
            shutil.move(made, folder)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(f"saving to {folder} failed: {error.strerror or error}") from error


def _settings_of(modules: SentenceModules) -> dict[str, Any]:
    settings = {
        "model_type": "SentenceTransformer",
        "prompts": dict(modules.prompts),
        "default_prompt_name": modules.default_prompt_name,
        "similarity_fn_name": modules.similarity,
    }
    return settings | ({} if modules.dimensions is None else {"truncate_dim": modules.dimensions})


def _write_dense(folder: Path, layer: Dense) -> None:
    tensors = {"linear.weight": layer.weight}
    if layer.bias is not None:
        tensors["linear.bias"] = layer.bias
    if isinstance(layer.residual, np.ndarray):
        tensors["residual.weight"] = layer.residual
    safetensors_file.write(folder, tensors, {"format": "pt"})
    config = {
        "in_features": layer.weight.shape[1],
        "out_features": layer.weight.shape[0],
        "bias": layer.bias is not None,
        "activation_function": layer.activation,
    }
    write_json(folder / CONFIG, config | ({} if layer.residual is None else {"use_residual": True}))


def write_json(path: Path, value: Any) -> None:
    """Write a JSON file, and the folder that holds it."""
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(value, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")

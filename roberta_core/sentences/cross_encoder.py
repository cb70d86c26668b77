"""Cross-encoder folders: the activation function and prompts of a model that scores pairs of texts."""

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.checkpoints import CheckpointError
from roberta_core.config import RobertaConfig
from roberta_core.safe_files import read_json_object
from roberta_core.sentences.folders import (
    CONFIG,
    ENCODER_SETTINGS,
    MODULES,
    PACKAGE,
    SETTINGS,
    list_modules,
    read_encoder_settings,
    read_prompts,
    save_new_folder,
    write_json,
)
from roberta_core.sentences.modules import ACTIVATIONS, check_activation

IDENTITY = "torch.nn.modules.linear.Identity"
SIGMOID = "torch.nn.modules.activation.Sigmoid"


@dataclass(frozen=True)
class CrossEncoder:
    """The settings of a cross-encoder.

    Args:
        activation: a name in `ACTIVATIONS`; None means the sigmoid.
        prompts: texts by name that are put before the first text of a pair.
        default_prompt_name: the prompt that is used.
        max_length: the most tokens of a pair, or None.
        lower_case: whether texts are converted to lower case.
    """

    activation: str | None = None
    prompts: Mapping[str, str] = field(default_factory=dict)
    default_prompt_name: str | None = None
    max_length: int | None = None
    lower_case: bool = False

    def activate(self, logits: np.ndarray) -> np.ndarray:
        """Return the scores of logits."""
        return ACTIVATIONS[self.activation or SIGMOID](logits)

    def get_prompt(self) -> str:
        """Return the default prompt, which is empty if there is none."""
        return self.prompts[self.default_prompt_name] if self.default_prompt_name is not None else ""


def read_cross_encoder(folder: str | os.PathLike[str]) -> CrossEncoder:
    """Return the settings of a cross-encoder's folder; of any other folder, settings without an effect.

    Raises:
        CheckpointError: a file is broken, or the folder has a module or a setting that is not supported.
    """
    folder = Path(folder)
    further = [kind for kind, _ in list_modules(folder)[1:] if kind != "Dropout"]
    if further:
        raise CheckpointError(f"{folder / MODULES} has the module {further[0]}, which a cross-encoder does not support")
    try:
        settings = read_json_object(folder / SETTINGS) if (folder / SETTINGS).is_file() else {}
        config = read_json_object(folder / CONFIG) if (folder / CONFIG).is_file() else {}
        activation = settings.get("activation_fn") or (config.get("sentence_transformers") or {}).get("activation_fn")
        activation = activation or config.get("sbert_ce_default_activation_function")
        if activation is not None:
            check_activation(activation, str(folder))
        prompts = read_prompts(settings, str(folder / SETTINGS))
        return CrossEncoder(activation, **prompts, **read_encoder_settings(folder))
    except CheckpointError:
        raise
    except (OSError, ValueError, TypeError, AttributeError) as error:
        raise CheckpointError(f"{folder} is not a cross-encoder: {error}") from None


def save_cross_encoder(
    folder: str | os.PathLike[str],
    settings: CrossEncoder,
    config: RobertaConfig,
    save_model: Callable[[Path, RobertaConfig], object],
) -> None:
    """Write a folder that the `CrossEncoder` of sentence-transformers opens.

    Args:
        folder: a folder that does not exist or is empty; it appears when all files are complete.
        settings: the settings.
        config: the configuration of the model.
        save_model: writes the model with a configuration, and its tokenizer, into a folder.

    Raises:
        CheckpointError: the folder is not empty, or a file cannot be written.
    """

    def write(target: Path) -> None:
        activation = settings.activation or (SIGMOID if config.num_labels == 1 else IDENTITY)
        save_model(target, _store_activation(config, activation))
        found: dict[str, Any] = {"model_type": "CrossEncoder", "prompts": dict(settings.prompts)}
        found |= {"default_prompt_name": settings.default_prompt_name, "activation_fn": activation}
        write_json(target / SETTINGS, found)
        encoder = {"max_seq_length": settings.max_length, "do_lower_case": settings.lower_case}
        write_json(target / ENCODER_SETTINGS[0], {"transformer_task": "sequence-classification", **encoder})
        kind = f"{PACKAGE}models.Transformer"
        write_json(target / MODULES, [{"idx": 0, "name": "0", "path": "", "type": kind}])

    save_new_folder(folder, write)


def _store_activation(config: RobertaConfig, activation: str) -> RobertaConfig:
    """Return a configuration that names the activation function where version 4 of sentence-transformers reads it."""
    return RobertaConfig.from_dict({**config.to_dict(), "sentence_transformers": {"activation_fn": activation}})

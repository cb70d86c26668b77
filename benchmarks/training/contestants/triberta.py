"""This project's three frameworks."""

import numpy as np

from roberta_core.backend import load as backend
from roberta_core.tasks.base import STEP
from roberta_core.training.recipe import Recipe

RATE = 1e-4
MULTIPLE = STEP  # to which `roberta finetune` pads


def version(name):
    """Return the version of the framework."""
    return backend(name).version


def load(name, folder, precision, dropout):
    """Return a function that runs a step of the trainer and waits for the loss."""
    trainer = build_trainer(name, "ForMaskedLM", folder, precision, dropout)

    def step(ids, positions, labels):
        batch = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        scalars = trainer.step([batch | {"masked_positions": positions, "masked_labels": labels}], RATE)
        return float(scalars["loss"])

    return step


def load_classifier(name, folder, precision, dropout):
    """Return a function that runs a step of fine-tuning and waits for the loss."""
    trainer = build_trainer(name, "ForSequenceClassification", folder, precision, dropout)

    def step(ids, mask, labels):
        scalars = trainer.step([{"input_ids": ids, "attention_mask": mask, "labels": labels}], RATE)
        return float(scalars["loss"])

    return step


def build_trainer(name, architecture, folder, precision, dropout):
    """Return a framework's trainer of a checkpoint."""
    recipe = Recipe.from_dict({"optimizer": {"precision": precision}})
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    framework = backend(name)
    return framework.trainer(framework.from_pretrained(architecture, folder, **rates), recipe)

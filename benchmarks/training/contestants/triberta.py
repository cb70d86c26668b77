"""This project's three frameworks."""

import numpy as np

from roberta_core.backend import load as backend
from roberta_core.training.recipe import Recipe

RATE = 1e-4


def version(name):
    """Return the version of the framework."""
    return backend(name).version


def load(name, folder, precision, dropout):
    """Return a function that runs a step of the trainer and waits for the loss."""
    recipe = Recipe.from_dict({"optimizer": {"precision": precision}})
    rates = {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
    framework = backend(name)
    trainer = framework.trainer(framework.from_pretrained("ForMaskedLM", folder, **rates), recipe)

    def step(ids, positions, labels):
        batch = {"input_ids": ids, "attention_mask": np.ones_like(ids)}
        scalars = trainer.step([batch | {"masked_positions": positions, "masked_labels": labels}], RATE)
        return float(scalars["loss"])

    return step

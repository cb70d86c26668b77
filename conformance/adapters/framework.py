"""The adapter of every framework that has a backend."""

import os
from collections.abc import Mapping
from typing import Any

import numpy as np

from conformance.adapters import arguments, flatten
from conformance.steps import Training
from conformance.text import ARCHITECTURE, Text, stages_of
from roberta_core.backend import load
from roberta_core.config import RobertaConfig
from roberta_core.training.recipe import Recipe


class Framework:
    """A backend of the core, in float32."""

    def __init__(self, name: str):
        self.backend = load(name)
        self.name, self.title = self.backend.name, self.backend.title

    @property
    def version(self) -> str:
        """The framework's version."""
        return self.backend.version

    def build(self, architecture: str, config: RobertaConfig, tensors: Mapping[str, np.ndarray]) -> Any:
        """The framework's model of a class."""
        return self.backend.from_tensors(architecture, config, tensors)

    def load(self, architecture: str, source: str | os.PathLike[str]) -> Any:
        """The framework's model of a checkpoint."""
        return self.backend.from_pretrained(architecture, source)

    def tensors(self, model: Any) -> dict[str, np.ndarray]:
        """What a model holds, by its published names."""
        return self.backend.tensors(model)

    def run(self, model: Any, inputs: Mapping[str, np.ndarray], attentions: bool) -> dict[str, np.ndarray]:
        """The outputs as stages; asked for `attentions`, a framework may leave its fused kernel."""
        return flatten(
            self.backend.run(model, arguments(inputs), output_hidden_states=True, output_attentions=attentions)
        )

    def gradients(
        self, model: Any, inputs: Mapping[str, np.ndarray], weights: Mapping[str, np.ndarray]
    ) -> dict[str, np.ndarray]:
        """The gradients of a weighted sum of outputs, by tensor."""
        return self.backend.gradients(model, arguments(inputs), weights)

    def train(self, training: Training) -> dict[str, np.ndarray]:
        """The weights after a training."""
        start = {name: tensor.copy() for name, tensor in training.tensors.items()}  # PyTorch trains in their memory
        model = self.build(training.architecture, training.configuration, start)
        trainer = self.backend.trainer(model, Recipe(optimizer=training.settings))
        for batch in training.arrays:
            trainer.step([batch], training.settings.peak_learning_rate)
        return self.tensors(model)

    def write(self, text: Text, use_cache: bool) -> dict[str, np.ndarray]:
        """The tokens and scores of a text."""
        model = self.build(ARCHITECTURE, text.configuration, text.tensors)
        output = model.generate(
            self.backend.tensor(text.ids),
            attention_mask=self.backend.tensor(text.mask),
            use_cache=use_cache,
            output_scores=True,
            return_dict_in_generate=True,
            **text.arguments,
        )
        return stages_of(output.sequences, output.scores)

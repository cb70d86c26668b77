"""AdamW in TensorFlow, as a recipe sets it: Loshchilov & Hutter (2019), with eps added to the corrected root.

Weight decay is for matrices and tables alone (Liu et al. 2019, section 5).
"""

from typing import Any

import keras
import tensorflow as tf

from roberta_core.parameters import decays, parameters
from roberta_core.training.recipe import Optimizer
from roberta_tf.weights import variables


@keras.saving.register_keras_serializable("roberta_tf")
class AdamW(keras.optimizers.AdamW):
    """Keras's AdamW with eps where PyTorch and optax have it: Keras adds it to the root before the correction."""

    def update_step(self, gradient: Any, variable: Any, learning_rate: Any) -> None:
        """One variable's step."""
        given: Any = self.epsilon
        done: Any = self.iterations
        beta, steps = tf.cast(self.beta_2, variable.dtype), tf.cast(done + 1, variable.dtype)
        self.epsilon: Any = given * tf.sqrt(1 - beta**steps)
        try:
            super().update_step(gradient, variable, learning_rate)
        finally:
            self.epsilon = given


def adamw(model: Any, settings: Optimizer) -> AdamW:
    """The optimiser of a model's parameters, at the recipe's peak learning rate."""
    table = parameters(model.config, model.architecture, model.has_pooler)
    optimizer = AdamW(
        learning_rate=settings.peak_learning_rate,
        weight_decay=settings.weight_decay,
        beta_1=settings.beta1,
        beta_2=settings.beta2,
        epsilon=settings.epsilon,
    )
    exempt = [variable for name, variable in variables(model) if not decays(table[name])]
    optimizer.exclude_from_weight_decay(var_list=exempt)
    return optimizer

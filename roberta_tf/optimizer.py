"""AdamW in TensorFlow, as a recipe sets it: Loshchilov & Hutter (2019), with eps added to the corrected root.

Weight decay is for matrices and tables alone (Liu et al. 2019, section 5).
"""

import math
from collections.abc import Sequence
from typing import Any

import tensorflow as tf

from roberta_core.parameters import has_weight_decay, parameters
from roberta_core.training.optimizer_step import compute_rate_factors
from roberta_core.training.recipe import Optimizer
from roberta_tf.weights import variables


class AdamW:
    """The moments of a model's variables, by their published names, and the rule by which all three move.

    TensorFlow's own kernel moves them in one pass. It adds eps to the root before the correction, as Keras does: here
    it gets an eps that makes up for that, and a rate that is corrected already.
    """

    def __init__(self, model: Any, settings: Optimizer):
        table = parameters(model.config, model.architecture, model.has_pooler)
        self.settings, self.variables = settings, dict(variables(model))
        self.factors = compute_rate_factors(table, model.config.num_hidden_layers, settings.layer_decay)
        self.decays = {name: settings.weight_decay * has_weight_decay(parameter) for name, parameter in table.items()}
        self.first, self.second = (
            {name: tf.Variable(tf.zeros(value.shape), trainable=False) for name, value in self.variables.items()}
            for _ in range(2)
        )

    def rates(self, step: int, learning_rate: float) -> tf.Tensor:
        """What `apply` needs at a step, counted from 1: the learning rate, the corrected one, and eps."""
        first, second = (1 - beta**step for beta in (self.settings.beta1, self.settings.beta2))
        root = math.sqrt(second)
        return tf.constant([learning_rate, learning_rate * root / first, self.settings.epsilon * root], tf.float32)

    def apply(self, gradients: Sequence[tf.Tensor], rates: tf.Tensor) -> None:
        """Move every variable and its moments by its gradient."""
        settings, (rate, corrected, eps) = self.settings, tf.unstack(rates)
        for (name, variable), gradient in zip(self.variables.items(), gradients, strict=True):
            value: Any = variable.value
            if self.decays[name]:
                with tf.control_dependencies([gradient]):  # else TensorFlow makes all of them before the forward pass
                    value.assign(value * (1 - rate * self.factors[name] * self.decays[name]))
            tf.raw_ops.ResourceApplyAdam(
                var=value.handle,
                m=self.first[name].handle,
                v=self.second[name].handle,
                beta1_power=0.0,
                beta2_power=0.0,
                lr=corrected * self.factors[name],
                beta1=settings.beta1,
                beta2=settings.beta2,
                epsilon=eps,
                grad=gradient,
            )


def adamw(model: Any, settings: Optimizer) -> AdamW:
    """The optimiser of a model's variables."""
    return AdamW(model, settings)

"""AdamW in Flax, as a recipe sets it: Loshchilov & Hutter (2019), with eps added to the corrected root.

Weight decay is for matrices and tables alone (Liu et al. 2019, section 5).
"""

from typing import Any

import optax
from optax import apply_updates

from roberta_core.parameters import decays, parameters, spell
from roberta_core.training.recipe import Optimizer
from roberta_flax.weights import nested

__all__ = ["adamw", "apply_updates"]


def adamw(model: Any, settings: Optimizer) -> optax.GradientTransformation:
    """The optimiser of a model's params, at the recipe's peak learning rate."""
    table = parameters(model.config, model.architecture, model.has_pooler)
    return optax.adamw(
        settings.peak_learning_rate,
        b1=settings.beta1,
        b2=settings.beta2,
        eps=settings.epsilon,
        weight_decay=settings.weight_decay,
        mask=nested((spell(parameter, "flax"), decays(parameter)) for parameter in table.values()),
    )

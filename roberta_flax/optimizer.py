"""AdamW in Flax, as a recipe sets it: Loshchilov & Hutter (2019), with eps added to the corrected root.

Weight decay is for matrices and tables alone (Liu et al. 2019, section 5).
"""

from typing import Any

import jax
import optax

from roberta_core.parameters import has_weight_decay, parameters, spell
from roberta_core.training.optimizer_step import compute_rate_factors
from roberta_core.training.recipe import Optimizer
from roberta_flax.weights import nest


def adamw(model: Any, settings: Optimizer) -> optax.GradientTransformation:
    """The optimiser of a model's params; its updates are for a learning rate of 1."""
    table = parameters(model.config, model.architecture, model.has_pooler)
    rates = compute_rate_factors(table, model.config.num_hidden_layers, settings.layer_decay)
    factors = nest((spell(parameter, "flax"), -rates[name]) for name, parameter in table.items())
    decayed = nest((spell(parameter, "flax"), has_weight_decay(parameter)) for parameter in table.values())
    return optax.chain(
        optax.scale_by_adam(settings.beta1, settings.beta2, settings.epsilon),
        optax.add_decayed_weights(settings.weight_decay, decayed),
        optax.stateless(lambda updates, _: jax.tree.map(lambda update, factor: factor * update, updates, factors)),
    )


def apply_updates(params: Any, updates: Any, learning_rate: Any) -> Any:
    """The params after a step with this learning rate."""
    return jax.tree.map(lambda value, update: value + learning_rate * update, params, updates)

"""AdamW in PyTorch, as a recipe sets it: Loshchilov & Hutter (2019), with eps added to the corrected root.

Weight decay is for matrices and tables alone (Liu et al. 2019, section 5).
"""

from typing import Any

import torch

from roberta_core.parameters import has_weight_decay, parameters
from roberta_core.training.optimizer_step import compute_rate_factors
from roberta_core.training.recipe import Optimizer


def adamw(model: Any, settings: Optimizer) -> torch.optim.AdamW:
    """The optimiser of a model's parameters, at the recipe's peak learning rate; each group has its `factor`."""
    table = parameters(model.config, model.architecture, model.has_pooler)
    factors = compute_rate_factors(table, model.config.num_hidden_layers, settings.layer_decay)
    groups: dict[tuple[float, bool], list[torch.Tensor]] = {}
    for name, parameter in model.named_parameters():
        groups.setdefault((factors[name], has_weight_decay(table[name])), []).append(parameter)
    optimizer = torch.optim.AdamW(
        [
            {"params": group, "factor": factor, "weight_decay": settings.weight_decay * decayed}
            for (factor, decayed), group in groups.items()
        ],
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )
    set_rate(optimizer, settings.peak_learning_rate)
    return optimizer


def set_rate(optimizer: torch.optim.AdamW, learning_rate: float) -> None:
    """Give each group its learning rate."""
    for group in optimizer.param_groups:
        group["lr"] = learning_rate * group["factor"]

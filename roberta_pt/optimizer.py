"""AdamW in PyTorch, as a recipe sets it: Loshchilov & Hutter (2019), with eps added to the corrected root.

Weight decay is for matrices and tables alone (Liu et al. 2019, section 5).
"""

from typing import Any

import torch

from roberta_core.parameters import decays, parameters
from roberta_core.training.recipe import Optimizer


def adamw(model: Any, settings: Optimizer) -> torch.optim.AdamW:
    """The optimiser of a model's parameters, at the recipe's peak learning rate."""
    table = parameters(model.config, model.architecture, model.has_pooler)
    groups: dict[bool, list[torch.Tensor]] = {True: [], False: []}
    for name, parameter in model.named_parameters():
        groups[decays(table[name])].append(parameter)
    return torch.optim.AdamW(
        [
            {"params": groups[True], "weight_decay": settings.weight_decay},
            {"params": groups[False], "weight_decay": 0.0},
        ],
        lr=settings.peak_learning_rate,
        betas=(settings.beta1, settings.beta2),
        eps=settings.epsilon,
        fused=True,
    )

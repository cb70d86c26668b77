"""Pretraining steps in PyTorch: the loss of the masked positions, AdamW, and the state that a checkpoint keeps.

Shapes: B batch, S sequence, K masked positions at most, M masked positions of a batch, D hidden, V vocabulary.
"""

from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from roberta_core.data.batches import IGNORED, Batch
from roberta_core.parameters import decays, parameters
from roberta_core.training.checkpoint import State
from roberta_core.training.recipe import Recipe
from roberta_pt.encoder import SelfAttention


class Trainer:
    """A RobertaForMaskedLM with AdamW, as the recipe says; bfloat16 means autocast over float32 parameters."""

    def __init__(self, model: Any, recipe: Recipe):
        settings = recipe.optimizer
        if recipe.run.threads:
            torch.set_num_threads(recipe.run.threads)
        torch.manual_seed(recipe.run.seed)
        self.model, self.clip_norm = model.train(), settings.clip_norm
        if model.device.type == "cpu":  # there the fused kernel's gradient takes a third of a step
            for module in model.modules():
                if isinstance(module, SelfAttention):
                    module.attn_implementation = "eager"
        self.half = settings.precision == "bfloat16"
        self.parameters = dict(model.named_parameters())
        table = parameters(model.config, model.architecture)
        groups: dict[bool, list[Tensor]] = {True: [], False: []}
        for name, parameter in self.parameters.items():
            groups[decays(table[name])].append(parameter)
        self.optimizer = torch.optim.AdamW(
            [
                {"params": groups[True], "weight_decay": settings.weight_decay},
                {"params": groups[False], "weight_decay": 0.0},
            ],
            betas=(settings.beta1, settings.beta2),
            eps=settings.epsilon,
            fused=True,
        )
        self.steps = 0

    def step(self, batch: Batch, learning_rate: float) -> dict[str, Tensor]:
        """One step of AdamW: the mean loss and the gradient norm before clipping, both lazy."""
        logits, labels = self._predictions(batch)
        loss = F.cross_entropy(logits, labels)
        self.optimizer.zero_grad()
        loss.backward()
        norm = self._clip()
        for group in self.optimizer.param_groups:
            group["lr"] = learning_rate
        self.optimizer.step()
        self.steps += 1
        return {"loss": loss.detach(), "gradient_norm": norm}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Any]:
        """Loss and correct predictions summed over the labels, and how many there are."""
        self.model.eval()
        logits, labels = self._predictions(batch)
        self.model.train()
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return {"loss": loss, "correct": (logits.argmax(dim=1) == labels).sum(), "count": len(labels)}

    def state(self) -> State:
        """Copies of the parameters and moments by their published names, and the generator's state."""
        return State(
            tensors={name: _copied(parameter) for name, parameter in self.parameters.items()},
            first_moments=self._moments("exp_avg"),
            second_moments=self._moments("exp_avg_sq"),
            steps=self.steps,
            random={"pt": torch.get_rng_state().numpy()},
        )

    @torch.no_grad()
    def load_state(self, state: State) -> None:
        """Go on from a state; `ValueError` unless it holds exactly the parameters of the model."""
        for what in (state.tensors, state.first_moments, state.second_moments):
            if set(what) != set(self.parameters):
                raise ValueError(f"the state and the model differ in {sorted(set(what) ^ set(self.parameters))}")
        for name, parameter in self.parameters.items():
            parameter.copy_(torch.from_numpy(state.tensors[name]))
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(state.steps)),
                "exp_avg": torch.tensor(state.first_moments[name]),
                "exp_avg_sq": torch.tensor(state.second_moments[name]),
            }
        self.steps = state.steps
        if "pt" in state.random:
            torch.set_rng_state(torch.tensor(state.random["pt"]))

    def _moments(self, which: str) -> dict[str, np.ndarray]:
        """Copies of the optimiser's moments; before the first step they are 0."""
        moments = {name: self.optimizer.state[parameter].get(which) for name, parameter in self.parameters.items()}
        return {
            name: np.zeros(self.parameters[name].shape, np.float32) if moment is None else _copied(moment)
            for name, moment in moments.items()
        }

    def _predictions(self, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits [M, V] of the masked positions alone, and their labels [M]."""
        labels, positions = batch["masked_labels"], batch["masked_positions"]  # [B, K]
        kept = labels != IGNORED
        rows = np.arange(len(labels))[:, None] * batch["input_ids"].shape[1]
        ids, given = torch.from_numpy(batch["input_ids"]), batch["attention_mask"]
        mask = None if given.all() else torch.from_numpy(given)  # the quicker way
        with torch.autocast("cpu", torch.bfloat16, enabled=self.half):
            hidden = self.model.roberta(ids, mask).last_hidden_state.flatten(0, 1)  # [B * S, D]
            logits = self.model.lm_head(hidden[torch.from_numpy((rows + positions)[kept])])
        return logits.float(), torch.from_numpy(labels[kept])

    def _clip(self) -> Tensor:
        """Scale the gradients down to the norm `clip_norm` (0: never) and return their norm before."""
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        norm = torch.nn.utils.get_total_norm(gradients)
        if self.clip_norm:
            scale = (self.clip_norm / norm).clamp(max=1.0)
            for gradient in gradients:
                gradient.mul_(scale)
        return norm


def _copied(tensor: Tensor) -> np.ndarray:
    return tensor.detach().cpu().numpy().copy()

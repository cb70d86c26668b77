"""Training steps in PyTorch: the loss of a class, AdamW, and the state that a checkpoint keeps.

Shapes: B batch, S sequence, K masked positions at most, M masked positions of a batch, filled up to a multiple of
`ROWS`, D hidden, V vocabulary. bfloat16 means autocast over float32 parameters.
"""

import ctypes
import math
import os
import sys
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from roberta_core.data.batches import IGNORED, Batch
from roberta_core.training.optimizer_step import compute_shares
from roberta_core.training.processes import ALONE, Processes, draw_seed
from roberta_core.training.recipe import Recipe
from roberta_core.training.training_checkpoint import State
from roberta_core.training.unpadding import find_rows, has_only_own_layers
from roberta_pt.encoder import Encoder, SelfAttention
from roberta_pt.frozen import find_hook
from roberta_pt.layers import Dropout
from roberta_pt.losses import weighted_loss
from roberta_pt.optimizer import adamw, set_rate
from roberta_pt.processes import share_gradients, sum_tensor
from roberta_pt.sharding import copy_model, copy_parameters, divide, gather, get_own_part
from roberta_pt.unpadding import Unpadding

# The numbers of glibc's mallopt: how much may lie free at the heap's end, and how large a block within the heap may be.
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3
LARGEST = 1 << 25  # bytes, the most that glibc takes: larger blocks would leave gaps that fill up with smaller ones

# M and the number of computed tokens are multiples of this: oneDNN keeps 0.6 MiB for each product of a size it has not
# met yet, six of them in a step.
ROWS = 32


class Trainer:
    """A model with AdamW, as the recipe says; parameters and moments are float32, whatever it computes in."""

    def __init__(self, model: Any, recipe: Recipe, processes: Processes = ALONE):
        if recipe.run.threads:
            torch.set_num_threads(recipe.run.threads)
        torch.manual_seed(recipe.run.seed)
        self.model, self.settings, self.steps = model, recipe.optimizer, 0
        self.processes, self.seed = processes, recipe.run.seed
        self.trained = copy_model(model, processes)  # `model` itself, unless the processes share it out
        self.unpadding = _attach_unpadding(self.trained)
        if model.device.type == "cpu":
            _keep_freed_memory()
            for module in self.trained.modules():
                if isinstance(module, SelfAttention):
                    module.attn_implementation = "eager"  # the fused kernel's gradient takes a third of a step
                elif isinstance(module, Dropout):
                    module.quick = True
        if recipe.run.gradient_checkpointing:
            self.trained.gradient_checkpointing_enable()
        self.compute_shared_loss, self.keep_gradients = share_gradients(self.trained, self._compute_loss, processes)
        self.parameters = dict(self.trained.named_parameters())
        self.optimizer = adamw(self.trained, self.settings)

    def step(self, batches: Sequence[Batch], learning_rate: float) -> dict[str, Tensor]:
        """One step of AdamW on the mean loss of all labels, and the gradient norm before clipping; both lazy."""
        self.trained.train()
        self.optimizer.zero_grad()
        if self.processes.count > 1:  # another dropout in each process, which needs no state of each to resume
            torch.manual_seed(draw_seed(self.seed, self.steps, self.processes.index))
        shares = compute_shares(self.model.config, self.model.architecture, batches, self.processes)
        losses = []
        for number, (batch, share) in enumerate(zip(batches, shares, strict=True), 1):
            with nullcontext() if number == len(batches) else self.keep_gradients(), self._unpad(batch):
                loss = self.compute_shared_loss(batch) * share
                loss.backward()
            losses.append(loss.detach())
        loss = sum_tensor(self.processes, torch.stack(losses).sum()) / self.processes.count
        norm = self._clip_gradients()
        set_rate(self.optimizer, learning_rate)
        self.optimizer.step()
        self.steps += 1
        return {"loss": loss, "gradient_norm": norm}

    @torch.no_grad()
    def evaluate(self, batch: Batch) -> dict[str, Any]:
        """Loss and correct predictions of masked tokens, summed over the labels, and how many there are."""
        self.model.eval()
        logits, labels = self._predict(self.model, batch)
        loss = F.cross_entropy(logits, labels, reduction="sum")
        return {"loss": loss, "correct": (logits.argmax(dim=1) == labels).sum(), "count": (labels != IGNORED).sum()}

    def state(self) -> State:
        """Copies of the parameters and moments by their published names, and the generator's state."""
        random = {"pt": torch.get_rng_state().numpy()}
        if self.model.device.type == "cuda":
            random["pt-cuda"] = torch.cuda.get_rng_state(self.model.device).numpy()
        return State(
            tensors={name: self._copy(parameter) for name, parameter in self.parameters.items()},
            first_moments=self._copy_moments("exp_avg"),
            second_moments=self._copy_moments("exp_avg_sq"),
            steps=self.steps,
            random=random,
        )

    def gather(self) -> None:
        """Copy the parameters to `model` if the processes share out those that are trained; all call this."""
        if self.trained is not self.model:
            copy_parameters(self.trained, self.model)

    @torch.no_grad()
    def load_state(self, state: State) -> None:
        """Restore a state; raise `ValueError` unless it holds exactly the parameters of the model."""
        state.check(self.parameters)
        for name, parameter in self.parameters.items():
            parameter.copy_(divide(torch.from_numpy(state.tensors[name]), parameter))
            self.optimizer.state[parameter] = {
                "step": torch.tensor(float(state.steps), device=parameter.device),
                "exp_avg": divide(torch.tensor(state.first_moments[name], device=parameter.device), parameter),
                "exp_avg_sq": divide(torch.tensor(state.second_moments[name], device=parameter.device), parameter),
            }
        self.steps = state.steps
        if "pt" in state.random:
            torch.set_rng_state(torch.tensor(state.random["pt"]))
        if "pt-cuda" in state.random and self.model.device.type == "cuda":
            torch.cuda.set_rng_state(torch.tensor(state.random["pt-cuda"]), self.model.device)

    def _compute_loss(self, batch: Batch) -> Tensor:
        """The mean loss of a micro-batch: of its masked positions, or what the class makes of its labels."""
        if "masked_labels" in batch:
            logits, labels = self._predict(self.trained, batch)
            loss = F.cross_entropy(logits, labels, reduction="sum")
            return loss / (labels != IGNORED).sum().clamp(min=1)  # without labels 0, where a mean would be NaN
        inputs = self._to_inputs(batch)
        with self._autocast():
            if "label_weights" in inputs:
                labels, weights = inputs.pop("labels"), inputs.pop("label_weights")
                return weighted_loss(self.trained(**inputs).logits, labels, weights)
            return self.trained(**inputs).loss

    @contextmanager
    def _unpad(self, batch: Batch) -> Iterator[None]:
        """Compute only the tokens that the loss of a batch depends on."""
        if self.unpadding is None or self._is_watched():
            yield
            return
        rows = find_rows(batch, lambda count: -(-count // ROWS) * ROWS)
        if rows is None:
            yield
            return
        shape = batch["input_ids"].shape
        self.unpadding.shape = (math.prod(shape[:-1]), shape[-1])
        self.unpadding.rows = self._to_tensor(rows)
        try:
            yield
        finally:
            self.unpadding.rows = None

    def _is_watched(self) -> bool:
        """Whether a user has hooked into the model since the trainer was made; FSDP2 hooks into its own copy."""
        return self.trained is self.model and find_hook(self.model.modules()) is not None

    def _predict(self, model: Any, batch: Batch) -> tuple[Tensor, Tensor]:
        """The logits [M, V] of the masked positions alone, and their labels [M], -100 for those that fill up."""
        rows, labels = _select_masked(batch)
        given = self._to_inputs({name: batch[name] for name in ("input_ids", "attention_mask")})
        with self._autocast():
            hidden = model.roberta(**given).last_hidden_state.flatten(0, 1)  # [B * S, D]
            logits = model.lm_head(hidden[self._to_tensor(rows)])
        return logits.float(), self._to_tensor(labels)

    def _to_inputs(self, batch: Batch) -> dict[str, Tensor]:
        """The inputs as tensors; a mask that hides nothing is skipped, which is faster."""
        return {
            name: self._to_tensor(array) for name, array in batch.items() if name != "attention_mask" or not array.all()
        }

    def _to_tensor(self, array: np.ndarray) -> Tensor:
        return torch.from_numpy(array).to(self.model.device, non_blocking=True)

    def _autocast(self) -> AbstractContextManager[Any]:
        if self.settings.precision == "float32":
            return nullcontext()
        return torch.autocast(self.model.device.type, torch.bfloat16)

    def _copy_moments(self, which: str) -> dict[str, np.ndarray]:
        """Copies of the optimiser's moments; before the first step they are 0."""
        moments = {name: self.optimizer.state[parameter].get(which) for name, parameter in self.parameters.items()}
        return {
            name: np.zeros(self.parameters[name].shape, np.float32) if moment is None else self._copy(moment)
            for name, moment in moments.items()
        }

    def _copy(self, tensor: Tensor) -> np.ndarray:
        """A copy of a whole tensor; where processes share it out, all call this, and only process 0 keeps one."""
        whole = gather(tensor.detach())
        if self.processes.sharded and not self.processes.is_first:
            return np.empty(0, np.float32)
        return whole.cpu().numpy().copy()

    def _clip_gradients(self) -> Tensor:
        """Scale the gradients down to the norm `clip_norm` (0: never) and return their norm before."""
        gradients = [parameter.grad for parameter in self.parameters.values() if parameter.grad is not None]
        norm = gather(torch.nn.utils.get_total_norm(gradients))
        if self.settings.clip_norm:
            scale = (self.settings.clip_norm / norm).clamp(max=1.0)
            for gradient in gradients:
                get_own_part(gradient).mul_(scale)
        return norm


def _select_masked(batch: Batch) -> tuple[np.ndarray, np.ndarray]:
    """Which of B * S tokens are masked [M] and their labels [M], filled up with the first token and no label."""
    labels, positions = batch["masked_labels"], batch["masked_positions"]  # [B, K]
    kept = labels != IGNORED
    rows = np.arange(len(labels))[:, None] * batch["input_ids"].shape[1] + positions
    more = (0, -int(kept.sum()) % ROWS)
    return np.pad(rows[kept], more), np.pad(labels[kept], more, constant_values=IGNORED)


def _attach_unpadding(model: Any) -> Unpadding | None:
    """Let the encoder of a model compute some tokens only; None if the model has a layer or a hook of a user."""
    modules = [*model.modules()]
    if not has_only_own_layers(map(type, modules), "roberta_pt", (nn.ModuleList,)) or find_hook(modules):
        return None
    unpadding = Unpadding()
    for module in modules:
        if isinstance(module, Encoder | SelfAttention):
            module.unpadding = unpadding
    return unpadding


def _keep_freed_memory() -> None:
    """Have the C library keep what a step frees for the next one: to get it from Linux again takes a quarter of a step.

    Nothing is changed where the environment says how memory is handled, or the library is not glibc.
    """
    configured = any(name == "GLIBC_TUNABLES" or name.startswith("MALLOC_") for name in os.environ)
    if sys.platform != "linux" or configured:
        return
    library = ctypes.CDLL(None)
    if hasattr(library, "gnu_get_libc_version"):
        library.mallopt(TRIM_THRESHOLD, 2**31 - 1)
        library.mallopt(MMAP_THRESHOLD, LARGEST)

"""Training steps in Flax: the loss of a class, AdamW, and the state that a checkpoint keeps.

Shapes: B batch, S sequence, K masked positions at most, D hidden, V vocabulary.
bfloat16 means that the layers compute in it, over float32 parameters. A step is one compiled function for each shape of
a batch, which takes over the memory of the parameters and moments that it is given.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import Array
from jax.sharding import PartitionSpec

from roberta_core.data.batches import Batch
from roberta_core.training.optimizer_step import compute_shares, split_batch
from roberta_core.training.processes import ALONE, Processes
from roberta_core.training.recipe import Optimizer, Recipe
from roberta_core.training.training_checkpoint import State
from roberta_core.training.unpadding import find_rows, has_only_own_layers
from roberta_flax.buckets import measure, pad_inputs
from roberta_flax.calls import (
    convert_input,
    describe_settings,
    enable_dropout,
    narrow_ints,
    rebuild_model,
    set_compute_dtype,
)
from roberta_flax.encoder import Encoder, SelfAttention
from roberta_flax.losses import IGNORED, token_loss, weighted_loss
from roberta_flax.optimizer import adamw, apply_updates
from roberta_flax.processes import AXIS, Placement
from roberta_flax.unpadding import Unpadding
from roberta_flax.weights import assign, convert_tensors, flatten, get_device, nest, tensors, variables

ROWS = "computed_rows"  # of a batch: which tokens are computed [R], where these are not all
GENERATOR = "rbg"  # JAX's own default takes a tenth of a step on a CPU


class Trainer:
    """A model with AdamW, as the recipe says; parameters and moments are float32, whatever it computes in."""

    def __init__(self, model: Any, recipe: Recipe, processes: Processes = ALONE):
        self.model, self.settings, self.steps, self.processes = model, recipe.optimizer, 0, processes
        if recipe.run.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        self.fixed = _Fixed(jax.tree.structure(model), describe_settings(model.config), self.settings)
        self.variables = variables(model)
        kinds = (type(module) for _, module in nnx.iter_modules(model))
        own = has_only_own_layers(kinds, "roberta_flax", (nnx.List,))
        self.can_unpad = own and processes.count * processes.devices == 1  # devices that share a batch run one program
        self.placement = Placement(processes, get_device(model))  # of all state, whatever JAX's default device is
        self._copy_parameters()
        self.moments: Any = self.placement.replicate(adamw(model, self.settings).init(self._get_local()))
        self.key = self._place_key(jax.random.key_data(jax.random.key(recipe.run.seed, impl=GENERATOR)))

    @property
    def params(self) -> dict[str, Any]:
        """The parameters as the published nested dict, not copied; if devices share a batch, on all of them."""
        return self._get_local() if self.placement.mesh is None else self.shared

    def step(self, batches: Sequence[Batch], learning_rate: float) -> dict[str, Array]:
        """One step of AdamW on the mean loss of all labels, and the gradient norm before clipping; both lazy."""
        given, rate, params = [*map(self._to_step_inputs, batches)], np.float32(learning_rate), self.params
        parts = compute_shares(self.model.config, self.model.architecture, self._split(batches), self.processes)
        if self.placement.mesh is not None:
            key, total, loss = self._sum_shared_gradients(given, np.array(parts, np.float32).reshape(len(given), -1))
            state, scalars = _apply_total(self.fixed, params, self.moments, key, total, loss, rate)
        elif len(batches) == 1:
            state, scalars = _run_step(self.fixed, params, self.moments, self.key, given[0], rate)
        else:
            total, key, losses = jax.tree.map(jnp.zeros_like, params), self.key, []
            for batch, share in zip(given, parts, strict=True):
                total, key, loss = _accumulate(self.fixed, params, total, key, batch, np.float32(share))
                losses.append(loss)
            state, scalars = _apply_total(self.fixed, params, self.moments, key, total, jnp.stack(losses).sum(), rate)
        params, self.moments, self.key = state
        self._set_parameters(params)
        self.steps += 1
        return scalars

    def evaluate(self, batch: Batch) -> dict[str, Any]:
        """Loss and correct predictions of masked tokens, summed over the labels, and how many there are."""
        return _run_evaluation(self.fixed, self._get_local(), self._to_inputs(batch))

    def state(self) -> State:
        """Copies of the parameters and moments by their published names, and the generator's state."""
        adam: Any = self.placement.localize(self.moments[0])
        return State(
            tensors=self._to_published(self._get_local()),
            first_moments=self._to_published(adam.mu),
            second_moments=self._to_published(adam.nu),
            steps=self.steps,
            random={"flax": np.asarray(jax.random.key_data(self.placement.localize(self.key)))},
        )

    def load_state(self, state: State) -> None:
        """Restore a state; raise `ValueError` unless it holds exactly the parameters of the model."""
        table = dict(tensors(self.model))
        state.check(table)
        assign(self.model, ((name, state.tensors[name]) for name in table))
        self._copy_parameters()
        first, second = (
            nest(convert_tensors(self.model, ((name, moments[name]) for name in table)))
            for moments in (state.first_moments, state.second_moments)
        )
        adam = self.placement.replicate(optax.ScaleByAdamState(jnp.int32(state.steps), first, second))
        self.moments = (adam, *self.moments[1:])
        self.steps = state.steps
        if "flax" in state.random:
            self.key = self._place_key(jnp.asarray(state.random["flax"]))

    def _copy_parameters(self) -> None:
        """Copy the parameters: what was loaded may be borrowed memory, which a step cannot own."""
        copied = jax.tree.map(jnp.array, self._get_local())
        self._set_parameters(self.placement.replicate(copied))

    def _set_parameters(self, params: dict[str, Any]) -> None:
        """Give the model its new parameters: the old ones' memory is taken over by them."""
        self.shared = params
        for name, value in flatten(self.placement.localize(params)):
            self.variables[name].set_value(value)

    def _get_local(self) -> dict[str, Any]:
        """The parameters on a device of this process, which are those of the model."""
        return nest((name, variable.get_raw_value()) for name, variable in self.variables.items())

    def _place_key(self, data: Array) -> Array:
        return jax.random.wrap_key_data(self.placement.replicate(data), impl=GENERATOR)

    def _split(self, batches: Sequence[Batch]) -> list[Batch]:
        """The rows of each device of this process."""
        if self.placement.mesh is None:
            return list(batches)
        sizes = [len(next(iter(batch.values()))) // self.processes.devices for batch in batches]
        return [part for batch, size in zip(batches, sizes, strict=True) for part in split_batch(batch, size)]

    def _sum_shared_gradients(self, batches: Sequence[Any], shares: np.ndarray) -> tuple[Array, Any, Array]:
        """The next key, and the sums over all devices and micro-batches of the gradients and the losses.

        Args:
            batches: this process's rows of each micro-batch.
            shares: the share of all labels that each micro-batch [N] has on each device [N, devices].
        """
        place, total, key, losses = self.placement, None, self.key, []
        for batch, share in zip(batches, shares, strict=True):
            total, key, loss = _accumulate_shared(
                self.fixed, place.mesh, self.params, total, key, place.shard(batch), place.shard(share)
            )
            losses.append(loss)
        return key, *_sum_devices(total, losses)

    def _to_step_inputs(self, batch: Batch) -> dict[str, np.ndarray]:
        """The inputs, with the tokens to compute where these are not all."""
        inputs = self._to_inputs(batch)
        if not self.can_unpad or "attention_mask" not in inputs:
            return inputs
        visible = {**inputs, "attention_mask": inputs["attention_mask"] > 0}
        rows = find_rows(visible, _round_up_rows)
        return inputs if rows is None else {**inputs, ROWS: rows.astype(np.int32)}

    def _to_inputs(self, batch: Batch) -> dict[str, np.ndarray]:
        """The inputs, their length rounded up to one of a few; a mask that hides nothing is skipped, which is faster.

        The scores of an answer are compared along the whole sequence, padding too: its length stays as it is.
        """
        inputs = {name: convert_input(name, array) for name, array in batch.items()}
        sizes, larger = measure(self.model, inputs)
        larger = larger._replace(batch=sizes.batch)
        if larger != sizes and "start_positions" not in inputs:
            inputs = pad_inputs(self.model, inputs, sizes, larger)
        elif inputs["attention_mask"].all() and self.placement.count == 1:  # all processes run one program
            del inputs["attention_mask"]
        return narrow_ints(inputs)

    def _to_published(self, params: Any) -> dict[str, np.ndarray]:
        return {name: np.array(value, np.float32, order="C") for name, value in tensors(self.model, params)}


class _Fixed(NamedTuple):
    """What the compiled functions are compiled for: the model without its values, and the optimiser's settings."""

    structure: Any
    config: str
    settings: Optimizer

    def model(self, params: Any, key: Array | None) -> Any:
        """The model with its values, its dropout drawn from the key, in the precision of the settings."""
        model = rebuild_model(self.structure, params)
        if key is not None:
            enable_dropout(model, key)
        if self.settings.precision == "bfloat16":
            set_compute_dtype(model, jnp.bfloat16)
        return model


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _run_step(fixed: _Fixed, params: Any, moments: Any, key: Array, batch: Any, rate: Array) -> Any:
    key, drawn = jax.random.split(key)
    loss, gradients = jax.value_and_grad(_compute_loss, argnums=1)(fixed, params, drawn, batch)
    return _update(fixed, params, moments, key, gradients, loss, rate)


@partial(jax.jit, static_argnums=0, donate_argnums=2)
def _accumulate(fixed: _Fixed, params: Any, total: Any, key: Array, batch: Any, share: Array) -> Any:
    key, drawn = jax.random.split(key)
    loss, gradients = jax.value_and_grad(_compute_loss, argnums=1)(fixed, params, drawn, batch)
    return jax.tree.map(lambda value, gradient: value + share * gradient, total, gradients), key, share * loss


@partial(jax.jit, static_argnums=(0, 1), donate_argnums=3)
def _accumulate_shared(
    fixed: _Fixed, mesh: Any, params: Any, total: Any, key: Array, batch: Any, shares: Array
) -> tuple[Any, Array, Array]:
    """Add each device's gradients of its rows to its total [devices, ...]; also the next key, and the losses."""

    def run(params: Any, total: Any, drawn: Array, batch: Any, share: Array) -> tuple[Any, Array]:
        drawn = jax.random.fold_in(drawn, jax.lax.axis_index(AXIS))  # another dropout on each device
        loss, gradients = jax.value_and_grad(_compute_loss, argnums=1)(fixed, params, drawn, batch)
        added = jax.tree.map(lambda gradient: (share[0] * gradient)[None], gradients)
        return added if total is None else jax.tree.map(jnp.add, total, added), share * loss

    key, drawn = jax.random.split(key)
    rows, whole = PartitionSpec(AXIS), PartitionSpec()
    run = jax.shard_map(
        run, mesh=mesh, in_specs=(whole, rows, whole, rows, rows), out_specs=(rows, rows), check_vma=False
    )
    total, loss = run(params, total, drawn, batch, shares)
    return total, key, loss


@partial(jax.jit, donate_argnums=0)
def _sum_devices(total: Any, losses: Sequence[Array]) -> tuple[Any, Array]:
    return jax.tree.map(lambda value: value.sum(axis=0), total), jnp.stack(losses).sum()


@partial(jax.jit, static_argnums=0, donate_argnums=(1, 2))
def _apply_total(fixed: _Fixed, params: Any, moments: Any, key: Array, total: Any, loss: Array, rate: Array) -> Any:
    return _update(fixed, params, moments, key, total, loss, rate)


@partial(jax.jit, static_argnums=0)
def _run_evaluation(fixed: _Fixed, params: Any, batch: Any) -> Any:
    logits, labels = _predict(fixed.model(params, None), batch)
    kept = labels != IGNORED
    correct = (logits.argmax(axis=-1) == labels) & kept
    return {"loss": token_loss(logits, labels, count=1), "correct": correct.sum(), "count": kept.sum()}


def _update(fixed: _Fixed, params: Any, moments: Any, key: Array, gradients: Any, loss: Array, rate: Array) -> Any:
    norm = optax.tree.norm(gradients)
    if fixed.settings.clip_norm:
        scale = jnp.minimum(fixed.settings.clip_norm / norm, 1.0)
        gradients = jax.tree.map(lambda gradient: scale * gradient, gradients)
    updates, moments = adamw(rebuild_model(fixed.structure, params), fixed.settings).update(gradients, moments, params)
    return (apply_updates(params, updates, rate), moments, key), {"loss": loss, "gradient_norm": norm}


def _compute_loss(fixed: _Fixed, params: Any, key: Array, batch: Any) -> Array:
    """The mean loss of a micro-batch: of its masked positions, or what the class makes of its labels."""
    model, inputs = fixed.model(params, key), dict(batch)
    if ROWS in inputs:
        _compute_only(model, inputs.pop(ROWS), inputs["input_ids"].shape)
    if "masked_labels" in inputs:
        return token_loss(*_predict(model, inputs))
    if "label_weights" in inputs:
        labels, weights = inputs.pop("labels"), inputs.pop("label_weights")
        return weighted_loss(model._forward(**inputs, return_dict=True).logits, labels, weights)
    return model._forward(**inputs, return_dict=True).loss


def _compute_only(model: Any, rows: Array, shape: tuple[int, ...]) -> None:
    """Let the encoder of a model compute some tokens only."""
    unpadding = Unpadding(rows, (math.prod(shape[:-1]), shape[-1]))
    for _, module in nnx.iter_modules(model):
        if isinstance(module, Encoder | SelfAttention):
            module.unpadding = unpadding


def _round_up_rows(count: int) -> int:
    """The next power of two, or three quarters of it: XLA compiles for each number."""
    whole = 1 << (count - 1).bit_length()
    return whole * 3 // 4 if count <= whole * 3 // 4 else whole


def _predict(model: Any, batch: Any) -> tuple[Array, Array]:
    """The logits [B, K, V] of the masked positions alone, and their labels [B, K]."""
    inputs = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
    hidden = model.roberta._forward(**inputs, return_dict=True).last_hidden_state  # [B, S, D]
    chosen = jnp.take_along_axis(hidden, batch["masked_positions"][..., None], axis=1)
    return model.lm_head(chosen, model.get_input_embeddings()), batch["masked_labels"]

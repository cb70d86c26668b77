"""Training steps in TensorFlow: the loss of a class, AdamW, and the state that a checkpoint keeps.

Shapes: B batch, S sequence, K masked positions at most, D hidden, V vocabulary.
bfloat16 means Keras's policy mixed_bfloat16, over float32 variables. A step is one graph for every shape of a batch.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from roberta_core.data.batches import Batch
from roberta_core.training.optimizer_step import compute_shares
from roberta_core.training.processes import ALONE, Processes, draw_seed
from roberta_core.training.recipe import Recipe
from roberta_core.training.training_checkpoint import State
from roberta_core.training.unpadding import find_rows, has_only_own_layers
from roberta_tf.encoder import Encoder, SelfAttention
from roberta_tf.losses import IGNORED, token_loss, weighted_loss
from roberta_tf.optimizer import adamw
from roberta_tf.processes import sum_tensors
from roberta_tf.unpadding import Unpadding
from roberta_tf.weights import assign, convert_tensors, get_device, to_published, variables

ROWS = "computed_rows"  # of a batch: which tokens are computed [R], where these are not all


class Trainer:
    """A model with AdamW, as the recipe says; parameters and moments are float32, whatever it computes in."""

    def __init__(self, model: Any, recipe: Recipe, processes: Processes = ALONE):
        self.model, self.settings, self.steps = model, recipe.optimizer, 0
        self.processes, self.seed = processes, recipe.run.seed
        self.device = get_device(model)
        self.unpadding = _attach_unpadding(model)
        if recipe.run.gradient_checkpointing:
            model.gradient_checkpointing_enable()
        self.variables = dict(variables(model))
        with tf.device(self.device):
            self.optimizer = adamw(model, self.settings)
        found = [getattr(layer, "seed_generator", None) for layer in model._flatten_layers()]
        self.seeds = [one.state for one in found if isinstance(one, keras.random.SeedGenerator)]  # those of dropout
        for number, seed in enumerate(self.seeds):
            seed.assign(np.random.default_rng([recipe.run.seed, number]).integers(2**31, size=2))
        self.totals: list[tf.Variable] = []
        self.graphs = {
            call: tf.function(call, reduce_retracing=True, autograph=False)
            for call in (
                self._run_step,
                self._run_shared_step,
                self._accumulate,
                self._apply_total,
                self._run_evaluation,
            )
        }

    def step(self, batches: Sequence[Batch], learning_rate: float) -> dict[str, tf.Tensor]:
        """One step of AdamW on the mean loss of all labels, and the gradient norm before clipping; both lazy."""
        with tf.device(self.device):
            return self._take_step(batches, learning_rate)

    def _take_step(self, batches: Sequence[Batch], learning_rate: float) -> dict[str, tf.Tensor]:
        several = self.processes.count > 1
        if several:  # another dropout in each process, which needs no state of each to resume
            for number, seed in enumerate(self.seeds):
                drawn = draw_seed(self.seed, self.steps, self.processes.index, number)
                seed.assign([drawn % 2**31, drawn >> 32])
        parts = compute_shares(self.model.config, self.model.architecture, batches, self.processes)
        given = [self._to_inputs(batch) for batch in batches]
        rates = self.optimizer.rates(self.steps + 1, learning_rate)
        if len(batches) == 1 and not several:
            loss, norm = self.graphs[self._run_step](given[0], rates)
        elif len(batches) == 1:
            loss, norm = self.graphs[self._run_shared_step](given[0], tf.constant(parts[0], tf.float32), rates)
        else:
            if not self.totals:
                self.totals = [tf.Variable(tf.zeros(value.shape), trainable=False) for value in self.variables.values()]
            losses = [
                self.graphs[self._accumulate](batch, tf.constant(share, tf.float32))
                for batch, share in zip(given, parts, strict=True)
            ]
            loss, norm = self.graphs[self._apply_total](tf.add_n(losses), rates)
        self.steps += 1
        return {"loss": loss, "gradient_norm": norm}

    def evaluate(self, batch: Batch) -> dict[str, Any]:
        """Loss and correct predictions of masked tokens, summed over the labels, and how many there are."""
        with tf.device(self.device):
            return self.graphs[self._run_evaluation](_to_tensors(batch))

    def state(self) -> State:
        """Copies of the parameters and moments by their published names, and the generator's state."""
        return State(
            tensors=self._to_published(self.variables),
            first_moments=self._to_published(self.optimizer.first),
            second_moments=self._to_published(self.optimizer.second),
            steps=self.steps,
            random={"tf": np.array([seed.numpy() for seed in self.seeds], np.int64).reshape(-1, 2)},
        )

    def load_state(self, state: State) -> None:
        """Restore a state; raise `ValueError` unless it holds exactly the parameters of the model."""
        state.check(self.variables)
        assign(self.model, ((name, state.tensors[name]) for name in self.variables))
        for own, moments in (
            (self.optimizer.first, state.first_moments),
            (self.optimizer.second, state.second_moments),
        ):
            for name, value in convert_tensors(self.model, moments.items()):
                own[name].assign(value)
        self.steps = state.steps
        if "tf" in state.random:
            for seed, value in zip(self.seeds, state.random["tf"], strict=True):
                seed.assign(value)

    def _run_step(self, batch: Mapping[str, tf.Tensor], rates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss, gradients = self._compute_gradients(batch)
        return loss, self._update(gradients, rates)

    def _run_shared_step(
        self, batch: Mapping[str, tf.Tensor], share: tf.Tensor, rates: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        loss, gradients = self._compute_gradients(batch)
        loss, *gradients = sum_tensors(self.processes, [share * value for value in (loss, *gradients)])
        return loss, self._update(gradients, rates)

    def _accumulate(self, batch: Mapping[str, tf.Tensor], share: tf.Tensor) -> tf.Tensor:
        loss, gradients = self._compute_gradients(batch)
        for total, gradient in zip(self.totals, gradients, strict=True):
            total.assign_add(share * gradient)
        return share * loss

    def _apply_total(self, loss: tf.Tensor, rates: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        loss, *gradients = sum_tensors(self.processes, [loss, *(total.read_value() for total in self.totals)])
        norm = self._update(gradients, rates)
        for total in self.totals:
            total.assign(tf.zeros_like(total))
        return loss, norm

    def _run_evaluation(self, batch: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        with self._autocast():
            logits, labels = self._predict(batch, training=False)
        kept = tf.not_equal(labels, IGNORED)
        correct = tf.equal(tf.argmax(logits, axis=-1, output_type=tf.int32), labels) & kept
        return {
            "loss": token_loss(logits, labels, count=1),
            "correct": tf.math.count_nonzero(correct),
            "count": tf.math.count_nonzero(kept),
        }

    def _compute_gradients(self, batch: Mapping[str, tf.Tensor]) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """The mean loss of a micro-batch, and its gradients."""
        inputs = dict(batch)
        with self._unpad(inputs.pop(ROWS, None), inputs.get("input_ids")):
            with tf.GradientTape() as tape, self._autocast():
                loss = self._compute_loss(inputs)
            values = [variable.value for variable in self.variables.values()]
            gradients: Any = tape.gradient(loss, values, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        return loss, gradients

    @contextmanager
    def _unpad(self, rows: tf.Tensor | None, ids: Any) -> Iterator[None]:
        """Trace a graph that computes only some tokens, or all if `rows` is None.

        All are computed if functions run eagerly: a model then calls a graph that it keeps, and that would keep `rows`.
        """
        if self.unpadding is None or rows is None or tf.executing_eagerly():
            yield
            return
        length = tf.shape(ids)[-1]
        self.unpadding.rows, self.unpadding.shape = rows, (tf.size(ids) // length, length)
        try:
            yield
        finally:
            self.unpadding.rows, self.unpadding.shape = None, (0, 0)

    def _compute_loss(self, batch: Mapping[str, tf.Tensor]) -> tf.Tensor:
        """The mean loss of a micro-batch: of its masked positions, or what the class makes of its labels."""
        if "masked_labels" in batch:
            return token_loss(*self._predict(batch, training=True))
        inputs = dict(batch)
        if "label_weights" in inputs:
            labels, weights = inputs.pop("labels"), inputs.pop("label_weights")
            return weighted_loss(self.model(**inputs, return_dict=True, training=True).logits, labels, weights)
        return self.model(**inputs, return_dict=True, training=True).loss

    def _predict(self, batch: Mapping[str, tf.Tensor], training: bool) -> tuple[tf.Tensor, tf.Tensor]:
        """The logits [B, K, V] of the masked positions alone, and their labels [B, K]."""
        inputs = {name: batch[name] for name in ("input_ids", "attention_mask") if name in batch}
        hidden = self.model.roberta(**inputs, return_dict=True, training=training).last_hidden_state  # [B, S, D]
        chosen = tf.gather(hidden, batch["masked_positions"], batch_dims=1)
        return self.model.lm_head(chosen, words=self.model.get_input_embeddings()), batch["masked_labels"]

    def _update(self, gradients: Sequence[tf.Tensor], rates: tf.Tensor) -> tf.Tensor:
        """Scale the gradients down to the norm `clip_norm` (0: never), apply them, and return their norm before."""
        norm = tf.linalg.global_norm(gradients)
        if self.settings.clip_norm:
            scale = tf.minimum(self.settings.clip_norm / norm, 1.0)
            gradients = [scale * gradient for gradient in gradients]
        self.optimizer.apply(gradients, rates)
        return norm

    @contextmanager
    def _autocast(self) -> Iterator[None]:
        """Layers compute in the precision of the settings while they are traced."""
        if self.settings.precision == "float32":
            yield
            return
        layers = self.model._flatten_layers()
        policies = [layer.dtype_policy for layer in layers]
        for layer in layers:
            layer.dtype_policy = keras.DTypePolicy("mixed_bfloat16")
        try:
            yield
        finally:
            for layer, policy in zip(layers, policies, strict=True):
                layer.dtype_policy = policy

    def _to_inputs(self, batch: Batch) -> dict[str, tf.Tensor]:
        """The inputs as tensors, with the tokens to compute where these are not all."""
        rows = None if self.unpadding is None else find_rows(batch)
        return _to_tensors(batch if rows is None else {**batch, ROWS: rows})

    def _to_published(self, values: Mapping[str, Any]) -> dict[str, np.ndarray]:
        return {name: np.array(value, order="C") for name, value in to_published(self.model, values.items())}


def _attach_unpadding(model: Any) -> Unpadding | None:
    """Let the encoder of a model compute some tokens only; None if the model has a layer of a user."""
    layers = [*model._flatten_layers()]
    if not has_only_own_layers(map(type, layers), "roberta_tf", (keras.layers.Dropout,)):
        return None
    unpadding = Unpadding()
    for layer in layers:
        if isinstance(layer, Encoder | SelfAttention):
            layer.unpadding = unpadding
    return unpadding


def _to_tensors(batch: Batch) -> dict[str, tf.Tensor]:
    """The inputs as tensors, integers as int32; a mask that hides nothing is skipped, which is faster."""
    return {
        name: tf.constant(array, tf.int32 if array.dtype.kind in "iu" else tf.float32)
        for name, array in batch.items()
        if name != "attention_mask" or not array.all()
    }

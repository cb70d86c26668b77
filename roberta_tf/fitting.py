"""`compile`, `fit`, `evaluate` and `predict` for models that know their own loss.

A batch is (x, y), or a dict of inputs that holds its labels. Without a loss in `compile` the model's own is used.
"""

from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from roberta_tf.calls import bind_inputs, has_own_call

LABELS = ("labels", "start_positions", "end_positions")
SCORES = ("logits", "start_logits", "end_logits")
POSITIONS = {"start_positions": "start_logits", "end_positions": "end_logits"}  # label -> the scores it belongs to


class FitModel(keras.Model):
    """A Keras model whose outputs are named and may hold a loss."""

    def compile(self, *args: Any, metrics: Any = None, **kwargs: Any) -> None:
        """Configure training; metrics of a model with two labels are computed for each, unless there is one for each.

        Args:
            *args: As for `keras.Model.compile`.
            metrics: As for `keras.Model.compile`.
            **kwargs: As for `keras.Model.compile`.
        """
        has_two = POSITIONS.keys() <= self._call_signature.parameters.keys()
        if has_two and isinstance(metrics, list | tuple) and metrics and len(metrics) != len(POSITIONS):
            metrics = {scores: [copy_metric(one) for one in metrics] for scores in POSITIONS.values()}
        super().compile(*args, **({} if metrics is None else {"metrics": metrics}), **kwargs)

    def compile_from_config(self, config: dict[str, Any]) -> None:
        """Configure training as before the model was saved, so that a loaded model resumes `fit`.

        Args:
            config: What `get_compile_config` returned.
        """
        if type(self).compile is not FitModel.compile:  # of a user's class, whose arguments are not known
            super().compile_from_config(config)
            return
        self.compile(**keras.saving.deserialize_keras_object(config))
        if self.built and self.optimizer is not None:
            self.optimizer.build(self.trainable_variables)

    def train_step(self, data: Any) -> Any:
        """One step of `fit`."""
        return super().train_step(self._split_batch(data))

    def test_step(self, data: Any) -> Any:
        """One step of `evaluate`."""
        return super().test_step(self._split_batch(data))

    def predict_step(self, data: Any) -> Any:
        """One step of `predict`, which has no use for labels."""
        x, _, _ = self._split_batch(data)
        if isinstance(x, Mapping):
            x = {name: value for name, value in x.items() if name not in LABELS}
        return super().predict_step((x,))

    def _split_batch(self, data: Any) -> tuple[dict[str, Any], Any, Any]:
        """Inputs by name, labels and sample weights; the labels are inputs too if the model computes its loss."""
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        if has_own_call(type(self)) and "input_ids" not in self._call_signature.parameters:
            return x, y, weights
        x = bind_inputs(self._call_signature, (x,), {})
        given = {name: x[name] for name in LABELS if name in x}
        if y is None and given:
            y = given["labels"] if list(given) == ["labels"] else given
        if self.loss is None and y is not None:
            return {**x, **(y if isinstance(y, Mapping) else {"labels": y})}, y, weights
        return {name: value for name, value in x.items() if name not in LABELS}, y, weights

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> Any:
        """The compiled loss of the scores, or the model's own."""
        if self.loss is not None:
            return super().compute_loss(x, y, select_scores(y_pred, y), sample_weight, training)
        if sample_weight is not None:
            raise ValueError("the model's own loss takes no sample weights; give compile() a loss")
        if y is None:
            raise ValueError("there is no loss: give compile() one, or the model labels")
        loss = y_pred["loss"] if isinstance(y_pred, Mapping) else y_pred[0]
        return tf.add_n([tf.reduce_mean(loss), *(tf.cast(own, loss.dtype) for own in self.losses)])

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        """The compiled metrics of the scores."""
        if isinstance(y, Mapping):
            y = {POSITIONS.get(name, name): value for name, value in y.items()}
        return super().compute_metrics(x, y, select_scores(y_pred, y), sample_weight)


def copy_metric(metric: Any) -> Any:
    """Return a metric with its own state."""
    return metric.from_config(metric.get_config()) if isinstance(metric, keras.metrics.Metric) else metric


def select_scores(y_pred: Any, y: Any) -> Any:
    """What losses and metrics compare with the labels: the logits, or a dict of outputs where the labels are one."""
    if not isinstance(y_pred, Mapping):
        return y_pred
    if isinstance(y, Mapping):
        return {name: y_pred[name] for name in y if name in y_pred} or {n: y_pred[n] for n in SCORES if n in y_pred}
    return next((y_pred[name] for name in SCORES if name in y_pred), y_pred)

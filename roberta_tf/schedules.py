"""The optimiser and schedule that published TensorFlow scripts make with `create_optimizer`, on Keras 3."""

import re
from collections.abc import Callable, Sequence
from typing import Any

import keras
import tensorflow as tf

EXCLUDED = ("LayerNorm", "layer_norm", "bias")  # parts of the paths of variables without weight decay


@keras.saving.register_keras_serializable(package="roberta_tf")
class WarmUp(keras.optimizers.schedules.LearningRateSchedule):
    """A learning rate that rises from 0 to `initial_learning_rate`, then follows another schedule.

    Args:
        initial_learning_rate: The learning rate after the warm-up.
        decay_schedule_fn: The schedule after the warm-up, a function of the steps since its end.
        warmup_steps: The number of steps of the warm-up.
        power: The power of the rise; 1 is linear.
        name: The name of the operations.
    """

    def __init__(
        self,
        initial_learning_rate: float,
        decay_schedule_fn: Callable[[Any], Any],
        warmup_steps: int,
        power: float = 1.0,
        name: str | None = None,
    ):
        super().__init__()
        if warmup_steps < 1:
            raise ValueError(f"warmup_steps is {warmup_steps}; it must be at least 1")
        self.initial_learning_rate, self.decay_schedule_fn = initial_learning_rate, decay_schedule_fn
        self.warmup_steps, self.power, self.name = warmup_steps, power, name

    def __call__(self, step: Any) -> tf.Tensor:
        """Return the learning rate of a step, counted from 0."""
        with tf.name_scope(self.name or "WarmUp"):
            step = tf.cast(step, tf.float32)
            rising = self.initial_learning_rate * tf.pow(step / self.warmup_steps, self.power)
            return tf.where(step < self.warmup_steps, rising, self.decay_schedule_fn(step - self.warmup_steps))

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        names = ("initial_learning_rate", "warmup_steps", "power", "name")
        schedule = keras.saving.serialize_keras_object(self.decay_schedule_fn)
        return {**{name: getattr(self, name) for name in names}, "decay_schedule_fn": schedule}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """Return the schedule of `get_config`."""
        schedule = keras.saving.deserialize_keras_object(config["decay_schedule_fn"])
        return cls(**{**config, "decay_schedule_fn": schedule})


@keras.saving.register_keras_serializable(package="roberta_tf")
class AdamWeightDecay(keras.optimizers.AdamW):
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019), of the variables that their paths select.

    Args:
        learning_rate: A number or a schedule.
        beta_1: Decay of the first moment.
        beta_2: Decay of the second moment.
        epsilon: Added to the root of the second moment.
        amsgrad: Whether to keep the largest second moment.
        weight_decay_rate: The weight decay, which is multiplied by the learning rate.
        include_in_weight_decay: Regular expressions, found in the paths of variables that decay even if they are
            excluded.
        exclude_from_weight_decay: Regular expressions, found in the paths of variables that do not decay.
        name: The name of the optimiser.
        **kwargs: Further arguments of `keras.optimizers.Adam`, such as `clipnorm`.
    """

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta_1: float = 0.9,
        beta_2: float = 0.999,
        epsilon: float = 1e-7,
        amsgrad: bool = False,
        weight_decay_rate: float = 0.0,
        include_in_weight_decay: Sequence[str] | None = None,
        exclude_from_weight_decay: Sequence[str] | None = None,
        name: str = "AdamWeightDecay",
        **kwargs: Any,
    ):
        moments = {"beta_1": beta_1, "beta_2": beta_2, "epsilon": epsilon, "amsgrad": amsgrad}
        super().__init__(learning_rate, weight_decay=weight_decay_rate, **moments, name=name, **kwargs)
        self.included, self.excluded = tuple(include_in_weight_decay or ()), tuple(exclude_from_weight_decay or ())

    def build(self, var_list: Any) -> None:
        """Choose the variables that decay."""
        if not self.built and self.excluded:
            self.exclude_from_weight_decay(var_list=[one for one in var_list if not self._has_decay(one.path)])
        super().build(var_list)

    def _has_decay(self, path: str) -> bool:
        kept, left = (any(re.search(one, path) for one in chosen) for chosen in (self.included, self.excluded))
        return kept or not left

    def get_config(self) -> dict[str, Any]:
        """Return the arguments of the constructor."""
        chosen = {"include_in_weight_decay": self.included, "exclude_from_weight_decay": self.excluded}
        config = super().get_config()
        rate = config.pop("weight_decay")
        return {**config, "weight_decay_rate": rate, **chosen}


def create_optimizer(
    init_lr: float,
    num_train_steps: int,
    num_warmup_steps: int,
    min_lr_ratio: float = 0.0,
    adam_beta1: float = 0.9,
    adam_beta2: float = 0.999,
    adam_epsilon: float = 1e-8,
    adam_clipnorm: float | None = None,
    adam_global_clipnorm: float | None = None,
    weight_decay_rate: float = 0.0,
    power: float = 1.0,
    include_in_weight_decay: Sequence[str] | None = None,
) -> tuple[keras.optimizers.Optimizer, keras.optimizers.schedules.LearningRateSchedule]:
    """Return Adam and its learning rate, which rises in a warm-up and then falls, for `model.compile`.

    Args:
        init_lr: The learning rate at the end of the warm-up.
        num_train_steps: The number of steps.
        num_warmup_steps: The number of steps of the warm-up, which is linear.
        min_lr_ratio: The last learning rate as a part of `init_lr`.
        adam_beta1: Decay of the first moment.
        adam_beta2: Decay of the second moment.
        adam_epsilon: Added to the root of the second moment.
        adam_clipnorm: The largest norm of the gradient of one variable.
        adam_global_clipnorm: The largest norm of all gradients.
        weight_decay_rate: The weight decay of all variables except biases and those of LayerNorm.
        power: The power of the fall; 1 is linear.
        include_in_weight_decay: Parts of the paths of variables that decay nevertheless.

    Returns:
        The optimiser and its schedule.

    Raises:
        ValueError: The warm-up takes all of the steps.
    """
    if num_train_steps <= num_warmup_steps:
        raise ValueError(
            f"num_train_steps is {num_train_steps} and num_warmup_steps {num_warmup_steps}; training must last longer "
            "than its warm-up"
        )
    schedule: Any = keras.optimizers.schedules.PolynomialDecay(
        init_lr, num_train_steps - num_warmup_steps, init_lr * min_lr_ratio, power
    )
    if num_warmup_steps:
        schedule = WarmUp(init_lr, schedule, num_warmup_steps)
    settings: dict[str, Any] = {"beta_1": adam_beta1, "beta_2": adam_beta2, "epsilon": adam_epsilon}
    settings |= {"clipnorm": adam_clipnorm, "global_clipnorm": adam_global_clipnorm}
    if weight_decay_rate <= 0:
        return keras.optimizers.Adam(schedule, **settings), schedule
    chosen = {"include_in_weight_decay": include_in_weight_decay, "exclude_from_weight_decay": EXCLUDED}
    return AdamWeightDecay(schedule, weight_decay_rate=weight_decay_rate, **settings, **chosen), schedule

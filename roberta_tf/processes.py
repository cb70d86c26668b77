"""Processes that train one model together in TensorFlow: the workers of TF_CONFIG, with tf.distribute's collectives."""

import json
import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np
import tensorflow as tf
from tensorflow.python.eager import context  # the barrier of its coordination service, which it does not publish

from roberta_core.training.processes import Processes

# Tensors are summed in packs of this size: the system would map and clear larger buffers again in every step.
PACK = tf.distribute.experimental.CommunicationOptions(bytes_per_pack=8 * 2**20)
LEAVING = 20_000  # milliseconds that a process waits for the others before it ends
LOST = (
    tf.errors.AbortedError,
    tf.errors.CancelledError,
    tf.errors.DeadlineExceededError,
    tf.errors.InternalError,
    tf.errors.UnavailableError,
)


class DistributedProcesses(Processes):
    """The workers of a strategy, each with one device.

    Args:
        strategy: the strategy, whose collectives sum the gradients.
        index: the number of this worker.
    """

    def __init__(self, strategy: tf.distribute.Strategy, index: int):
        super().__init__(index, strategy.num_replicas_in_sync)
        self.strategy = strategy
        signature = [tf.TensorSpec([None], tf.float64)]
        self._sum_vector = tf.function(lambda values: self.sum_tensors([values])[0], input_signature=signature)

    def sum_arrays(self, values: np.ndarray) -> np.ndarray:
        """Return the sums of float64 values [N] over all processes."""
        return self._sum_vector(tf.constant(values, tf.float64)).numpy()

    def sum_tensors(self, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
        """Return the sums of tensors over all processes."""

        def work(*values: tf.Tensor) -> list[tf.Tensor]:
            placed = [tf.identity(value) for value in values]  # on the device of this worker, which the sum needs
            return tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, placed, PACK)

        return self.strategy.run(work, args=tuple(tensors))

    def is_loss(self, error: BaseException) -> bool:
        """Whether an error of the framework means that another process has ended."""
        return isinstance(error, LOST)

    def close(self) -> None:
        """Wait until all processes are done: one that ends earlier can cut off the answer that another one reads."""
        own: Any = context.context()
        with suppress(tf.errors.OpError):  # process 0 has ended after all were here, or one of them has failed
            own.wait_at_barrier("done", LEAVING)


def join_processes() -> Processes:
    """Join the workers of TF_CONFIG; before TensorFlow uses a device.

    Raises:
        ValueError: this process sees several GPUs, or the workers cannot be joined.
    """
    if (seen := len(tf.config.list_physical_devices("GPU"))) > 1:
        raise ValueError(f"this process sees {seen} GPUs and trains on one: set CUDA_VISIBLE_DEVICES for each process")
    task = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
    try:
        strategy = tf.distribute.MultiWorkerMirroredStrategy()
    except (RuntimeError, tf.errors.OpError) as error:
        raise ValueError(_describe_failure(error, int(task))) from error
    return DistributedProcesses(strategy, int(task))


def sum_tensors(processes: Processes, tensors: Sequence[tf.Tensor]) -> list[tf.Tensor]:
    """Return the sums of tensors over all processes."""
    return processes.sum_tensors(tensors) if isinstance(processes, DistributedProcesses) else list(tensors)


def _describe_failure(error: Exception, index: int) -> str:
    place, text = json.loads(os.environ["TF_CONFIG"])["cluster"]["worker"][index], str(error)
    if "Could not start gRPC server" in text or "in use" in text:
        return f"the port of {place} is in use on this machine: set another one in TF_CONFIG"
    if "must be configured at program startup" in text:
        return "the workers must be joined before TensorFlow uses a device: start `roberta` as a command of its own"
    return f"worker {index} at {place} cannot join the others: {text}"

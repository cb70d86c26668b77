"""Workers of TensorFlow that share training."""

import numpy as np
import pytest

from roberta_core.training.processes import Processes
from roberta_tf import training
from roberta_tf.backend import BACKEND
from roberta_tf.weights import tensors


class Doubling(Processes):
    """Two processes with the same rows: a sum is twice the value."""

    def sum_arrays(self, values):
        return 2 * values


@pytest.fixture
def take_step(monkeypatch, steps):
    """Return `take_step(batches, processes)`, which returns the weights, the loss and the norm after one step."""
    monkeypatch.setattr(training, "sum_tensors", lambda processes, given: [processes.count * value for value in given])

    def run(batches, processes):
        trainer = steps.build_trainer(BACKEND)
        trainer.processes = processes
        scalars = trainer.step(batches, steps.RATE)
        return dict(tensors(trainer.model)), [float(value) for value in scalars.values()]

    return run


def test_a_shared_step_is_that_of_one_process_with_and_without_accumulation(take_step, steps):
    batch = steps.build_batch(0)
    halves = [{name: array[part] for name, array in batch.items()} for part in (slice(2), slice(2, None))]
    whole, numbers = take_step([batch], Processes())
    for batches in ([batch], halves):
        weights, scalars = take_step(batches, Doubling(0, 2))
        assert scalars == pytest.approx(numbers, rel=1e-5)
        for name, value in whole.items():
            np.testing.assert_allclose(weights[name], value, atol=1e-6, rtol=0, err_msg=name)

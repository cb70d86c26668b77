import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import numpy as np
import pytest
import tensorflow as tf

from roberta_core.config import RobertaConfig
from roberta_tf.weights import assign

tf.config.threading.set_intra_op_parallelism_threads(1)
tf.config.threading.set_inter_op_parallelism_threads(1)

models = {}


@pytest.fixture
def eager():
    """Run eagerly: a graph takes a second to trace and is used only once or twice."""
    tf.config.run_functions_eagerly(True)
    yield
    tf.config.run_functions_eagerly(False)


@pytest.fixture
def fresh(weights):
    """Return a function that builds a model of any class with large weights."""

    def made(kind, config: RobertaConfig, **settings):
        model = kind(config, seed=None, **settings)
        assign(model, weights(config, kind.architecture).items())
        return model

    return made


@pytest.fixture
def make(fresh):
    """Return the same function with cached models, to avoid tracing again; tests must not change them."""

    def made(kind, config: RobertaConfig, **settings):
        key = (kind, config.to_json_string(use_diff=False), *sorted(settings.items()))
        if key not in models:
            models[key] = fresh(kind, RobertaConfig.from_dict(config.to_dict()), **settings)
        return models[key]

    return made


@pytest.fixture
def ids() -> np.ndarray:
    """Return two rows of seven tokens; the second is padded on the right."""
    return np.array([[0, 45, 9, 100, 23, 71, 2], [0, 33, 80, 2, 1, 1, 1]])

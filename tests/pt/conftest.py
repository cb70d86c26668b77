import pytest
import torch

from roberta_core.config import RobertaConfig
from roberta_pt.weights import assign

torch.set_num_threads(1)


@pytest.fixture
def make(weights):
    """Return a function that builds a model of any class with large weights, in eval mode."""

    def made(kind, config: RobertaConfig, **settings):
        model = kind(config, seed=None, **settings)
        assign(model, weights(config, kind.architecture).items())
        model.tie_weights()
        return model.eval()

    return made


@pytest.fixture
def ids() -> torch.Tensor:
    """Return two rows of seven tokens; the second is padded on the right."""
    return torch.tensor([[0, 45, 9, 100, 23, 71, 2], [0, 33, 80, 2, 1, 1, 1]])

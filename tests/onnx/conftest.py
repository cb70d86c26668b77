import importlib.util
import os

import pytest

# ROBERTA_TEST_FRAMEWORKS lists the modules that an environment must have: without one of those, its tests fail.
REQUIRED = os.environ.get("ROBERTA_TEST_FRAMEWORKS", "").split()


def require_module(name: str) -> None:
    """Skip a test whose runtime is not installed, unless the environment must have it."""
    if importlib.util.find_spec(name) is None and name not in REQUIRED:
        pytest.skip(f"{name} is not installed")


@pytest.fixture(autouse=True)
def onnxruntime():
    """Every test of this folder needs ONNX Runtime."""
    require_module("onnxruntime")


@pytest.fixture
def openvino():
    """Ask for OpenVINO."""
    require_module("openvino")


@pytest.fixture
def checkpoint(config, weights, tmp_path):
    """`checkpoint(architecture, **fields)`: the folder of a small model with large weights and a tokenizer."""
    from roberta_core.checkpoints import resolve, save
    from roberta_core.checkpoints.hub import CARRIED, read_inside

    def make(architecture: str, **fields):
        for name, value in {"num_labels": 2, "vocab_size": 10000, "max_position_embeddings": 66, **fields}.items():
            setattr(config, name, value)
        config.is_decoder = architecture == "ForCausalLM"
        folder = tmp_path / f"{architecture}-{len(list(tmp_path.iterdir()))}"
        carried = read_inside(resolve("roberta-tiny"), CARRIED)
        save(folder, config, architecture, weights(config, architecture), carried=carried)
        return folder

    return make

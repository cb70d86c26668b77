import importlib.util
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, settings

from roberta_core.config import RobertaConfig
from roberta_core.parameters import Kind, parameters

# The time to draw an example depends on the load of the machine, not on the correctness of the code.
settings.register_profile("triberta", suppress_health_check=[HealthCheck.too_slow], deadline=None)
settings.load_profile("triberta")

# A shell's background job ignores SIGINT. The tests of Ctrl-C need the usual handler, here and in processes they start.
signal.signal(signal.SIGINT, signal.default_int_handler)

# No test accesses the Hub. huggingface_hub reads this on import, also in processes that tests start.
os.environ.setdefault("HF_HUB_OFFLINE", "1")


def load_module(name: str):
    """Import a module from this folder."""
    spec = importlib.util.spec_from_file_location(name, Path(__file__).with_name(f"{name}.py"))
    assert spec is not None
    assert spec.loader is not None
    found = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(found)
    return found


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Start a Hub on localhost (see `hub_server`) that replaces the public one, with an empty cache."""
    import huggingface_hub.constants
    import huggingface_hub.file_download
    import huggingface_hub.utils

    server = load_module("hub_server").Hub()
    monkeypatch.setenv("HF_ENDPOINT", server.url)
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", server.url)
    template = server.url + "/{repo_id}/resolve/{revision}/{filename}"
    for module in (huggingface_hub.constants, huggingface_hub.file_download):
        monkeypatch.setattr(module, "HUGGINGFACE_CO_URL_TEMPLATE", template, raising=False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hub-cache"))
    # Older releases cache sessions with their offline mode.
    forget = getattr(huggingface_hub.utils, "reset_sessions", lambda: None)
    forget()
    yield server
    server.stop()
    forget()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of reference checkpoints and data, which is not part of the project."""
    folder = Path(os.environ.get("ROBERTA_SHARED", Path(__file__).resolve().parents[2] / "shared"))
    if not (folder / "fixtures").is_dir():
        pytest.skip(f"no reference files in {folder}; ROBERTA_SHARED names another folder")
    return folder


@pytest.fixture(scope="session")
def steps():
    """Return the helpers for tests of training steps (see `steps.py`)."""
    return load_module("steps")


@pytest.fixture(scope="session")
def launching():
    """Return what starts several processes of a run (see `launcher.py`)."""
    return load_module("launcher")


@pytest.fixture(scope="session")
def serving():
    """Return the helpers for tests of the server (see `serving_client.py`)."""
    return load_module("serving_client")


@pytest.fixture(scope="session")
def browser(tmp_path_factory):
    """Start a headless browser (see `browser.py`)."""
    found = load_module("browser")
    program = found.find_browser()
    if program is None:
        pytest.skip("there is no Chromium or Chrome")
    started = found.Browser(program, tmp_path_factory.mktemp("browser"))
    yield started
    started.close()


def large_weights(config: RobertaConfig, architecture: str, seed: int = 3) -> dict[str, np.ndarray]:
    """Large weights, biases too: a freshly drawn model hides most mistakes."""
    generator = np.random.default_rng(seed)
    made = {}
    for name, parameter in parameters(config, architecture).items():
        values = generator.normal(0, 0.5, parameter.shape).astype(np.float32)
        made[name] = values + 1 if (parameter.kind, parameter.leaf) == (Kind.NORM, "weight") else values
    return made


@pytest.fixture(scope="session")
def weights():
    """Return `weights(config, architecture)`: the tensors of a model by name, large enough to show a mistake."""
    return large_weights


@pytest.fixture
def config() -> RobertaConfig:
    """No two sizes that could be swapped are equal."""
    return RobertaConfig(
        vocab_size=101,
        hidden_size=12,
        num_hidden_layers=2,
        num_attention_heads=3,
        intermediate_size=20,
        max_position_embeddings=19,
        type_vocab_size=5,
        layer_norm_eps=1e-5,
        num_labels=2,
    )

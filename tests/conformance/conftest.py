import os
import shutil
from functools import cache

import pytest

from conformance.faults.forward import FAULTS, Catch, measure_stages
from conformance.suite.case import Case, draw_weight, load_cases
from roberta_core import backend
from roberta_core.checkpoints import save
from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters
from roberta_core.tokenization import train_tokenizer

CASES = load_cases()
MODULES = {"pt": "torch", "tf": "tensorflow", "flax": "jax"}
# Files whose tests compare frameworks with each other.
ONE_PROCESS = ("test_exchange", "test_optimizer_steps", "test_relatives", "test_resume", "test_training_runs")


@cache
def moved(fault: str, name: str) -> dict[str, float] | None:
    """What a fault does to the stages of a case."""
    return measure_stages(FAULTS[fault], CASES[name])


@cache
def best_catch(fault: str) -> Catch | None:
    """The case and the stage that a fault moves most, in tolerances."""
    found = [
        Catch(fault, name, stage, error, case.rtol)
        for name, case in CASES.items()
        for stage, error in (moved(fault, name) or {}).items()
    ]
    return max(found, key=lambda catch: catch.margin, default=None)


@pytest.fixture(scope="session")
def cases() -> dict[str, Case]:
    return CASES


@pytest.fixture(scope="session", name="moved")
def fixture_moved():
    """`moved(fault, case)`: the error of each stage, None where the fault has nothing to change."""
    return moved


@pytest.fixture(scope="session", name="best_catch")
def fixture_best_catch():
    """`best_catch(fault)`: how the case that takes a fault best takes it."""
    return best_catch


@pytest.fixture(scope="session")
def tokenizer_files(tmp_path_factory):
    """A folder with a small vocabulary."""
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "text.txt").write_text(
        "a text and one more text, in a longer text than the other\n" * 9, encoding="utf-8"
    )
    train_tokenizer([folder / "text.txt"], vocab_size=300, folder=folder)
    return folder


@pytest.fixture(scope="session")
def checkpoint(tokenizer_files, tmp_path_factory):
    """`checkpoint(architecture)`: the folder of a small model with large weights and a tokenizer."""

    @cache
    def made(architecture: str) -> str:
        folder = tmp_path_factory.mktemp(architecture)
        shutil.copytree(tokenizer_files, folder, dirs_exist_ok=True)
        config = RobertaConfig(
            vocab_size=300,
            hidden_size=12,
            num_hidden_layers=1,
            num_attention_heads=3,
            intermediate_size=20,
            max_position_embeddings=62,
            is_decoder=architecture == "ForCausalLM",
            architectures=[f"Roberta{architecture}"],
        )
        weights = {"seed": 1, "spread": 0.5}
        table = parameters(config, architecture)
        tensors = {name: draw_weight(weights, name, row.kind, row.shape) for name, row in table.items()}
        config.save_pretrained(folder)
        save(folder, config, architecture, tensors)
        return str(folder)

    return made


def pytest_configure(config):
    config.addinivalue_line("markers", "xdist_group(name): tests that pytest-xdist runs in one process")


@pytest.hookimpl(tryfirst=True)  # pytest-xdist reads the marks in the same hook
def pytest_collection_modifyitems(items):
    """Keep tests that share computed results in one process: those of a framework, or of a file."""
    for item in items:
        found = getattr(item, "callspec", None)
        names = [value for value in (found.params.values() if found else ()) if value in [*MODULES]]
        shared = item.path.stem not in ONE_PROCESS and len(names) == 1
        item.add_marker(pytest.mark.xdist_group(names[0] if shared else item.path.stem))


def make_shared_framework(name: str):
    """Return an adapter whose TensorFlow models of the same class and configuration are one, with new weights.

    Tracing a graph takes seconds and depends on neither the weights nor the sizes of the inputs. The other frameworks
    need no such thing: JAX shares what it compiles, and PyTorch compiles nothing.
    """
    from conformance.adapters.framework import Framework

    models = {}

    class Shared(Framework):
        def build(self, architecture, config, tensors):
            key = architecture, config.to_json_string()
            if key not in models:
                models[key] = super().build(architecture, config, tensors)
            else:
                assign(models[key], tensors.items())
            return models[key]

    if name == "pt":
        import torch

        torch.set_num_threads(1)  # the models are tiny: starting threads takes longer than their work
    if name != "tf":
        return Framework(name)
    from roberta_tf.weights import assign

    return Shared(name)


@cache
def adapter(name: str):
    """The adapter of a framework, made once.

    ROBERTA_TEST_FRAMEWORKS lists the modules that an environment must have; without it a framework that is not
    installed is skipped, with it that is a failure.
    """
    if name not in backend.available() and MODULES[name] not in os.environ.get("ROBERTA_TEST_FRAMEWORKS", "").split():
        pytest.skip(f"{MODULES[name]} is not installed")
    return make_shared_framework(name)


@pytest.fixture(scope="session", name="adapter")
def fixture_adapter():
    """`adapter("pt")`: the adapter of a framework."""
    return adapter


@pytest.fixture(params=list(MODULES))
def framework(request):
    """The adapter of each framework."""
    return adapter(request.param)

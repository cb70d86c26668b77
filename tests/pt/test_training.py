"""Pretraining steps in PyTorch, and a run that is killed."""

import copy
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load_file

from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.parameters import decays, parameters
from roberta_core.tokenization import train_tokenizer
from roberta_core.training import pretrain
from roberta_core.training.recipe import Recipe
from roberta_pt import RobertaForMaskedLM
from roberta_pt.backend import BACKEND
from roberta_pt.training import Trainer

OPTIMIZER = {"batch_size": 3, "steps": 50, "warmup_steps": 5, "peak_learning_rate": 1e-2}
MODEL = {
    "hidden_size": 12,
    "num_hidden_layers": 2,
    "num_attention_heads": 3,
    "intermediate_size": 20,
    "max_position_embeddings": 19,
    "hidden_dropout_prob": 0.1,
    "attention_probs_dropout_prob": 0.1,
}


def recipe(**optimizer):
    return Recipe.from_dict(
        {
            "model": MODEL,
            "data": {"sequence_length": 17},
            "optimizer": {**OPTIMIZER, **optimizer},
            "run": {"threads": 1},
        }
    )


def trainer(plan=None, dropout=0.1, seed=0):
    plan = plan or recipe()
    config = plan.config(101)
    config.hidden_dropout_prob = config.attention_probs_dropout_prob = dropout
    return Trainer(RobertaForMaskedLM(config, seed=seed), plan)


@pytest.fixture(scope="module")
def data():
    starts = np.arange(40) * 9
    tokens = np.arange(369) % 90 + 4
    stops = starts + 9 + np.arange(40) % 4
    return MaskedBlocks(tokens, np.stack([starts, stops], axis=1), Masking(101, 100, rate=0.3), 17, seed=1)


def test_the_loss_is_that_of_the_model_over_the_masked_positions(data):
    ours = trainer(dropout=0.0)
    batch = data.batch(0, 3)
    labels = np.full_like(batch["input_ids"], -100)
    rows, places = np.nonzero(batch["masked_labels"] != -100)
    labels[rows, batch["masked_positions"][rows, places]] = batch["masked_labels"][rows, places]
    inputs = {name: torch.from_numpy(batch[name]) for name in ("input_ids", "attention_mask")}
    with torch.no_grad():
        wanted = ours.model(**inputs, labels=torch.from_numpy(labels))
    assert float(ours.step([batch], 1e-3)["loss"]) == pytest.approx(float(wanted.loss), rel=1e-6)


def test_an_evaluation_sums_over_the_labels_and_changes_nothing(data):
    ours = trainer(dropout=0.5)
    before = ours.state()
    batch = data.batch(0, 3)
    first, second = ours.evaluate(batch), ours.evaluate(batch)
    assert float(first["loss"]) == float(second["loss"])  # no dropout
    assert first["count"] == (batch["masked_labels"] != -100).sum()
    assert 0 <= int(first["correct"]) <= first["count"]
    assert all((before.tensors[name] == array).all() for name, array in ours.model.state_dict().items())


def test_training_learns(data):
    ours = trainer(dropout=0.0)
    losses = [float(ours.step([data.batch(number, 3)], 1e-2)["loss"]) for number in range(60)]
    assert np.mean(losses[-10:]) < np.mean(losses[:10]) - 0.3


def test_a_step_is_adamw_with_decay_on_matrices_alone(data):
    """The first step of AdamW is the sign of the gradient, then the decay (Loshchilov & Hutter 2019)."""
    plan = recipe(weight_decay=0.5, epsilon=1e-12)
    ours = trainer(plan, dropout=0.0)
    with torch.no_grad():
        for parameter in ours.parameters.values():
            parameter.add_(0.1)
    before = copy.deepcopy(ours.model.state_dict())
    ours.step([data.batch(0, 3)], 1e-3)
    table = parameters(ours.model.config, "ForMaskedLM")
    for name, parameter in ours.parameters.items():
        gradient = parameter.grad
        clear = gradient.abs() > 1e-6  # smaller ones are noise next to epsilon
        decayed = before[name] * (1 - 1e-3 * 0.5 * decays(table[name]))
        wanted = (decayed - 1e-3 * gradient.sign())[clear]
        torch.testing.assert_close(parameter.detach()[clear], wanted, rtol=0, atol=2e-6, msg=name)


def test_gradients_over_the_norm_are_scaled_down_and_smaller_ones_left(data):
    batch = data.batch(0, 3)
    free, tight, loose = (trainer(recipe(clip_norm=norm), dropout=0.0) for norm in (0.0, 0.01, 1e3))
    norms = [float(one.step([batch], 0.0)["gradient_norm"]) for one in (free, tight, loose)]
    assert norms[0] == norms[1] == norms[2] > 0.01
    for name, parameter in free.parameters.items():
        torch.testing.assert_close(tight.parameters[name].grad, parameter.grad * (0.01 / norms[0]))
        torch.testing.assert_close(loose.parameters[name].grad, parameter.grad, rtol=0, atol=0)


def test_bfloat16_keeps_float32_parameters_and_comes_near(data):
    half, full = trainer(recipe(precision="bfloat16"), dropout=0.0), trainer(dropout=0.0)
    batch = data.batch(0, 3)
    losses = [float(one.step([batch], 1e-3)["loss"]) for one in (half, full)]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)
    assert all(parameter.dtype == torch.float32 for parameter in half.parameters.values())


def test_a_state_goes_on_to_the_same_bits_dropout_too(data):
    whole = trainer()
    for number in range(3):
        whole.step([data.batch(number, 3)], 1e-2)
    state = whole.state()
    for number in range(3, 6):
        whole.step([data.batch(number, 3)], 1e-2)
    resumed = trainer(seed=9)
    resumed.load_state(state)
    for number in range(3, 6):
        resumed.step([data.batch(number, 3)], 1e-2)
    for part in ("tensors", "first_moments", "second_moments"):
        wanted, got = getattr(whole.state(), part), getattr(resumed.state(), part)
        assert all((wanted[name] == got[name]).all() for name in wanted)


def test_a_state_has_the_published_names(data):
    ours = trainer()
    ours.step([data.batch(0, 3)], 1e-2)
    assert set(ours.state().tensors) == set(parameters(ours.model.config, "ForMaskedLM"))


def test_a_state_of_another_model_is_refused(data):
    ours = trainer()
    ours.step([data.batch(0, 3)], 1e-2)
    state = ours.state()
    state.second_moments = {name: array for name, array in state.second_moments.items() if name != "lm_head.bias"}
    with pytest.raises(ValueError, match=r"differ in \['lm_head.bias'\]"):
        ours.load_state(state)


RUN = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[3])
from test_training import run
run(Path(sys.argv[1]), Path(sys.argv[2]))
"""


def run(texts, output):
    """Start a run or go on with it, in this process."""
    recipe = Recipe.load(texts / "recipe.toml")
    vocabulary = pretrain.Vocabulary.of(texts)
    train, held_out = pretrain.split(recipe, [str(texts / "[0-9].txt")])
    pretraining, model = pretrain.prepare(BACKEND, recipe, vocabulary, train, held_out, output, lambda line: None)
    pretraining.resume()
    pretraining.run()
    config = recipe.config(vocabulary.size)
    pretrain.export(output / "model", BACKEND.tensors(model), config, vocabulary, recipe)


RECIPE = """
[model]
hidden_size = 12
num_hidden_layers = 2
num_attention_heads = 3
intermediate_size = 20
max_position_embeddings = 19
[data]
sequence_length = 17
held_out = ["1.txt"]
[optimizer]
batch_size = 3
steps = 90
warmup_steps = 10
peak_learning_rate = 5e-3
[run]
threads = 1
evaluate_every = 30
checkpoint_every = 3
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    words = ["the", "old", "man", "came", "to", "a", "house", "by", "sea", "and", "said", "nothing", "of", "it"]
    generator = np.random.default_rng(0)
    for number in range(3):
        sentences = (" ".join(generator.choice(words, 8)).capitalize() + "." for _ in range(50))
        (folder / f"{number}.txt").write_text(" ".join(sentences) + "\n")
    train_tokenizer(sorted(folder.glob("[0-9].txt")), 300, folder)
    (folder / "recipe.toml").write_text(RECIPE)
    (folder / "run.py").write_text(RUN)
    return folder


def killed_after(texts, output, step, delay):
    """A run in a process of its own that is killed some seconds after a checkpoint of that step."""
    command = [sys.executable, "-c", RUN, str(texts), str(output), str(Path(__file__).parent)]
    process = subprocess.Popen(command)
    deadline = time.monotonic() + 120
    while not any(int(path.name[5:]) >= step for path in output.glob("step-???????")):
        assert process.poll() is None, f"it ended with {process.poll()} before step {step}"
        assert time.monotonic() < deadline, f"no checkpoint of step {step}"
        time.sleep(0.002)
    time.sleep(delay)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL


def test_a_run_that_is_killed_twice_resumes_to_the_same_bits(texts, tmp_path):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    run(texts, whole)
    killed_after(texts, killed, step=9, delay=0.003)
    killed_after(texts, killed, step=33, delay=0.011)
    assert not (killed / "model").exists()
    run(texts, killed)
    for name in ("step-0000090/model.safetensors", "step-0000090/optimizer.safetensors", "model/model.safetensors"):
        wanted, got = load_file(whole / name), load_file(killed / name)
        assert set(wanted) == set(got)
        assert all((wanted[key] == got[key]).all() for key in wanted)
    assert len(load_file(killed / "model" / "model.safetensors")) > 40

"""Training that several processes share is the training of one process: `roberta pretrain` and `roberta finetune`."""

import json
import os
import signal
import sys

import numpy as np
import pytest
from safetensors.numpy import load_file

from roberta_core import RobertaConfig, checkpoints
from roberta_core.parameters import draw

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the states of processes are read from /proc")

STEPS = 12
# What takes longest runs for PyTorch alone, unless all is requested: XLA and TensorFlow compile in each process.
LONG = os.environ.get("ROBERTA_TEST_LONG") == "1"
FINE_TUNING = """
[model]
hidden_dropout_prob = 0.0
attention_probs_dropout_prob = 0.0
[optimizer]
batch_size = 4
micro_batch_size = {}
peak_learning_rate = 1e-2
clip_norm = 0.5
[run]
threads = 1
log_every = 1
[task]
epochs = 1
evaluations = 2
"""


@pytest.fixture(autouse=True)
def selected(request, framework):
    """Skip the long tests of TensorFlow and Flax."""
    if not LONG and framework.name != "pt" and "two_processes_train" not in request.node.name:
        pytest.skip("ROBERTA_TEST_LONG=1 runs this for TensorFlow and Flax too")


@pytest.fixture(scope="module")
def launch(launching, framework, tmp_path_factory):
    """Return a launcher, and the environments of processes of the framework by their number."""
    found = launching.Launcher(tmp_path_factory.mktemp("launch"), framework.PRELOADED)
    yield found, lambda count: framework.build_environments(launching.find_ports(count)) if count > 1 else [{}]
    found.close()


@pytest.fixture(scope="module")
def texts(steps, tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    steps.write_texts(folder, dropout=0.0, steps=STEPS)
    recipe = folder / "recipe.toml"
    recipe.write_text(recipe.read_text().replace("[optimizer]", "[optimizer]\nmicro_batch_size = 1\nclip_norm = 1.0"))
    return folder


@pytest.fixture(scope="module")
def train(launch, framework, texts, steps):
    """Return `train(output, count, ...)`, which trains in so many processes and returns them."""
    launcher, build_environments = launch

    def run(output, count, *further, recipe=None, **how):
        arguments = steps.build_command(texts, output, framework.backend.name, *further)
        if count > 1:
            arguments += framework.SHARING
        if recipe:
            arguments[arguments.index("--recipe") + 1] = str(recipe)
        return launcher.run(arguments, build_environments(count), **how)

    return run


@pytest.fixture(scope="module")
def alone(train, tmp_path_factory):
    """Return the folder of the run of one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    train(folder, 1)
    return folder


def read_log(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name != "tokens_per_second"}
        for line in lines
        if "checkpoint" not in line
    ]


def compare(one, other):
    """Return the largest differences of two runs: of their weights, and relative ones of the numbers in their logs."""
    first, second = (load_file(folder / "model" / "model.safetensors") for folder in (one, other))
    logs = [read_log(folder) for folder in (one, other)]
    assert [sorted(line) for line in logs[0]] == [sorted(line) for line in logs[1]]
    numbers = [[value for line in log for value in line.values() if type(value) is float] for log in logs]
    relative = np.abs(np.subtract(*numbers)) / np.maximum(1, np.abs(numbers[0]))
    return max(float(np.abs(first[name] - second[name]).max()) for name in first), relative.max()


# Process 0 is done later than the others, and each process notes that it is done and that it leaves.
LATE = """
import time
from roberta_core.training.processes import Processes
def wrap(close):
    def late(self):
        if self.count > 1:
            time.sleep(0 if self.index else 1)
            with open({path!r}, "a") as file:
                file.write(f"{{self.index}} done\\n")
        close(self)
        if self.count > 1:
            with open({path!r}, "a") as file:
                file.write(f"{{self.index}} leaves\\n")
    return late
for kind in Processes.__subclasses__():
    kind.close = wrap(kind.close)
"""


def test_two_processes_train_the_model_of_one(launch, framework, train, alone, monkeypatch, tmp_path):
    monkeypatch.setattr(launch[0], "code", LATE.format(path=str(tmp_path / "order")))
    first, second = train(tmp_path / "two", 2)
    if framework.name != "pt":  # TensorFlow and JAX answer each other until the end
        assert [line[2:] for line in (tmp_path / "order").read_text().splitlines()] == ["done"] * 2 + ["leaves"] * 2
    weights, numbers = compare(alone, tmp_path / "two")
    assert weights < 1e-6
    assert numbers < 1e-6
    assert '"processes": 2' in first.output.read_text()
    assert second.output.read_text() == ""


SHARD = ("--sharding", "fsdp")


@pytest.fixture
def sharding(framework):
    """Skip what only PyTorch has."""
    if framework.name != "pt":
        pytest.skip("only PyTorch shares parameters out")


@pytest.mark.usefixtures("sharding")
def test_processes_that_share_parameters_out_train_the_model_of_one_and_resume_in_any_number(train, alone, tmp_path):
    output = tmp_path / "chain"
    first, _ = train(output, 2, *SHARD, stop=(5, signal.SIGKILL), statuses=[1, -signal.SIGKILL])
    assert f"the newest checkpoint is {output / 'step-0000003'}. Start all processes" in first.errors.read_text()
    train(output, 1, "--resume", stop=(6, signal.SIGTERM), statuses=[128 + signal.SIGTERM])
    train(output, 4, "--resume", *SHARD, stop=(8, signal.SIGTERM), statuses=[128 + signal.SIGTERM] * 4)
    train(output, 2, "--resume", stop=(10, signal.SIGTERM), statuses=[128 + signal.SIGTERM] * 2)
    first, second = train(output, 2, "--resume", *SHARD)
    assert "warning" not in (first.errors.read_text() + second.errors.read_text()).lower()
    weights, numbers = compare(alone, output)
    assert weights < 1e-6
    assert numbers < 1e-6


# Faults of sharding, injected into every process.
SHARDING_FAULTS = {
    "the model is evaluated and written as it was at the beginning": """
from roberta_pt import training
training.copy_parameters = lambda source, target: None
""",
    "gradients are not clipped": """
from roberta_pt import training
training.get_own_part = lambda tensor: tensor.to_local().clone()
""",
}


@pytest.mark.usefixtures("sharding")
def test_layers_are_computed_again_from_shared_out_parameters(train, texts, alone, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text((texts / "recipe.toml").read_text().replace("[run]", "[run]\ngradient_checkpointing = true"))
    train(tmp_path / "two", 2, *SHARD, recipe=recipe)
    assert max(compare(alone, tmp_path / "two")) < 1e-6


# Process 1 draws other weights than process 0.
OTHER_WEIGHTS = """
import os
from roberta_core.training import pretrain_run
def change(draw):
    return lambda config, architecture, seed: draw(config, architecture, seed + int(os.environ.get("RANK", "0")))
pretrain_run.draw = change(pretrain_run.draw)
"""


@pytest.mark.usefixtures("sharding")
def test_sharded_processes_train_the_weights_of_process_0(launch, train, alone, monkeypatch, tmp_path):
    monkeypatch.setattr(launch[0], "code", OTHER_WEIGHTS)
    train(tmp_path / "two", 2, *SHARD)
    assert max(compare(alone, tmp_path / "two")) < 1e-6


@pytest.mark.usefixtures("sharding")
@pytest.mark.parametrize("fault", SHARDING_FAULTS)
def test_a_fault_of_sharding_is_seen(launch, train, alone, monkeypatch, tmp_path, fault):
    monkeypatch.setattr(launch[0], "code", SHARDING_FAULTS[fault])
    train(tmp_path / "two", 2, *SHARD)
    assert max(compare(alone, tmp_path / "two")) > 1e-5


# Faults of sharing, injected into every process.
FAULTS = {
    "every process trains on the first rows": """
from roberta_core.training.processes import Processes
Processes.shard = property(lambda self: (0, self.count))
""",
    "a mean of means": """
from roberta_core.training import optimizer_step
from roberta_core.training.processes import Processes
original = optimizer_step.compute_shares
def compute_shares(config, architecture, batches, processes):
    return [share / processes.count for share in original(config, architecture, batches)]
optimizer_step.compute_shares = compute_shares
for name in ("roberta_pt", "roberta_tf", "roberta_flax"):
    if name + ".training" in sys.modules:
        sys.modules[name + ".training"].compute_shares = compute_shares
""",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_seen(launch, train, alone, monkeypatch, tmp_path, fault):
    monkeypatch.setattr(launch[0], "code", FAULTS[fault])
    train(tmp_path / "two", 2)
    weights, numbers = compare(alone, tmp_path / "two")
    assert weights > 1e-4
    assert numbers > 1e-4


def test_a_run_survives_the_loss_of_a_process_and_resumes_in_one_and_in_four(train, alone, tmp_path):
    output = tmp_path / "chain"
    first, _ = train(output, 2, stop=(5, signal.SIGKILL), statuses=[1, -signal.SIGKILL])
    ours = [line for line in first.errors.read_text().splitlines() if line.startswith("roberta: ")]
    assert ours == [  # TensorFlow logs the closed connection too
        "roberta: another of the 2 processes has ended. The run stopped after step 4; the newest checkpoint is "
        f"{output / 'step-0000003'}. Start all processes again with --resume"
    ]
    train(output, 1, "--resume", stop=(8, signal.SIGTERM), statuses=[128 + signal.SIGTERM])
    train(output, 4, "--resume")
    weights, numbers = compare(alone, output)
    assert weights < 1e-6
    assert numbers < 1e-6


def test_a_signal_to_one_process_stops_all_and_they_resume_to_the_same_bits_with_dropout(train, texts, tmp_path):
    recipe = tmp_path / "recipe.toml"
    recipe.write_text((texts / "recipe.toml").read_text().replace("prob = 0.0", "prob = 0.1"))
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    train(whole, 2, recipe=recipe)
    first, second = train(stopped, 2, recipe=recipe, stop=(5, signal.SIGTERM), statuses=[128 + signal.SIGTERM] * 2)
    (line,) = first.errors.read_text().splitlines()
    assert f"stopped by SIGTERM after step 5; saved {stopped}/step-0000005. To resume" in line
    assert second.errors.read_text() == ""
    train(stopped, 2, "--resume", recipe=recipe)
    name = f"step-{STEPS:07}"
    for file in ("model/model.safetensors", f"{name}/model.safetensors", f"{name}/optimizer.safetensors"):
        assert (whole / file).read_bytes() == (stopped / file).read_bytes(), file
    assert read_log(whole) == read_log(stopped)


@pytest.mark.parametrize("sharding", [(), SHARD])
def test_bfloat16_works_in_two_processes(train, texts, alone, framework, tmp_path, sharding):
    if sharding and framework.name != "pt":
        pytest.skip("only PyTorch shares parameters out")
    recipe = tmp_path / "recipe.toml"
    text = (texts / "recipe.toml").read_text().replace("[optimizer]", '[optimizer]\nprecision = "bfloat16"')
    recipe.write_text(text)
    train(tmp_path / "half", 2, *sharding, recipe=recipe)
    losses = [[line["loss"] for line in read_log(folder) if "loss" in line] for folder in (alone, tmp_path / "half")]
    assert losses[0] != losses[1]
    assert losses[0] == pytest.approx(losses[1], rel=1e-2)


@pytest.mark.parametrize("sharding", [(), SHARD])
def test_two_processes_fine_tune_the_model_of_one(launch, framework, texts, tmp_path, sharding):
    if sharding and framework.name != "pt":
        pytest.skip("only PyTorch shares parameters out")
    launcher, build_environments = launch
    size = len(json.loads((texts / "vocab.json").read_text()))
    config = RobertaConfig(
        vocab_size=size, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=19, type_vocab_size=1,
    )  # fmt: skip
    for file in texts.glob("*.json"):
        (tmp_path / file.name).write_bytes(file.read_bytes())
    checkpoints.save(tmp_path, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM")))
    words = ["the", "old", "man", "came", "to", "a", "house", "by", "the", "sea"]
    rows = [
        {"tokens": words[: 2 + number % 9], "labels": ["+-"[(number + place) % 2] for place in range(2 + number % 9)]}
        for number in range(32)
    ]
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    for count in (1, 2):
        # Two processes do not accumulate gradients, as they do in pretraining.
        (tmp_path / "recipe.toml").write_text(FINE_TUNING.format(count))
        arguments = [
            "finetune", "tagging", "--model", str(tmp_path), "--train", str(tmp_path / "train.jsonl"), "--validation",
            str(tmp_path / "train.jsonl"), "--recipe", str(tmp_path / "recipe.toml"), "--output",
            str(tmp_path / str(count)), "--framework", framework.backend.name, *framework.SHARING[: count - 1],
            *(sharding if count > 1 else ()),
        ]  # fmt: skip
        processes = launcher.run(arguments, build_environments(count))
    assert "2 processes" in processes[0].output.read_text()
    assert processes[1].output.read_text() == ""
    weights, numbers = compare(tmp_path / "1", tmp_path / "2")
    assert weights < 1e-6
    assert numbers < 1e-6
    assert [line["scores"] for line in read_log(tmp_path / "1") if "scores" in line]

"""Fine-tuning that is interrupted by SIGTERM, Ctrl-C and kill -9 gives the bits of an uninterrupted run."""

import json
import os
import signal

import numpy as np
import pytest

from roberta_core import RobertaConfig, backend, checkpoints, cli
from roberta_core.parameters import draw
from roberta_core.tokenization import train_tokenizer
from roberta_core.training.finetune_loop import FineTuning

REQUIRED = os.environ.get("ROBERTA_TEST_FRAMEWORKS", "").split()
MODULES = {"pt": "torch", "tf": "tensorflow", "flax": "jax"}
NAMES = [name for name, module in MODULES.items() if module in REQUIRED or name in backend.available()]
WORDS = ["good", "bad", "the", "film", "was", "quite", "never", "again", "long", "short"]
STEPS = 18
RECIPE = """
[model]
hidden_dropout_prob = 0.1
attention_probs_dropout_prob = 0.1
[optimizer]
batch_size = 4
peak_learning_rate = 1e-2
[run]
seed = 3
threads = 1
log_every = 2
checkpoint_every = 3
[task]
epochs = 1.5
evaluations = 3
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Return a folder with a small checkpoint and its tokenizer, a recipe, and two data files."""
    folder, generator = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    (folder / "corpus.txt").write_text((" ".join(WORDS) + ".\n") * 20)
    size = train_tokenizer([folder / "corpus.txt"], 290, folder)
    config = RobertaConfig(
        vocab_size=size, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=19, type_vocab_size=1,
    )  # fmt: skip
    checkpoints.save(folder, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM")))
    (folder / "recipe.toml").write_text(RECIPE)
    for name, count in (("train", 48), ("test", 12)):
        rows = [{"text": " ".join(generator.choice(WORDS, 7)), "label": "+-"[number % 2]} for number in range(count)]
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def build_command(data, output, name, *further):
    return [
        "finetune", "classification", "--model", str(data), "--train", str(data / "train.jsonl"), "--validation",
        str(data / "test.jsonl"), "--recipe", str(data / "recipe.toml"), "--output", str(output), "--framework", name,
        "--json", *further,
    ]  # fmt: skip


def run(arguments):
    with pytest.raises(SystemExit) as ended:
        cli.main(arguments)
    return ended.value.code


def read_log(folder):
    lines = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    return [
        {name: value for name, value in line.items() if name != "tokens_per_second"}
        for line in lines
        if "checkpoint" not in line
    ]


@pytest.mark.parametrize("name", NAMES)
def test_an_interrupted_run_gives_the_same_bits(steps, data, tmp_path, monkeypatch, capsys, name):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    assert run(build_command(data, whole, name)) == 0
    original, due = FineTuning.build_batch, {4: signal.SIGTERM, 8: signal.SIGINT}

    def build_batch(self, step):
        if step + 1 in due:
            signal.raise_signal(due.pop(step + 1))
        return original(self, step)

    monkeypatch.setattr(FineTuning, "build_batch", build_batch)
    assert run(build_command(data, stopped, name)) == 143
    assert f"stopped by SIGTERM after step 4; saved {stopped}/step-0000004. To resume: " in capsys.readouterr().err
    assert run(build_command(data, stopped, name, "--resume")) == 130
    assert "stopped by SIGINT after step 8" in capsys.readouterr().err
    monkeypatch.undo()
    steps.run_and_kill(build_command(data, stopped, name, "--resume"), stopped, step=12)
    assert not (stopped / "result.json").exists()
    assert run(build_command(data, stopped, name, "--resume")) == 0
    for file in ("model/model.safetensors", "model/config.json", "result.json"):
        assert (stopped / file).read_bytes() == (whole / file).read_bytes(), file
    assert read_log(stopped) == read_log(whole)
    assert not list(stopped.glob("step-*"))

"""The pretraining loop, with a trainer that only records its batches."""

import dataclasses
import json
import math
import shutil
import signal

import numpy as np
import pytest

from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.training.pretrain_loop import Pretraining
from roberta_core.training.recipe import Recipe
from roberta_core.training.run_log import LOG
from roberta_core.training.stopping import Stopped
from roberta_core.training.training_checkpoint import State, TrainingError

RECIPE = Recipe.from_dict(
    {
        "data": {"sequence_length": 17},
        "optimizer": {"batch_size": 3, "steps": 10, "warmup_steps": 2, "peak_learning_rate": 0.5},
        "run": {"log_every": 4, "evaluate_every": 5, "checkpoint_every": 3},
    }
)


class Counter:
    """A trainer whose tensor is a digest of all batches and learning rates; the losses come from `losses`."""

    def __init__(self, losses=None):
        self.value, self.steps, self.losses = np.zeros(1), 0, losses or {}

    def step(self, batches, learning_rate):
        ids, places = (sum(batch[name].sum() for batch in batches) for name in ("input_ids", "masked_positions"))
        self.value, self.batches = self.value * 0.9 + learning_rate * ids + places, len(batches)
        self.steps += 1
        return {"loss": self.losses.get(self.steps, float(self.steps)), "gradient_norm": 1.0}

    def evaluate(self, batch):
        return {"loss": 6.0, "correct": 1, "count": 3}

    def state(self):
        return State({"value": self.value}, {"value": self.value}, {"value": self.value}, self.steps)

    def load_state(self, state):
        self.value, self.steps = state.tensors["value"], state.steps


def run(folder, trainer=None, recipe=RECIPE, blocks=20, **fields):
    starts = np.arange(blocks) * 9
    data = MaskedBlocks(
        np.arange(4, 4 + blocks * 9) % 90 + 4, np.stack([starts, starts + 9], axis=1), Masking(101, 100), 17, seed=1
    )
    return Pretraining(trainer=trainer or Counter(), recipe=recipe, config={}, data=data, folder=folder, **fields)


def log(folder):
    return [json.loads(line) for line in (folder / LOG).read_text().splitlines()]


def test_the_log_has_the_means_since_the_last_entry(tmp_path):
    run(tmp_path).run()
    lines = [line for line in log(tmp_path) if "loss" in line]
    assert [(line["step"], line["loss"]) for line in lines] == [(4, 2.5), (8, 6.5), (10, 9.5)]
    assert [line["learning_rate"] for line in lines] == [0.4375, 0.1875, 0.0625]
    assert all(line["tokens_per_second"] > 0 for line in lines)


def test_checkpoints_and_evaluations_follow_the_recipe(tmp_path):
    pretraining = run(tmp_path)
    pretraining.held_out = pretraining.data
    pretraining.run()
    assert [line["step"] for line in log(tmp_path) if "checkpoint" in line] == [3, 6, 9, 10]
    evaluated = [line for line in log(tmp_path) if "held_out_loss" in line]
    assert [line["step"] for line in evaluated] == [5, 10]
    assert evaluated[0]["held_out_loss"] == 2.0
    assert evaluated[0]["held_out_accuracy"] == pytest.approx(1 / 3)


def test_every_log_entry_is_reported(tmp_path):
    lines = []
    run(tmp_path, report=lines.append).run()
    assert lines == log(tmp_path)


class Killed(BaseException):
    pass


@pytest.mark.parametrize("killed_at", range(1, 11))
def test_an_interrupted_run_resumes_to_the_same_result(tmp_path, killed_at):
    whole, stopped, resumed = Counter(), Counter(), Counter()
    run(tmp_path / "whole", whole).run()

    def stop(batches, learning_rate, step=stopped.step):
        if stopped.steps + 1 == killed_at:
            raise Killed
        return step(batches, learning_rate)

    stopped.step = stop
    with pytest.raises(Killed):
        run(tmp_path / "stopped", stopped).run()
    pretraining = run(tmp_path / "stopped", resumed)
    assert pretraining.resume() == (killed_at > 3)
    assert pretraining.step == (killed_at - 1) // 3 * 3
    pretraining.run()
    assert resumed.value == whole.value
    assert read_lines(tmp_path / "stopped") == read_lines(tmp_path / "whole")


def read_lines(folder):
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in log(folder)]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("at", range(1, 11))
def test_a_signal_stops_a_run_with_a_checkpoint_of_its_step(tmp_path, name, at):
    whole, stopped, resumed = Counter(), Counter(), Counter()
    run(tmp_path / "whole", whole).run()

    def step(batches, learning_rate, step=stopped.step):
        if stopped.steps + 1 == at:
            signal.raise_signal(signal.Signals[name])
        return step(batches, learning_rate)

    stopped.step = step
    first = run(tmp_path / "stopped", stopped)
    handlers = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    if at < 10:
        with pytest.raises(Stopped, match=f"stopped by {name} after step {at}") as ended:
            first.run()
        assert ended.value.checkpoint == tmp_path / "stopped" / f"step-{at:07d}"
    else:
        first.run()
    assert [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)] == handlers
    pretraining = run(tmp_path / "stopped", resumed)
    assert pretraining.resume()
    pretraining.run()
    assert resumed.value == whole.value
    kept = [line for line in read_lines(tmp_path / "stopped") if "loss" in line]
    assert kept == [line for line in read_lines(tmp_path / "whole") if "loss" in line]


def test_the_second_signal_stops_a_run_immediately(tmp_path):
    stopped = Counter()

    def step(batches, learning_rate):
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGINT)

    stopped.step = step
    with pytest.raises(KeyboardInterrupt):
        run(tmp_path, stopped).run()


def test_an_evaluation_interrupted_by_a_signal_is_repeated_after_resuming(tmp_path):
    stopped = Counter()
    stopped.evaluate = lambda batch: signal.raise_signal(signal.SIGTERM) or {"loss": 6.0, "correct": 1, "count": 3}
    first = run(tmp_path, stopped)
    first.held_out = first.data
    with pytest.raises(Stopped, match="after step 5"):
        first.run()
    second = run(tmp_path, Counter())
    second.held_out = second.data
    assert second.resume()
    second.run()
    assert [line["step"] for line in log(tmp_path) if "held_out_loss" in line] == [5, 10]


def test_the_log_has_every_step_once_after_resuming(tmp_path):
    run(tmp_path).run()
    with open(tmp_path / LOG, "a") as stream:
        stream.write('{"step": 10, "lo')  # as after a kill
    shutil.rmtree(tmp_path / "step-0000010")
    pretraining = run(tmp_path)
    pretraining.resume()
    pretraining.run()
    assert [line["step"] for line in log(tmp_path) if "loss" in line] == [4, 8, 10]


def test_the_speed_excludes_evaluations_and_checkpoints(tmp_path, monkeypatch):
    clock = [0.0]
    monkeypatch.setattr("time.perf_counter", lambda: clock[0])
    trainer = Counter()

    def step(batches, learning_rate, step=trainer.step):
        clock[0] += 1
        return step(batches, learning_rate)

    def evaluate(batch):
        clock[0] += 1000
        return {"loss": 6.0, "correct": 1, "count": 3}

    trainer.step, trainer.evaluate = step, evaluate
    pretraining = run(tmp_path, trainer)
    pretraining.held_out = pretraining.data
    pretraining.run()
    speeds = [line["tokens_per_second"] for line in log(tmp_path) if "loss" in line]
    assert speeds == [33, 33, 33]  # 3 rows of 11 tokens per step


def test_a_batch_is_split_into_micro_batches_of_the_size_in_the_recipe(tmp_path):
    whole, parts = Counter(), Counter()
    run(tmp_path / "whole", whole).run()
    optimizer = dataclasses.replace(RECIPE.optimizer, micro_batch_size=1)
    run(tmp_path / "parts", parts, dataclasses.replace(RECIPE, optimizer=optimizer)).run()
    assert (whole.batches, parts.batches) == (1, 3)
    assert parts.value == pytest.approx(whole.value)


def test_the_checkpoint_has_the_position_in_the_data(tmp_path):
    run(tmp_path).run()
    notes = json.loads((tmp_path / "step-0000010" / "trainer.json").read_text())
    assert (notes["step"], notes["epoch"], notes["position"]) == (10, 1, 10)  # 30 samples of 20 blocks


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_nan_loss_stops_the_run_before_it_is_saved(tmp_path, value):
    with pytest.raises(TrainingError, match=f"step 5: loss {value}"):
        run(tmp_path, Counter({5: value})).run()
    assert sorted(path.name for path in tmp_path.glob("step-*")) == ["step-0000003"]


def test_a_run_with_another_recipe_or_texts_is_not_resumed(tmp_path):
    run(tmp_path).run()
    optimizer = dataclasses.replace(RECIPE.optimizer, peak_learning_rate=0.25)
    with pytest.raises(TrainingError, match=r"another recipe \(see its optimizer\)"):
        run(tmp_path, recipe=dataclasses.replace(RECIPE, optimizer=optimizer)).resume()
    with pytest.raises(TrainingError, match="trained on other data"):
        run(tmp_path, blocks=21).resume()


def test_a_loss_far_above_its_minimum_is_reported(tmp_path):
    run(tmp_path, Counter(dict.fromkeys(range(1, 9), 2.0) | {9: 2.9, 10: 3.3})).run()
    lines = [line for line in log(tmp_path) if "loss" in line]
    assert ["remark" in line for line in lines] == [False, False, True]
    assert "risen to 3.100 from 2.000 at step 4: the model has collapsed" in lines[-1]["remark"]


def test_an_oscillating_loss_is_not_a_collapse(tmp_path):
    run(tmp_path, Counter(dict.fromkeys(range(1, 9), 2.0) | {9: 2.9, 10: 3.0})).run()
    assert not any("remark" in line for line in log(tmp_path))

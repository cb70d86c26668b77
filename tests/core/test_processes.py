"""Training by several processes: threads with a NumPy trainer take their place."""

import dataclasses
import json
import signal
import threading
from collections import defaultdict
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from roberta_core.cli.distributed import report_once
from roberta_core.cli.terminal import EarlyExit
from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.masking import Masking
from roberta_core.training.optimizer_step import compute_shares
from roberta_core.training.pretrain_loop import Pretraining
from roberta_core.training.processes import (
    ALONE,
    Ended,
    LostProcessError,
    Processes,
    check_launcher,
    check_sharding,
    draw_seed,
    find_launcher,
)
from roberta_core.training.recipe import Recipe
from roberta_core.training.run_log import LOG
from roberta_core.training.stopping import Stopped, StopSignals
from roberta_core.training.training_checkpoint import State, TrainingError

TABLES = {
    "data": {"sequence_length": 17},
    "optimizer": {"batch_size": 4, "micro_batch_size": 1, "steps": 10, "warmup_steps": 2, "peak_learning_rate": 0.5},
    "run": {"log_every": 4, "evaluate_every": 5, "checkpoint_every": 3, "evaluation_blocks": 10},
}
RECIPE = Recipe.from_dict(TABLES)
WORKERS = json.dumps({"cluster": {"worker": ["a:1", "b:1"]}, "task": {"type": "worker", "index": 1}})


class ClosedError(RuntimeError):
    pass


class Group:
    """Threads that sum arrays; once one has ended, the others get an error, as from a closed connection."""

    def __init__(self, count):
        self.count, self.changed, self.ended = count, threading.Condition(), False
        self.rounds = defaultdict(dict)

    def run(self, work):
        """Return what `work(process)` returns, or the exception that it raises, in each of the threads."""

        def call(index):
            try:
                return work(Member(self, index))
            except BaseException as error:
                return error
            finally:
                with self.changed:
                    self.ended = True
                    self.changed.notify_all()

        with ThreadPoolExecutor(self.count) as pool:
            return list(pool.map(call, range(self.count)))


class Member(Processes):
    def __init__(self, group, index):
        super().__init__(index, group.count)
        self.group, self.number = group, 0

    def sum_arrays(self, values):
        parts, self.number = self.group.rounds[self.number], self.number + 1
        with self.group.changed:
            parts[self.index] = values
            self.group.changed.notify_all()
            assert self.group.changed.wait_for(lambda: len(parts) == self.count or self.group.ended, timeout=20)
            if len(parts) < self.count:
                raise ClosedError("the connection was closed")
        return sum(parts[index] for index in range(self.count))

    def is_loss(self, error):
        return isinstance(error, ClosedError)


class SumTrainer:
    """A trainer whose tensor depends on every row of the global batches and their order, and the learning rates."""

    def __init__(self, processes=ALONE):
        self.value, self.steps, self.processes = np.zeros(1), 0, processes

    def step(self, batches, learning_rate):
        rows = np.concatenate([batch["input_ids"] for batch in batches])
        numbers = np.arange(len(rows)) + self.processes.index * len(rows) + 1
        found = [float((rows.sum(axis=1) * numbers).sum()), sum(int(b["masked_positions"].sum()) for b in batches)]
        ids, places = self.processes.sum(found)
        self.value, self.steps = self.value * 0.9 + learning_rate * ids + places, self.steps + 1
        self.width, self.batches = rows.shape[1], len(batches)
        return {"loss": ids, "gradient_norm": 1.0}

    def evaluate(self, batch):
        count = int((batch["masked_labels"] != -100).sum())
        return {"loss": float(batch["masked_labels"].sum()), "correct": count - 1, "count": count}

    def state(self):
        return State({"value": self.value}, {"value": self.value}, {"value": self.value}, self.steps)

    def load_state(self, state):
        self.value, self.steps = state.tensors["value"], state.steps


def build_run(folder, processes=ALONE, recipe=RECIPE, trainer=None):
    starts = np.arange(21) * 9
    lengths = 9 + np.arange(21) % 5  # batches of one process would have another width than those of all
    data = MaskedBlocks(
        np.arange(4, 300) % 90 + 4, np.stack([starts, starts + lengths], axis=1), Masking(101, 100, 0.3), 17, seed=1
    )
    return Pretraining(
        trainer=trainer or SumTrainer(processes), recipe=recipe, config={}, held_out=data, folder=folder,
        data=dataclasses.replace(data, shard=processes.shard), processes=processes,
    )  # fmt: skip


def train(folder, resume=False, until=None):
    """Return a function that runs the loop in a process; it stops with SIGTERM, sent to the last one, at a step."""

    def work(processes):
        run = build_run(folder, processes)
        if resume:
            run.resume()
        original = run.trainer.step

        def step(batches, learning_rate):
            if run.step + 1 == until and processes.index == processes.count - 1:
                run.signals.received = signal.SIGTERM
            return original(batches, learning_rate)

        run.trainer.step = step
        run.run()
        return run.trainer

    return work


def read_log(folder):
    lines = [json.loads(line) for line in (folder / LOG).read_text().splitlines()]
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]


@pytest.mark.parametrize("count", [2, 4])
def test_processes_train_evaluate_and_log_what_one_does(tmp_path, count):
    alone = train(tmp_path / "alone")(ALONE)
    found = Group(count).run(train(tmp_path / "shared"))
    assert [trainer.value[0] for trainer in found] == [pytest.approx(alone.value[0], rel=1e-12)] * count
    assert [(trainer.width, trainer.batches) for trainer in found] == [(alone.width, 4 // count)] * count
    assert read_log(tmp_path / "alone") == read_log(tmp_path / "shared")


def test_a_run_resumes_with_another_number_of_processes(tmp_path):
    alone = train(tmp_path / "alone")(ALONE)
    for count, until in ((2, 3), (1, 5), (4, None)):
        found = Group(count).run(train(tmp_path / "chain", resume=until != 3, until=until))
        if until:
            assert [(type(one), one.step) for one in found] == [(Stopped, until)] * count
    assert [trainer.value[0] for trainer in found] == [pytest.approx(alone.value[0], rel=1e-12)] * 4
    losses = [[line for line in read_log(tmp_path / name) if "checkpoint" not in line] for name in ("alone", "chain")]
    assert losses[0] == losses[1]


def test_the_loss_of_a_process_stops_the_others_with_one_message(tmp_path):
    def work(processes):
        if processes.index != 1:
            return train(tmp_path)(processes)
        run = build_run(tmp_path, processes)

        def step(batches, rate, original=run.trainer.step):
            if run.step == 4:
                raise SystemExit  # ends without a word, as a killed process does
            return original(batches, rate)

        run.trainer.step = step
        return run.run()

    found = Group(4).run(work)
    assert sorted(type(error).__name__ for error in found) == ["Ended", "Ended", "LostProcessError", "SystemExit"]
    (reported,) = [error for error in found if isinstance(error, LostProcessError)]
    assert str(reported) == (
        "another of the 4 processes has ended. The run stopped after step 4; the newest checkpoint is "
        f"{tmp_path / 'step-0000003'}. Start all processes again with --resume"
    )
    resumed = Group(2).run(train(tmp_path, resume=True))
    alone = train(tmp_path / "alone")(ALONE)
    assert resumed[0].value[0] == pytest.approx(alone.value[0], rel=1e-12)


def test_an_error_of_one_process_is_the_only_message(tmp_path):
    def work(processes):
        run = build_run(tmp_path, processes)
        if processes.index == 1:
            run.trainer.state = None  # the digest of the weights fails
        return run.run()

    found = Group(2).run(work)
    assert [type(error) for error in found] == [Ended, TypeError]


def test_an_error_that_all_have_is_reported_once(tmp_path):
    def work(processes):
        trainer = SumTrainer(processes)
        trainer.step = lambda batches, rate: {"loss": float("nan"), "gradient_norm": 1.0}
        return build_run(tmp_path, processes, trainer=trainer).run()

    found = Group(2).run(work)
    assert sorted(type(error).__name__ for error in found) == ["Ended", "TrainingError"]


def test_processes_with_other_settings_or_weights_are_refused(tmp_path):
    def work(processes):
        tables = TABLES | {"run": TABLES["run"] | {"seed": processes.index}}
        run = build_run(tmp_path, processes, Recipe.from_dict(tables))
        run.trainer.value = np.full(1, processes.index)
        return run.run()

    found = Group(2).run(work)
    (reported,) = [error for error in found if isinstance(error, TrainingError)]
    assert str(reported) == (
        "the 2 processes do not start from the same recipe, weights: they need the same arguments, files and output "
        "folder"
    )


def test_a_batch_that_devices_cannot_share_equally_is_refused(tmp_path):
    processes = Processes(0, 1)
    processes.devices = 3
    with pytest.raises(
        ValueError, match=r"^batch_size is 4, which 3 devices cannot share equally: use a multiple of 3,"
    ):
        build_run(tmp_path, processes).run()
    with pytest.raises(ValueError, match="batch_size is 4, which 8 processes cannot share"):
        Processes(1, 8).check_batch_size(4)
    Processes(1, 2).check_batch_size(4)


def test_shares_count_the_labels_of_all_processes(config):
    labels = np.array([[5, -100, 7], [-100, 4, 9]])
    batches = [{"masked_labels": labels[:1]}, {"masked_labels": labels}]
    alone = compute_shares(config, "ForMaskedLM", batches)
    found = Group(2).run(lambda one: compute_shares(config, "ForMaskedLM", batches[one.index :], one))
    assert alone == [2 / 6, 4 / 6]
    assert found == [[2 / 10, 4 / 10], [4 / 10]]


def test_a_value_of_the_first_process_reaches_all():
    value = {"scores": {"f1": 1 / 3, "worst": float("inf")}, "remark": "all equal: ≠"}
    assert Group(3).run(lambda one: one.broadcast(value if one.is_first else None)) == [value] * 3
    assert ALONE.broadcast(value) is value


def test_the_first_process_works_before_the_others():
    order = []

    def work(processes):
        with processes.first_before_others():
            order.append(processes.index)

    Group(3).run(work)
    assert order[0] == 0
    assert sorted(order) == [0, 1, 2]


@pytest.mark.parametrize("failing", [(0,), (1,), (0, 2), (0, 1, 2)])
def test_the_first_of_the_processes_that_fail_reports_its_error(failing):
    def work(processes):
        with report_once(processes), processes.first_before_others():
            if processes.index in failing:
                raise ValueError(f"no file for {processes.index}")
        processes.meet()

    found = Group(3).run(work)
    assert [str(error) for error in found if isinstance(error, ValueError)] == [f"no file for {failing[0]}"]
    assert all(isinstance(one, ValueError | EarlyExit | Ended) for one in found)


def test_a_launcher_may_repeat_a_signal():
    signals = StopSignals(repeats=True)
    with signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)  # as torchrun does
        assert signals.received == signal.SIGINT
        signals.arrived -= 60
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)


def test_launchers_are_found_in_the_environment():
    assert find_launcher({}) is None
    assert find_launcher({"WORLD_SIZE": "1"}) is None
    assert find_launcher({"WORLD_SIZE": "3"}) == ("pt", 3)
    assert find_launcher({"TF_CONFIG": WORKERS}) == ("tf", 2)
    assert check_launcher("pt", False, {"WORLD_SIZE": "3"})
    assert check_launcher("flax", True, {})
    assert not check_launcher("flax", False, {})


@pytest.mark.parametrize(
    ("framework", "distributed", "environment", "message"),
    [
        ("tf", False, {"WORLD_SIZE": "2"}, "has started 2 processes for --framework pt, not for tf, which"),
        ("pt", False, {"TF_CONFIG": WORKERS}, "has started 2 processes for --framework tf, not for pt, which"),
        ("np", False, {"WORLD_SIZE": "2"}, "not for np, which needs a single process"),
        ("pt", True, {}, "--distributed: --framework pt needs torchrun"),
        ("pt", False, {"WORLD_SIZE": "two"}, "WORLD_SIZE in the environment is 'two'"),
        ("tf", False, {"TF_CONFIG": "{}"}, "TF_CONFIG in the environment must be like"),
        ("tf", False, {"TF_CONFIG": WORKERS.replace(": 1}", ": 2}")}, "TF_CONFIG names task worker 2; it must"),
    ],
)  # fmt: skip
def test_a_launcher_of_another_framework_is_refused(framework, distributed, environment, message):
    with pytest.raises(ValueError, match=message):
        check_launcher(framework, distributed, environment)


def test_seeds_differ_by_process_and_step_and_are_reproducible():
    seeds = [draw_seed(1, step, index) for step in range(3) for index in range(3)]
    assert len(set(seeds)) == 9
    assert seeds[1] == draw_seed(1, 0, 1) < 1 << 63


def test_state_is_shared_out_by_several_processes_of_pytorch_alone():
    check_sharding("pt", "fsdp", {"WORLD_SIZE": "2"})
    check_sharding("tf", "", {})
    with pytest.raises(ValueError, match="--sharding fsdp is for --framework pt, not for flax"):
        check_sharding("flax", "fsdp", {"WORLD_SIZE": "2"})
    with pytest.raises(ValueError, match="among processes: start at least two with torchrun"):
        check_sharding("pt", "fsdp", {})

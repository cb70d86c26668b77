"""The loop and the command of fine-tuning, with a NumPy framework."""

import json
import math
import shutil
import signal
import sys

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast, backend, checkpoints, cli
from roberta_core.checkpoints import safetensors_file
from roberta_core.parameters import draw
from roberta_core.tasks import TASKS, find_task, metrics
from roberta_core.tokenization import train_tokenizer
from roberta_core.training import finetune_run
from roberta_core.training.schedule import LinearSchedule
from roberta_core.training.training_checkpoint import State, TrainingError

RECIPE = """
[optimizer]
batch_size = 4
peak_learning_rate = 0.5
[run]
log_every = 2
seed = 7
[task]
epochs = 5
max_length = 16
"""
ROWS = [{"text": f"{'good' if number % 2 else 'bad'} {number}", "label": "+-"[number % 2]} for number in range(10)]


class Model:
    """A model with tensors; `says(step, ids)` returns the logits [B, K]."""

    def __init__(self, config, tensors):
        self.config, self.tensors, self.step = config, tensors, 0


class NumPyTrainer:
    """A trainer that changes one tensor, a digest of all batches and learning rates."""

    def __init__(self, model, recipe):
        self.model, self.recipe = model, recipe

    def step(self, batches, learning_rate):
        self.model.step += 1
        NumPyBackend.batches.append((batches, learning_rate))
        if self.model.step in NumPyBackend.signals:
            signal.raise_signal(NumPyBackend.signals.pop(self.model.step))
        bias = self.model.tensors["classifier.dense.bias"]
        bias[:] = 0.5 * bias + learning_rate * sum(batch["input_ids"].sum() for batch in batches)
        return {"loss": NumPyBackend.losses.get(self.model.step, float(bias[0])), "gradient_norm": 1.0}

    def state(self):
        tensors = {name: array.copy() for name, array in self.model.tensors.items()}
        return State(tensors, tensors, tensors, self.model.step)

    def load_state(self, state):
        self.model.tensors, self.model.step = dict(state.tensors), state.steps


class NumPyBackend:
    """A framework whose number of correct rows after each step is `right`."""

    name, title, version, device = "np", "NumPy", "2", "cpu"
    batches, losses, right, signals = [], {}, {}, {}

    def on(self, device):
        return self

    def from_pretrained(self, architecture, source, seed=0, output_loading_info=False, **settings):
        folder = checkpoints.resolve(source)
        config = RobertaConfig.from_pretrained(folder, **settings)
        found, report = checkpoints.load(folder, config, architecture)
        new = dict(draw(config, architecture, seed, only=report.new))
        model = Model(config, {name: np.asarray(array) for name, array in {**found, **new}.items()})
        return (model, report.as_dict()) if output_loading_info else model

    def from_tensors(self, architecture, config, tensors):
        return Model(config, dict(tensors))

    def tensors(self, model):
        marked = {name: array.copy() for name, array in model.tensors.items()}
        marked["classifier.out_proj.bias"][:] = model.step
        return marked

    def trainer(self, model, recipe):
        return NumPyTrainer(model, recipe)

    def run(self, model, inputs):
        ids = inputs["input_ids"]
        logits = np.zeros((len(ids), model.config.num_labels))
        logits[:, 0] = 1
        share = self.right.get(model.step, 0.0)
        logits[np.arange(len(ids)) < share * len(ids), 1] = 2
        return {"logits": logits}


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """Return a folder with a small checkpoint and its tokenizer."""
    folder = tmp_path_factory.mktemp("small")
    (folder / "corpus.txt").write_text("good bad a no label 0 1 2 3 4 5 6 7 8 9\n" * 20)
    size = train_tokenizer([folder / "corpus.txt"], 290, folder)
    config = RobertaConfig(
        vocab_size=size, hidden_size=12, num_hidden_layers=1, num_attention_heads=3, intermediate_size=20,
        max_position_embeddings=130,
    )  # fmt: skip
    checkpoints.save(folder, config, "ForMaskedLM", dict(draw(config, "ForMaskedLM")))
    return folder


@pytest.fixture
def files(tmp_path, monkeypatch, small):
    (tmp_path / "small").symlink_to(small)
    monkeypatch.setattr(NumPyBackend, "batches", [])
    monkeypatch.setattr(NumPyBackend, "losses", {})
    monkeypatch.setattr(NumPyBackend, "signals", {})
    monkeypatch.setattr(NumPyBackend, "right", {3: 0.2, 5: 0.4, 8: 0.3, 10: 0.4, 13: 0.1})
    monkeypatch.setattr(backend, "load", lambda name: NumPyBackend())
    monkeypatch.setattr(backend, "registered", lambda: {"np": None})
    monkeypatch.setattr(backend, "require", lambda name: None)
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "test.jsonl").write_text(
        "".join(json.dumps({**ROWS[1], "text": f"a {n}"}) + "\n" for n in range(9)) + json.dumps(ROWS[0])
    )
    return tmp_path


def run(files, *options, recipe="", code=0, capsys=None):
    (files / "recipe.toml").write_text(RECIPE + recipe)
    arguments = ["finetune", "classification", "--train", files / "train.jsonl", "--validation", files / "test.jsonl"]
    arguments += [
        "--model",
        files / "small",
        "--recipe",
        files / "recipe.toml",
        "--output",
        files / "out",
        "--framework",
        "np",
        "--json",
        *options,
    ]
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in arguments])
    assert ended.value.code == code
    return files / "out"


def log(folder):
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


def test_the_best_model_is_kept_as_a_checkpoint_with_its_labels_and_tokenizer(files):
    out = run(files)
    evaluated = [line for line in log(out) if "scores" in line]
    assert [(line["step"], line["best"]) for line in evaluated] == [
        (3, True),
        (5, True),
        (8, False),
        (10, False),
        (13, False),
    ]
    result = json.loads((out / "result.json").read_text())
    assert result["seeds"]["7"]["step"] == 5
    config = RobertaConfig.from_pretrained(out / "model")
    assert config.id2label == {0: "+", 1: "-"}
    assert config.problem_type == "single_label_classification"
    tensors = dict(safetensors_file.read(out / "model"))
    assert (tensors["classifier.out_proj.bias"] == 5).all()
    assert (out / "model" / "tokenizer.json").is_file()


def test_epochs_set_the_steps_and_the_learning_rate_warms_up_and_decays(files):
    run(files)
    schedule = LinearSchedule(0.5, warmup=1, steps=13)  # five epochs of ten rows, four at a time
    assert [rate for _, rate in NumPyBackend.batches] == [schedule(step) for step in range(13)]


def test_training_stops_early_without_improvement(files):
    out = run(files, recipe="patience = 2\n")
    assert len(NumPyBackend.batches) == 10
    assert log(out)[-1]["stopped"] == "no better for 2 evaluations"


def test_the_last_step_is_always_evaluated(files):
    out = run(files, recipe="evaluations = 0\n")
    assert [line["step"] for line in log(out) if "scores" in line] == [13]


def test_a_micro_batch_size_splits_the_batches(files):
    (files / "recipe.toml").write_text(RECIPE.replace("batch_size = 4", "batch_size = 4\nmicro_batch_size = 2"))
    arguments = ["finetune", "classification", "--train", str(files / "train.jsonl"), "--framework", "np"]
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--recipe", str(files / "recipe.toml"), "--output", str(files / "b"), "--json"])
    assert [len(batch["labels"]) for batch in NumPyBackend.batches[0][0]] == [2, 2]
    assert (files / "b" / "model" / "config.json").is_file()  # without validation the last model is kept


def test_seeds_have_folders_and_their_median_and_deviation_are_reported(files):
    out = run(files, "--seeds", "1,2,3")
    result = json.loads((out / "result.json").read_text())
    assert set(result["seeds"]) == {"1", "2", "3"}
    assert result["median"]["accuracy"] == result["seeds"]["1"]["scores"]["accuracy"]
    assert result["deviation"]["accuracy"] == 0.0
    assert (out / "seed-3" / "model").is_dir()


def test_the_curves_of_all_seeds_are_drawn_and_written_for_tensorboard(files):
    pytest.importorskip("matplotlib")
    pytest.importorskip("tensorboard")
    run(files, "--seeds", "3,4", "--chart", files / "curves.png", "--tensorboard", files / "board")
    assert (files / "curves.png").read_bytes()[:4] == b"\x89PNG"
    assert sorted(path.parent.name for path in (files / "board").rglob("*tfevents*")) == ["seed-3", "seed-4"]


def test_a_constant_prediction_is_reported(files, monkeypatch):
    monkeypatch.setattr(NumPyBackend, "right", {})
    assert "all 10 predictions are '+': the model has collapsed" in log(run(files))[-1]["remark"]


def test_a_nan_loss_stops_the_run(files, monkeypatch, capsys):
    monkeypatch.setattr(NumPyBackend, "losses", {4: math.nan})
    run(files, code=1)
    assert "step 4: loss nan" in capsys.readouterr().err


def test_nan_outputs_stop_the_run(files, monkeypatch, capsys):
    monkeypatch.setattr(NumPyBackend, "run", lambda *_: {"logits": np.full((32, 2), np.nan)})
    run(files, code=1)
    said = capsys.readouterr().err
    assert "logits are not finite numbers" in said
    assert f"The model was saved before it was scored: {files / 'out' / 'step-0000003'}" in said
    assert RobertaConfig.from_pretrained(files / "out" / "step-0000003").id2label == {0: "+", 1: "-"}


def test_skipped_records_are_reported_and_refused_if_strict(files, capsys):
    with open(files / "train.jsonl", "a") as stream:
        stream.write('{"text": "no label"}\n')
    run(files)
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (line["examples"], line["skipped"]) == (10, 1)
    assert "train.jsonl, line 11: no column for the field label (" in line["reasons"][0]
    shutil.rmtree(files / "out")
    run(files, "--strict", code=1)
    assert "train.jsonl, line 11: no column for the field label (" in capsys.readouterr().err


def continued(files, labels, rows=ROWS):
    """Fine-tune a classifier with given labels; return its old tensors and the new folder."""
    old = run(files).rename(files / "old") / "model"
    config = json.loads((old / "config.json").read_text())
    config |= {"id2label": dict(enumerate(labels)), "label2id": {label: n for n, label in enumerate(labels)}}
    (old / "config.json").write_text(json.dumps(config))
    (files / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (files / "test.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    NumPyBackend.batches.clear()
    return dict(safetensors_file.read(old)), run(files, "--model", old, "--seeds", "8") / "model"


def test_the_labels_of_a_classifier_keep_their_order_and_its_head(files):
    old, new = continued(files, ["-", "+"])
    assert RobertaConfig.from_pretrained(new).id2label == {0: "-", 1: "+"}
    tensors = dict(safetensors_file.read(new))
    np.testing.assert_array_equal(tensors["classifier.out_proj.weight"], old["classifier.out_proj.weight"])
    good = RobertaTokenizerFast.from_pretrained(files / "small")("good 1")["input_ids"][1]
    for (batch,), _ in NumPyBackend.batches:
        np.testing.assert_array_equal(batch["labels"], (batch["input_ids"][:, 1] != good).astype(int))


def test_a_new_head_for_other_labels_is_reported(files, capsys):
    rows = [{"text": f"{label} {n}", "label": label} for n in range(4) for label in "xy"]
    old, new = continued(files, ["+", "-"], rows)
    assert RobertaConfig.from_pretrained(new).id2label == {0: "x", 1: "y"}
    tensors = dict(safetensors_file.read(new))
    assert (tensors["classifier.out_proj.weight"] != old["classifier.out_proj.weight"]).any()
    name = "roberta.encoder.layer.0.attention.self.query.weight"
    np.testing.assert_array_equal(tensors[name], old[name])
    notes = [json.loads(line).get("note", "") for line in capsys.readouterr().out.splitlines()]
    assert any("predicts other labels (+, -): its classifier was replaced" in note for note in notes)


def test_a_classifier_of_another_number_of_labels_gets_a_new_head(files):
    rows = [{"text": f"{label} {n}", "label": label} for n in range(4) for label in "xyz"]
    _, new = continued(files, ["+", "-"], rows)
    assert RobertaConfig.from_pretrained(new).num_labels == 3


def test_an_error_keeps_the_model_of_the_lowest_value(files, monkeypatch):
    values = iter([9.0, 3.0, 1.0, 2.0, 0.5, 4.0])  # the first one is computed by the check before training
    monkeypatch.setattr(metrics, "classification", lambda *_: {"squared_error": next(values)})
    out = run(files, recipe='metric = "squared_error"\npatience = 2\n')
    assert [line["best"] for line in log(out) if "scores" in line] == [True, True, False, True, False]
    assert json.loads((out / "result.json").read_text())["median"] == {"squared_error": 0.5}


def test_the_interpretation_of_labels_is_reported(files, capsys):
    run(files)
    assert json.loads(capsys.readouterr().out.splitlines()[0])["target"] == "classification with 2 labels: +, -"


def test_an_error_reports_why_all_records_are_skipped(files, capsys):
    run(files, "--columns", "label=stars", code=1)
    error = capsys.readouterr().err
    assert "no record is left for training: skipped 10: " in error
    assert (
        "line 1 (and 9 more): no column for the field label (stars); the columns are text, label. Name the column"
        in error
    )
    assert error.endswith(": --columns label=COLUMN\n")
    (files / "train.jsonl").write_text('{"text": "good", "label": null}\n')
    run(files, code=1)
    assert capsys.readouterr().err.endswith("line 1: no label: no value in column label\n")


def test_options_override_values_of_the_recipe(files, capsys):
    options = {"--epochs": 2, "--learning-rate": 0.25, "--batch-size": 3, "--max-length": 40, "--seed": 7}
    out = run(files, *[part for pair in options.items() for part in pair])
    recipe = json.loads((out / "result.json").read_text())["recipe"]
    assert (recipe["task"]["epochs"], recipe["optimizer"]["peak_learning_rate"]) == (2, 0.25)
    assert (recipe["optimizer"]["batch_size"], recipe["optimizer"]["steps"]) == (3, 7)  # 2 * 10 / 3
    assert recipe["task"]["max_length"] == 40
    assert list(json.loads((out / "result.json").read_text())["seeds"]) == ["7"]


def test_an_option_can_give_what_a_recipe_for_fine_tuning_must_set(files):
    (files / "bare.toml").write_text("[task]\nepochs = 1\n")
    bare = ("--recipe", files / "bare.toml", "--batch-size", 4)
    run(files, *bare, code=1)
    run(files, *bare, "--learning-rate", "1e-3")


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--epochs", "0"), "--epochs is 0.0; it must be greater than 0"),
        (("--learning-rate", "nan"), "--learning-rate is nan"),
        (("--batch-size", "-1"), "--batch-size is -1"),
        (("--seed", "1", "--seeds", "1,2"), "specify --seed for one run or --seeds for several"),
    ],
)
def test_wrong_options_are_refused_before_data_is_read(files, options, sentence, capsys):
    (files / "train.jsonl").unlink()
    run(files, *options, code=2)
    assert sentence in capsys.readouterr().err


def test_a_missing_file_and_an_unknown_task_are_refused_before_a_framework_is_loaded(files, monkeypatch, capsys):
    monkeypatch.setattr(backend, "load", lambda name: pytest.fail("a framework was loaded"))
    run(files, "--train", files / "nowhere.csv", code=1)
    assert "nowhere.csv: there is no such file" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        cli.main(["finetune", "translation", "--train", str(files / "train.jsonl"), "--output", str(files / "o"),
                  "--recipe", str(files / "recipe.toml"), "--framework", "np"])  # fmt: skip
    assert (
        "expected one of classification or text-classification or sentiment-analysis, tagging"
        in capsys.readouterr().err
    )


def test_truncated_examples_are_reported_in_training_and_evaluation(files, capsys):
    run(files, "--max-length", 8)
    notes = [json.loads(line)["note"] for line in capsys.readouterr().out.splitlines() if '"note"' in line]
    assert not [note for note in notes if "was truncated" in note]
    rows = [*ROWS, {**ROWS[0], "text": "good " * 9}]
    (files / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    shutil.rmtree(files / "out")
    run(files, "--max-length", 8)
    assert "training: 1 example was truncated: a row has at most 8 tokens" in capsys.readouterr().out
    evaluated(files, "--texts", files / "train.jsonl")
    assert "roberta: evaluation: 1 example was truncated: a row has at most 8 tokens" in capsys.readouterr().err


def test_the_names_of_pipelines_are_names_of_tasks(files, capsys):
    run(files)
    assert find_task("sentiment-analysis") is find_task("text-classification") is TASKS["classification"]
    assert find_task("ner") is find_task("token-classification") is TASKS["tagging"]
    evaluated(files, "--task", "text-classification")


def test_a_result_is_not_overwritten(files, capsys):
    run(files)
    run(files, code=1)
    assert "already has a result" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["a", "1,1", "-1"])
def test_wrong_seeds_are_refused(files, seeds):
    run(files, f"--seeds={seeds}", code=2)


def test_a_framework_that_is_not_installed_is_found_before_data_is_read(files, monkeypatch, capsys):
    def refuse(name):
        raise backend.BackendError(f"{name} needs numpy3")

    monkeypatch.setattr(backend, "require", refuse)
    (files / "train.jsonl").unlink()
    run(files, code=1)
    assert "np needs numpy3" in capsys.readouterr().err


def test_columns_of_an_unknown_field_are_refused_before_data_is_read(files, capsys):
    (files / "train.jsonl").unlink()
    run(files, "--columns", "txt=text", code=1)
    assert "classification has no field txt; its fields are text, text_pair, label" in capsys.readouterr().err


def test_a_missing_library_for_parquet_is_reported_before_the_framework_is_loaded(files, monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "pyarrow", None)
    monkeypatch.setattr(backend, "load", lambda name: pytest.fail("the framework was loaded"))
    (files / "train.parquet").write_bytes(b"PAR1")
    run(files, "--train", files / "train.parquet", code=1)
    said = capsys.readouterr().err
    assert "train.parquet: Parquet files need pyarrow: pip install 'triberta[train]'" in " ".join(said.split())
    assert not (files / "out").exists()


@pytest.mark.parametrize("name", ["squad", "roberta-tiny"])
def test_a_recipe_for_something_else_is_refused_before_data_is_read(files, name, capsys):
    (files / "train.jsonl").unlink()
    run(files, "--recipe", name, "--batch-size", 4, "--learning-rate", 0.1, code=1)
    assert f"{name} is a recipe for `roberta " in capsys.readouterr().err


def test_an_unknown_score_is_refused(files, capsys):
    run(files, recipe='metric = "bleu"\n', code=1)
    assert "there is no score 'bleu'; this task has accuracy, f1, matthews" in capsys.readouterr().err


def test_training_errors_are_value_errors():
    assert issubclass(TrainingError, ValueError)


def evaluated(files, *options, code=0):
    arguments = ["evaluate", "--task", "classification", "--model", files / "out" / "model", "--framework", "np"]
    with pytest.raises(SystemExit) as ended:
        cli.main([str(argument) for argument in [*arguments, "--texts", files / "test.jsonl", *options]])
    assert ended.value.code == code


def test_a_fine_tuned_model_is_evaluated_and_its_predictions_written(files, capsys):
    run(files)
    capsys.readouterr()
    evaluated(files, "--json", "--predictions", files / "said.jsonl")
    found = json.loads(capsys.readouterr().out)
    assert (found["examples"], found["skipped"]) == (10, 0)
    assert set(found["scores"]["NumPy 2 on cpu"]) == {"accuracy", "f1", "matthews"}
    said = [json.loads(line) for line in (files / "said.jsonl").read_text().splitlines()]
    assert len(said) == 10
    right = [row["prediction"] == wanted for row, wanted in zip(said, ["-"] * 9 + ["+"], strict=True)]
    assert sum(right) / 10 == found["scores"]["NumPy 2 on cpu"]["accuracy"]


def test_a_checkpoint_that_is_not_fine_tuned_is_not_evaluated(files, capsys):
    run(files)
    evaluated(files, "--model", "roberta-tiny", code=1)
    assert "roberta-tiny is not fine-tuned for classification" in capsys.readouterr().err


def lines_of(folder):
    """Return the log without what differs between runs: the speed, and the steps of checkpoints."""
    lines = [line for line in log(folder) if "checkpoint" not in line]
    return [{name: value for name, value in line.items() if name != "tokens_per_second"} for line in lines]


def files_of(folder):
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file()}


def check_same(one, two):
    assert lines_of(one) == lines_of(two)
    assert files_of(one / "model") == files_of(two / "model")
    results = [json.loads((folder / "result.json").read_text()) for folder in (one, two)]
    assert results[0] == results[1]


@pytest.fixture
def whole(files):
    """Return the folder of an uninterrupted run of 13 steps with evaluations after 3, 5, 8, 10 and 13."""
    folder = run(files)
    NumPyBackend.batches.clear()
    return folder.rename(files / "whole")


@pytest.mark.parametrize("at", [1, 3, 6, 13])
@pytest.mark.parametrize(("name", "code"), [("SIGINT", 130), ("SIGTERM", 143)])
def test_a_signal_saves_and_names_the_command_that_resumes_to_the_same_bits(files, whole, capsys, name, code, at):
    NumPyBackend.signals[at] = signal.Signals[name]
    out = run(files, code=code)
    said = capsys.readouterr().err
    assert f"stopped by {name} after step {at}; saved {out}/step-{at:07d}. To resume: roberta finetune" in said
    assert said.rstrip().endswith("--resume")
    assert not (out / "result.json").exists()
    run(files, "--resume")
    assert len(NumPyBackend.batches) == 13  # no step is repeated
    check_same(out, whole)
    assert not list(out.glob("step-*"))


def test_an_evaluation_interrupted_by_a_signal_is_repeated_after_resuming(files, whole, monkeypatch):
    original = NumPyBackend.run

    def interrupted(self, model, inputs):
        if model.step == 8:
            signal.raise_signal(signal.SIGTERM)
        return original(self, model, inputs)

    monkeypatch.setattr("roberta_core.training.finetune_loop.BATCH", 4)
    monkeypatch.setattr(NumPyBackend, "run", interrupted)
    out = run(files, code=143)
    assert [line["step"] for line in log(out) if "scores" in line] == [3, 5]
    monkeypatch.setattr(NumPyBackend, "run", original)
    run(files, "--resume")
    assert [line["step"] for line in log(out) if "scores" in line] == [3, 5, 8, 10, 13]


@pytest.mark.parametrize("at", [2, 4, 7, 12])
def test_a_run_that_was_killed_resumes_from_its_last_checkpoint_to_the_same_bits(files, whole, monkeypatch, at):
    def kill(*_):
        raise KeyboardInterrupt  # like the second Ctrl-C: nothing is saved

    original = NumPyTrainer.step
    monkeypatch.setattr(
        NumPyTrainer, "step", lambda self, *given: (kill if self.model.step == at else original)(self, *given)
    )
    every = "[run]\nlog_every = 2\nseed = 7\ncheckpoint_every = 3\n"
    text = RECIPE.replace("[run]\nlog_every = 2\nseed = 7\n", every)
    monkeypatch.setitem(globals(), "RECIPE", text)
    out = run(files, code=130)
    assert [path.name for path in sorted(out.glob("step-*"))] == [f"step-{n:07d}" for n in range(3, at + 1, 3)][-2:]
    monkeypatch.setattr(NumPyTrainer, "step", original)
    run(files, "--resume")
    steps = [line["step"] for line in log(out) if "loss" in line]
    assert steps == sorted(set(steps))
    assert lines_of(out) == lines_of(whole)
    assert files_of(out / "model") == files_of(whole / "model")


def test_completed_seeds_are_not_trained_again(files):
    whole = run(files, "--seeds", "1,2").rename(files / "whole")
    NumPyBackend.batches.clear()
    original = NumPyTrainer.step

    def stop_second(self, *given):
        if self.recipe.run.seed == 2 and self.model.step == 4:
            signal.raise_signal(signal.SIGTERM)
        return original(self, *given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NumPyTrainer, "step", stop_second)
        out = run(files, "--seeds", "1,2", code=143)
    assert (out / "seed-1" / "finished.json").is_file()
    run(files, "--seeds", "1,2", "--resume")
    assert len(NumPyBackend.batches) == 26
    for seed in ("seed-1", "seed-2"):
        assert files_of(out / seed / "model") == files_of(whole / seed / "model")
    assert (out / "result.json").read_bytes() == (whole / "result.json").read_bytes()


def test_resuming_requires_a_run(files, capsys):
    run(files, "--resume", code=1)
    assert f"there is nothing to resume: {files / 'out'} does not exist" in capsys.readouterr().err
    (files / "out").mkdir()
    run(files, "--resume", code=1)
    assert "holds no training run" in capsys.readouterr().err


def test_a_run_is_not_overwritten_and_other_data_are_not_resumed(files, capsys):
    NumPyBackend.signals[4] = signal.SIGTERM
    run(files, code=143)
    capsys.readouterr()
    run(files, code=1)
    assert "already has a run: continue it with --resume, or choose another --output\n" in capsys.readouterr().err
    rows = [{**row, "text": row["text"] + "!"} for row in ROWS]
    (files / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    run(files, "--resume", code=1)
    assert "was trained on other data" in capsys.readouterr().err


def test_a_new_head_is_named_once_and_not_as_a_warning(files, capsys, caplog):
    run(files)
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    notes = [line["note"] for line in lines if "note" in line]
    assert notes == [f"classifier newly initialised; training starts from {files / 'small'}"]
    assert not caplog.records


def test_numbers_are_printed_with_the_correct_plural(files, capsys, monkeypatch):
    (files / "test.jsonl").write_text(json.dumps(ROWS[0]) + "\n")
    original = cli.main
    monkeypatch.setattr(cli, "main", lambda arguments: original([one for one in arguments if one != "--json"]))
    run(files)
    out = capsys.readouterr().out
    assert "10 examples for training, 0 skipped" in out
    assert "1 example for validation, 0 skipped" in out
    assert f"The model is in {files / 'out' / 'model'}" in out


def test_the_last_line_names_the_folder_of_the_model(files, capsys):
    run(files)
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["models"] == [str(files / "out" / "model")]


def test_the_settings_of_training_are_those_of_evaluation(files, capsys):
    run(files)
    capsys.readouterr()
    seen = []
    original = NumPyBackend.run
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            NumPyBackend, "run", lambda *given: seen.append(given[2]["input_ids"].shape[1]) or original(*given)
        )
        (files / "test.jsonl").write_text(json.dumps({**ROWS[0], "text": "good " * 90}) + "\n")
        evaluated(files, "--json")
        assert seen == [16]  # max_length of the recipe
        evaluated(files, "--json", "--recipe", "glue")
        assert seen[1] > 16
    for faulty in ("[", "{}", '{"settings": {}}'):
        (files / "out" / "model" / "task.json").write_text(faulty)
        with pytest.raises(ValueError, match=r"task\.json (cannot be read|is not JSON)"):
            finetune_run.read_task_settings(str(files / "out" / "model"), "classification")
    (files / "out" / "model" / "task.json").write_text("[")
    capsys.readouterr()
    evaluated(files, code=1)
    assert "task.json cannot be read" in capsys.readouterr().err


def test_a_model_is_not_evaluated_on_another_task(files, capsys):
    run(files)
    evaluated(files, "--task", "tagging", code=1)
    assert "was fine-tuned for classification, not for tagging" in capsys.readouterr().err

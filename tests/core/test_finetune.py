"""Fine-tuning's loop and command, with a framework that is NumPy."""

import json
import math

import numpy as np
import pytest

from roberta_core import RobertaConfig, RobertaTokenizerFast, backend, checkpoints, cli
from roberta_core.checkpoints import safetensors_file
from roberta_core.parameters import draw
from roberta_core.tasks import metrics
from roberta_core.training.schedule import LinearSchedule
from roberta_core.training.training_checkpoint import TrainingError

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
    """Its tensors; `says(step, ids)` are the logits [B, K]."""

    def __init__(self, config, tensors):
        self.config, self.tensors, self.step = config, tensors, 0


class NumPyTrainer:
    def __init__(self, model, recipe):
        self.model, self.recipe = model, recipe

    def step(self, batches, learning_rate):
        self.model.step += 1
        NumPyBackend.batches.append((batches, learning_rate))
        return {"loss": NumPyBackend.losses.get(self.model.step, 1.0), "gradient_norm": 1.0}


class NumPyBackend:
    """What it predicts is right for so many of the rows as `right` says after each step."""

    name, title, version = "np", "NumPy", "2"
    batches, losses, right = [], {}, {}

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


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setattr(NumPyBackend, "batches", [])
    monkeypatch.setattr(NumPyBackend, "losses", {})
    monkeypatch.setattr(NumPyBackend, "right", {3: 0.2, 5: 0.4, 8: 0.3, 10: 0.4, 13: 0.1})
    monkeypatch.setattr(backend, "load", lambda name: NumPyBackend())
    monkeypatch.setattr(backend, "registered", lambda: {"np": None})
    (tmp_path / "recipe.toml").write_text(RECIPE)
    (tmp_path / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    (tmp_path / "test.jsonl").write_text(
        "".join(json.dumps({**ROWS[1], "text": f"a {n}"}) + "\n" for n in range(9)) + json.dumps(ROWS[0])
    )
    return tmp_path


def run(files, *options, recipe="", code=0, capsys=None):
    (files / "recipe.toml").write_text(RECIPE + recipe)
    arguments = ["finetune", "classification", "--train", files / "train.jsonl", "--validation", files / "test.jsonl"]
    arguments += ["--recipe", files / "recipe.toml", "--output", files / "out", "--framework", "np", "--json", *options]
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


def test_epochs_make_the_steps_and_the_learning_rate_warms_up_and_decays(files):
    run(files)
    schedule = LinearSchedule(0.5, warmup=1, steps=13)  # five epochs of ten rows, four at a time
    assert [rate for _, rate in NumPyBackend.batches] == [schedule(step) for step in range(13)]


def test_it_stops_when_it_gets_no_better(files):
    out = run(files, recipe="patience = 2\n")
    assert len(NumPyBackend.batches) == 10
    assert log(out)[-1]["stopped"] == "no better for 2 evaluations"


def test_without_evaluations_on_the_way_there_is_one_at_the_end(files):
    out = run(files, recipe="evaluations = 0\n")
    assert [line["step"] for line in log(out) if "scores" in line] == [13]


def test_a_micro_batch_size_splits_the_batches(files):
    (files / "recipe.toml").write_text(RECIPE.replace("batch_size = 4", "batch_size = 4\nmicro_batch_size = 2"))
    arguments = ["finetune", "classification", "--train", str(files / "train.jsonl"), "--framework", "np"]
    with pytest.raises(SystemExit):
        cli.main([*arguments, "--recipe", str(files / "recipe.toml"), "--output", str(files / "b"), "--json"])
    assert [len(batch["labels"]) for batch in NumPyBackend.batches[0][0]] == [2, 2]
    assert (files / "b" / "model" / "config.json").is_file()  # without validation the last model is kept


def test_seeds_have_folders_and_their_median_and_deviation_are_told(files):
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


def test_one_prediction_for_all_is_noticed(files, monkeypatch):
    monkeypatch.setattr(NumPyBackend, "right", {})
    assert "all 10 predictions are '+': the model has collapsed" in log(run(files))[-1]["remark"]


def test_a_loss_that_is_no_number_ends_the_run(files, monkeypatch, capsys):
    monkeypatch.setattr(NumPyBackend, "losses", {4: math.nan})
    run(files, code=1)
    assert "step 4: loss nan" in capsys.readouterr().err


def test_outputs_that_are_no_numbers_end_the_run(files, monkeypatch, capsys):
    monkeypatch.setattr(NumPyBackend, "run", lambda *_: {"logits": np.full((32, 2), np.nan)})
    run(files, code=1)
    assert "logits are not finite numbers" in capsys.readouterr().err


def test_what_is_skipped_is_said_and_strict_refuses_it(files, capsys):
    with open(files / "train.jsonl", "a") as stream:
        stream.write('{"text": "no label"}\n')
    run(files)
    line = json.loads(capsys.readouterr().out.splitlines()[0])
    assert (line["examples"], line["skipped"]) == (10, 1)
    assert "train.jsonl, line 11: no label" in line["reasons"][0]
    (files / "out" / "result.json").unlink()
    run(files, "--strict", code=1)
    assert "train.jsonl, line 11: no label" in capsys.readouterr().err


def continued(files, labels, rows=ROWS):
    """Fine-tune on from a classifier of these labels; the old tensors and the new folder."""
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
    good = RobertaTokenizerFast.from_pretrained("roberta-tiny")("good 1")["input_ids"][1]
    for (batch,), _ in NumPyBackend.batches:
        np.testing.assert_array_equal(batch["labels"], (batch["input_ids"][:, 1] != good).astype(int))


def test_a_classifier_of_other_labels_gets_a_new_head_and_that_is_said(files, capsys):
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
    values = iter([3.0, 1.0, 2.0, 0.5, 4.0])
    monkeypatch.setattr(metrics, "classification", lambda *_: {"squared_error": next(values)})
    out = run(files, recipe='metric = "squared_error"\npatience = 2\n')
    assert [line["best"] for line in log(out) if "scores" in line] == [True, True, False, True, False]
    assert json.loads((out / "result.json").read_text())["median"] == {"squared_error": 0.5}


def test_what_labels_are_is_reported(files, capsys):
    run(files)
    assert json.loads(capsys.readouterr().out.splitlines()[0])["target"] == "classification with 2 labels: +, -"


def test_nothing_left_is_an_error_that_says_why(files, capsys):
    run(files, "--columns", "label=stars", code=1)
    assert "nothing is left for training: skipped 10: " in capsys.readouterr().err


def test_a_result_is_not_overwritten(files, capsys):
    run(files)
    run(files, code=1)
    assert "already has a result" in capsys.readouterr().err


@pytest.mark.parametrize("seeds", ["a", "1,1", "-1"])
def test_wrong_seeds_are_refused(files, seeds):
    run(files, f"--seeds={seeds}", code=2)


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
    assert set(found["scores"]["NumPy 2"]) == {"accuracy", "f1", "matthews"}
    said = [json.loads(line) for line in (files / "said.jsonl").read_text().splitlines()]
    assert len(said) == 10
    right = [row["prediction"] == wanted for row, wanted in zip(said, ["-"] * 9 + ["+"], strict=True)]
    assert sum(right) / 10 == found["scores"]["NumPy 2"]["accuracy"]


def test_a_checkpoint_that_is_not_fine_tuned_is_not_evaluated(files, capsys):
    run(files)
    evaluated(files, "--model", "roberta-tiny", code=1)
    assert "roberta-tiny is not fine-tuned for classification" in capsys.readouterr().err

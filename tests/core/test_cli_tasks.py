"""`roberta tasks` and `roberta recipes`: what can be done, with which fields and recipes."""

import json

import pytest

from roberta_core import backend, cli
from roberta_core.cli import program
from roberta_core.pipelines import PIPELINES
from roberta_core.tasks import TASKS
from roberta_core.training.recipe import Recipe, built_in_names, read_text


@pytest.fixture
def run(capsys):
    """`run(*arguments)`: the exit status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(list(arguments))
        return ended.value.code, *capsys.readouterr()

    return run


def test_every_task_is_listed_with_commands_fields_and_recipes_that_exist(run):
    found = json.loads(run("tasks", "--json")[1])
    assert list(found) == list(PIPELINES)
    assert {facts["command"] for facts in found.values()} <= {*program.COMMANDS, None}
    assert {facts["finetune"] for facts in found.values()} == {*TASKS, None}
    assert found["text-classification"]["training"]["label"][:3] == ["label", "labels", "gold_label"]
    assert found["token-classification"]["input"] == {
        "text": ["text", "sentence", "content"], "tokens": ["tokens", "words"],
    }  # fmt: skip
    assert {name for facts in found.values() for name in facts["recipes"]} < set(built_in_names())
    code, out, _ = run("tasks")
    assert code == 0
    assert all(name in out for name in found)


def test_one_task_is_shown_with_its_columns_by_any_of_its_names(run):
    same = {run("tasks", name)[1] for name in ("ner", "tagging", "token-classification")}
    (out,) = same
    assert "tokens: in the column tokens or words" in out
    assert run("tasks", "classification")[1].startswith(
        "Models that `roberta finetune classification` trains are used "
    )
    code, _, err = run("tasks", "nope")
    assert code == 1
    assert "there is no task 'nope'; expected one of fill-mask, text-classification (also classification," in err


def test_recipes_are_listed_and_printed_as_they_are(run):
    found = json.loads(run("recipes", "--json")[1])
    assert list(found) == built_in_names()
    assert found["squad"]["command"] == "finetune question-answering"
    assert found["roberta-base"]["command"] == "pretrain"
    assert run("recipes", "glue") == (0, read_text("glue"), "")
    assert json.loads(run("recipes", "glue", "--json")[1]) == json.loads(json.dumps(Recipe.load("glue").to_dict()))
    assert all(name in run("recipes")[1] for name in found)
    code, _, err = run("recipes", "nope")
    assert code == 1
    assert "there is no recipe nope; built in are glue" in err


def test_the_name_of_a_library_is_answered_with_the_name_to_write(run):
    sentence = "there is no framework 'torch': write pt (PyTorch), tf (TensorFlow), flax (JAX), onnx (ONNX Runtime) or"
    code, _, err = run("tag", "--model", "roberta-tiny", "--framework", "torch")
    assert code == 2
    assert sentence in err
    with pytest.raises(backend.BackendError, match="write pt"):
        backend.require("torch")

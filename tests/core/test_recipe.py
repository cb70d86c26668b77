"""Recipes are read from TOML and validated."""

import json
import re
import tomllib
from dataclasses import fields
from pathlib import Path

import pytest

from roberta_core.tasks import TASKS
from roberta_core.training import recipe
from roberta_core.training.recipe import FINE_TUNING, Recipe, RecipeError, built_in_names
from roberta_core.training.recipe import TABLES as TABLE_KINDS

TABLES = {
    "model": {"hidden_size": 12, "num_attention_heads": 3, "max_position_embeddings": 19},
    "data": {"sequence_length": 17, "held_out": ["a.txt"]},
    "optimizer": {"steps": 30, "warmup_steps": 3, "weight_decay": 0},
}


@pytest.mark.parametrize("name", built_in_names())
def test_the_built_in_recipes_can_be_read(name):
    assert Recipe.load(name).config(101).vocab_size == 101


def test_a_recipe_is_restored_from_json():
    recipe = Recipe.from_dict(TABLES)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.data.held_out == ("a.txt",)


def test_the_released_settings_are_the_defaults_of_the_model():
    config = Recipe.from_dict(TABLES).config(101)
    assert (config.layer_norm_eps, config.type_vocab_size, config.hidden_size) == (1e-5, 1, 12)


@pytest.mark.parametrize(
    ("table", "name", "value", "said"),
    [
        ("data", "sequence_length", 18, "sequence_length is 18, but the model accepts at most 17 tokens"),
        ("data", "sequence_length", 17.0, "data.sequence_length is 17.0; it must be of type int"),
        ("data", "held_out", "a.txt", "data.held_out"),
        ("masking", "rate", 1.5, "1.5"),
        ("optimizer", "steps", 0, "steps is 0"),
        ("optimizer", "warmup_steps", 30, "30 steps of warm-up do not fit"),
        ("optimizer", "beta2", 1.0, "beta2 is 1.0"),
        ("optimizer", "epsilon", 0.0, "epsilon is 0.0"),
        ("optimizer", "clip_norm", -1.0, "clip_norm is -1.0"),
        ("optimizer", "weight_decay", float("nan"), "weight_decay is nan"),
        ("optimizer", "precision", "float8", "expected one of float32, bfloat16"),
        ("optimizer", "learning_rate", 1e-3, "unknown value in .optimizer.: learning_rate"),
        ("run", "log_every", 0, "log_every is 0"),
        ("run", "seed", True, "run.seed is True"),
        ("model", "hidden_size", 13, "13 is not divisible by num_attention_heads 3"),
        ("modle", "hidden_size", 12, r"unknown table: modle \(did you mean model\?\)"),
        ("model", "hiden_size", 12, r"unknown value in \[model\]: hiden_size \(did you mean hidden_size\?\)"),
        ("task", "epoch", 12, r"unknown value in \[task\]: epoch \(did you mean epochs\?\)"),
    ],
)
def test_a_wrong_value_is_refused_with_its_name(table, name, value, said):
    with pytest.raises(ValueError, match=said):
        Recipe.from_dict({**TABLES, table: {**TABLES.get(table, {}), name: value}})


def test_a_file_that_is_wrong_or_missing_is_named(tmp_path):
    path = tmp_path / "mine.toml"
    path.write_text("[optimizer]\nsteps = 'many'\n")
    with pytest.raises(RecipeError, match=r"mine\.toml: optimizer\.steps is 'many'"):
        Recipe.load(path)
    path.write_text("[optimizer\n")
    with pytest.raises(RecipeError, match=r"mine\.toml"):
        Recipe.load(path)
    with pytest.raises(RecipeError, match="no recipe none-such; built in are glue, race, roberta-base"):
        Recipe.load("none-such")


def write(folder, **files):
    for name, text in files.items():
        (folder / f"{name}.toml").write_text(text)


def test_a_recipe_inherits_from_a_built_in_one(tmp_path):
    write(tmp_path, mine='base = "glue"\n[task]\nepochs = 1\n[run]\nseed = 5\n')
    mine, glue = Recipe.load(tmp_path / "mine.toml", FINE_TUNING), Recipe.load("glue")
    assert (mine.task.epochs, mine.run.seed, mine.optimizer, mine.task.patience) == (1.0, 5, glue.optimizer, 3)
    assert mine.model == glue.model


def test_a_recipe_inherits_from_a_file_in_its_folder_and_recursively(tmp_path, monkeypatch):
    write(tmp_path, one='base = "squad"\n[optimizer]\nsteps = 70\n', two='base = "one.toml"\n[run]\nlog_every = 3\n')
    monkeypatch.chdir("/")
    found = Recipe.load(tmp_path / "two.toml")
    assert (found.optimizer.batch_size, found.optimizer.steps, found.run.log_every) == (48, 70, 3)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('base = "one.toml"', "one.toml is a base of itself"),
        ('base = "none-such"', "no recipe none-such; built in are"),
        ("base = 3", "base is 3; it must be the name or the file"),
        ("task = 3", r"task is 3; it must be a table, \[task\]"),
        ('base = "glue"\noptimizer = 3', r"optimizer is 3; it must be a table, \[optimizer\]"),
        ('base = "glue"\n[task]\nepoch = 1', "unknown value in .task.: epoch"),
    ],
)
def test_a_base_that_is_wrong_is_refused(tmp_path, text, said):
    write(tmp_path, one=text)
    with pytest.raises(RecipeError, match=said):
        Recipe.load(tmp_path / "one.toml")


def test_fine_tuning_does_not_use_the_defaults_of_pretraining(tmp_path):
    write(tmp_path, mine="[task]\nepochs = 1\n")
    Recipe.load(tmp_path / "mine.toml")
    with pytest.raises(RecipeError, match=r"does not set optimizer.batch_size, optimizer.peak_learning_rate: .*base ="):
        Recipe.load(tmp_path / "mine.toml", FINE_TUNING)


@pytest.mark.parametrize("name", [name for name in built_in_names() if Recipe.load(name).task.epochs])
def test_the_built_in_recipes_of_tasks_set_the_required_values(name):
    Recipe.load(name, FINE_TUNING)


def test_every_value_of_a_recipe_is_documented_with_its_default():
    page = (Path(__file__).parents[2] / "docs" / "recipes.md").read_text()
    rows = dict(re.findall(r"^\| `(\w+\.\w+)` \| (.*?) \|", page, re.MULTILINE))
    defaults = {name: kind() for name, kind in TABLE_KINDS.items()}
    wanted = {
        f"{table}.{field.name}": getattr(defaults[table], field.name)
        for table, kind in TABLE_KINDS.items()
        for field in fields(kind)
    }
    assert set(rows) == set(wanted)
    for name, default in wanted.items():
        shown = rows[name].strip("`")
        assert tomllib.loads(f"value = {shown}")["value"] == (list(default) if default == () else default), name


def test_every_built_in_recipe_has_its_tasks_and_can_be_printed():
    assert all(len(set(task.recipes)) == len(task.recipes) for task in TASKS.values())
    tasks = {name for task in TASKS.values() for name in task.recipes}
    assert tasks <= set(recipe.built_in_names())
    for name in recipe.built_in_names():
        text = recipe.read_text(name)
        assert ("[task]" in text) == (name in tasks)
        assert recipe.read_summary(name) == text.splitlines()[0][2:]
    with pytest.raises(RecipeError, match="there is no recipe nope; built in are glue, race"):
        recipe.read_text("nope")
    with pytest.raises(RecipeError, match=r"there is no recipe squat \(did you mean squad\?\); built in"):
        recipe.read_text("squat")
    with pytest.raises(RecipeError, match="there is no recipe"):
        recipe.read_text("../recipes/glue")


def test_values_are_overridden_and_checked():
    glue = Recipe.load("glue")
    assert glue.override(epochs=None, seed=None) == glue
    changed = glue.override(epochs=1.5, learning_rate=1e-3, batch_size=8, max_length=64, seed=3)
    assert (changed.task.epochs, changed.task.max_length, changed.run.seed) == (1.5, 64, 3)
    assert (changed.optimizer.peak_learning_rate, changed.optimizer.batch_size) == (1e-3, 8)
    with pytest.raises(ValueError, match="batch_size 6 is not a multiple of micro_batch_size 4"):
        Recipe.from_dict({"optimizer": {"micro_batch_size": 4, "batch_size": 8}}).override(batch_size=6)


@pytest.mark.parametrize(
    ("name", "purpose", "said"),
    [
        (
            "squad",
            "classification",
            "squad is a recipe for `roberta finetune question-answering`; .* are glue, tiny-cl",
        ),
        ("glue", "question-answering", "glue is a recipe for `roberta finetune classification or tagging`"),
        (
            "squad",
            "pretraining",
            "squad is a recipe for .*`roberta pretrain`, which have no .task. table, are roberta-",
        ),
        ("roberta-tiny", "ner", "roberta-tiny is a recipe for `roberta pretrain`; .* finetune tagging`.* are glue, ti"),
    ],
)
def test_a_built_in_recipe_is_refused_for_another_purpose(name, purpose, said):
    with pytest.raises(RecipeError, match=said):
        Recipe.load(name, purpose=purpose)


def test_a_recipe_file_is_refused_only_if_it_has_just_the_tables_of_the_other_command(tmp_path):
    write(tmp_path, mine='base = "glue"\n', all='base = "roberta-tiny"\n[task]\nepochs = 1\n', bare="[run]\nseed = 3\n")
    for purpose in TASKS:
        Recipe.load(tmp_path / "mine.toml", purpose=purpose)
    with pytest.raises(RecipeError, match=r"mine.toml is a recipe for `roberta finetune`; the built-in recipes for"):
        Recipe.load(tmp_path / "mine.toml", purpose="pretraining")
    for name in ("all", "bare"):
        Recipe.load(tmp_path / f"{name}.toml", purpose="pretraining")
        Recipe.load(tmp_path / f"{name}.toml", purpose="tagging")

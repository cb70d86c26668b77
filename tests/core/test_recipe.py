"""Recipes: read from TOML, checked when read."""

import json

import pytest

from roberta_core.training.recipe import Recipe, RecipeError, built_in_names

TABLES = {
    "model": {"hidden_size": 12, "num_attention_heads": 3, "max_position_embeddings": 19},
    "data": {"sequence_length": 17, "held_out": ["a.txt"]},
    "optimizer": {"steps": 30, "warmup_steps": 3, "weight_decay": 0},
}


@pytest.mark.parametrize("name", built_in_names())
def test_the_built_in_recipes_can_be_read(name):
    assert Recipe.load(name).config(101).vocab_size == 101


def test_a_recipe_survives_json():
    recipe = Recipe.from_dict(TABLES)
    assert Recipe.from_dict(json.loads(json.dumps(recipe.to_dict()))) == recipe
    assert recipe.data.held_out == ("a.txt",)


def test_the_model_has_the_released_settings_unless_the_recipe_says_otherwise():
    config = Recipe.from_dict(TABLES).config(101)
    assert (config.layer_norm_eps, config.type_vocab_size, config.hidden_size) == (1e-5, 1, 12)


@pytest.mark.parametrize(
    ("table", "name", "value", "said"),
    [
        ("data", "sequence_length", 18, "18 is over the 17 positions"),
        ("data", "sequence_length", 17.0, "data.sequence_length is 17.0; it must be of type int"),
        ("data", "held_out", "a.txt", "data.held_out"),
        ("masking", "rate", 1.5, "1.5"),
        ("optimizer", "steps", 0, "steps is 0"),
        ("optimizer", "warmup_steps", 30, "30 steps of warm-up do not fit"),
        ("optimizer", "beta2", 1.0, "beta2 is 1.0"),
        ("optimizer", "epsilon", 0.0, "epsilon is 0.0"),
        ("optimizer", "clip_norm", -1.0, "clip_norm is -1.0"),
        ("optimizer", "weight_decay", float("nan"), "weight_decay is nan"),
        ("optimizer", "precision", "float8", "known are float32, bfloat16"),
        ("optimizer", "learning_rate", 1e-3, "unknown value in .optimizer.: learning_rate"),
        ("run", "log_every", 0, "log_every is 0"),
        ("run", "seed", True, "run.seed is True"),
        ("model", "hidden_size", 13, "13 is not divisible by num_attention_heads 3"),
        ("modle", "hidden_size", 12, "unknown table: modle"),
    ],
)
def test_a_wrong_value_is_refused_by_name(table, name, value, said):
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

"""The published methods of Flax models beside 4.57.6, on the same weights: the same results."""

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
jax = pytest.importorskip("jax")
pytest.importorskip("flax")
if not transformers.__version__.startswith("4."):
    pytest.skip("written for 4.57.6", allow_module_level=True)

import jax.numpy as jnp  # noqa: E402

import roberta_flax  # noqa: E402
from roberta_core import RobertaConfig, checkpoints  # noqa: E402
from roberta_core.parameters import draw  # noqa: E402

SIZES = {
    "vocab_size": 101, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 20,
    "max_position_embeddings": 19,
}  # fmt: skip
HEADS = ("Model", "ForMaskedLM", "ForCausalLM", "ForSequenceClassification")


@pytest.fixture(scope="module")
def load(tmp_path_factory):
    """Return `load(architecture)`: our model and that of transformers, with the same weights."""
    root, config, found = tmp_path_factory.mktemp("models"), RobertaConfig(**SIZES), {}

    def load(architecture):
        if architecture not in found:
            folder = root / architecture
            checkpoints.save(folder, config, architecture, dict(draw(config, architecture)), format="bin")
            found[architecture] = (
                getattr(roberta_flax, f"FlaxRoberta{architecture}").from_pretrained(folder),
                getattr(transformers, f"FlaxRoberta{architecture}").from_pretrained(folder, from_pt=True),
            )
        return found[architecture]

    return load


def describe(model):
    shapes = jax.tree_util.tree_map(lambda leaf: (leaf.shape, leaf.dtype.name), model.params_shape_tree)
    return (
        model.framework, model.main_input_name, model.base_model_prefix, type(model).can_generate(),
        model.config_class.model_type, model.required_params, shapes, model.key.tolist(), model.input_shape,
        model.dtype,
    )  # fmt: skip


@pytest.mark.parametrize("architecture", HEADS)
def test_the_classes_describe_themselves_alike(load, architecture):
    ours, theirs = (describe(model) for model in load(architecture))
    assert ours == theirs


@pytest.mark.parametrize("architecture", ["Model", "ForMaskedLM"])
def test_models_are_made_with_the_same_arguments(architecture):
    shapes = []
    for package, configuration in ((roberta_flax, RobertaConfig), (transformers, transformers.RobertaConfig)):
        kind = getattr(package, f"FlaxRoberta{architecture}")
        model = kind(config=configuration(**SIZES), input_shape=(2, 3), seed=3, gradient_checkpointing=True)
        assert (model.input_shape, model.key.tolist()) == ((2, 3), [0, 3])
        drawn = model.init_weights(rng=jax.random.PRNGKey(0), input_shape=(2, 3))
        shapes.append(jax.tree_util.tree_map(jnp.shape, drawn))
        empty = kind(configuration(**SIZES), _do_init=False)
        assert empty.required_params == model.required_params
        assert (kind.module_class is None) == (package is roberta_flax)
    assert shapes[0] == shapes[1]


def test_parameters_are_cast_alike(load):
    dtypes = []
    for model in load("ForMaskedLM"):
        params = model.params
        mask = jax.tree_util.tree_map(lambda leaf: leaf.ndim == 2, params)
        found = [model.to_fp16(params=params), model.to_bf16(params, mask=mask)]
        found.append(model.to_fp32(params=found[0]))
        dtypes.append([jax.tree_util.tree_map(lambda leaf: leaf.dtype.name, tree) for tree in found])
    assert dtypes[0] == dtypes[1]


def test_half_precision_is_stored(load, tmp_path):
    for number, model in enumerate(load("Model")):
        half = model.to_fp16(model.params)
        model.save_pretrained(save_directory=tmp_path / str(number), params=half)
        file = next(one for one in (tmp_path / str(number)).iterdir() if one.name != "config.json")
        assert file.stat().st_size < 3.5 * sum(leaf.size for leaf in jax.tree_util.tree_leaves(half))
    ours, theirs = (
        package.FlaxRobertaModel.from_pretrained(tmp_path / str(number)).params
        for number, package in enumerate((roberta_flax, transformers))
    )
    for one, other in zip(*map(jax.tree_util.tree_leaves, (ours, theirs)), strict=True):
        assert one.dtype == other.dtype == np.float16
        np.testing.assert_array_equal(one, other)


@pytest.mark.parametrize("architecture", HEADS)
def test_the_module_of_a_model_computes_alike(load, architecture):
    ids = jnp.array([[0, 5, 6, 7, 2], [0, 8, 2, 1, 1]])
    inputs = {"attention_mask": (ids != 1).astype(int), "position_ids": jnp.array([[2, 3, 4, 5, 6], [2, 3, 4, 1, 1]])}
    if architecture != "Model":
        inputs |= {"token_type_ids": ids * 0, "head_mask": None}
    ours, theirs = (model.module.apply({"params": model.params}, ids, **inputs)[0] for model in load(architecture))
    np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)  # their LayerNorm has a variance in one pass

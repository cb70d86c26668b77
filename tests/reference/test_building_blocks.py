"""The building blocks and the Linen modules beside those of transformers 4.57.6, with the same weights."""

import inspect
from importlib import import_module

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
if not transformers.__version__.startswith("4."):
    pytest.skip("written for 4.57.6", allow_module_level=True)

from roberta_core import RobertaConfig  # noqa: E402

SIZES = {"vocab_size": 101, "hidden_size": 12, "num_hidden_layers": 2, "num_attention_heads": 3}
SIZES |= {"intermediate_size": 20, "max_position_embeddings": 19, "type_vocab_size": 5, "initializer_range": 0.5}
DECODER = {"is_decoder": True, "add_cross_attention": True}
IDS = np.array([[0, 45, 9, 100, 23, 71, 2], [0, 33, 80, 2, 1, 1, 1]])
DRAW = np.random.default_rng(0).standard_normal
HIDDEN, WIDE, STATES = (DRAW(shape).astype(np.float32) for shape in ((2, 7, 12), (2, 7, 20), (2, 5, 12)))
MASK = np.where(IDS == 1, np.finfo(np.float32).min, 0).astype(np.float32)[:, None, None]
BIAS = DRAW((2, 1, 7, 7)).astype(np.float32)  # any mask is added
SCALES = np.array([[1, 0.5, 0], [0, 1, 2]], np.float32)[:, None, :, None, None]
SOME = {"attention_mask": MASK, "head_mask": SCALES[0], "output_attentions": True}
CROSS = {"encoder_hidden_states": STATES, "encoder_attention_mask": None}
# Class, settings, arguments after the first.
CALLS = {
    "SelfAttention": ({}, SOME),
    "SelfAttention with a bias": ({}, {**SOME, "attention_mask": BIAS}),
    "SelfOutput": ({}, {"input_tensor": HIDDEN * 2}),
    "Attention": ({}, SOME),
    "Intermediate": ({}, {}),
    "Output": ({}, {"input_tensor": HIDDEN}),
    "Layer": ({}, SOME),
    "Layer with cross-attention": (DECODER, {**SOME, **CROSS}),
    "Encoder": ({}, {**SOME, "head_mask": SCALES, "output_hidden_states": True}),
    "Encoder with cross-attention": (DECODER, {**SOME, **CROSS, "head_mask": SCALES, "output_hidden_states": True}),
}
OURS = {"": "roberta_pt", "TF": "roberta_tf", "Flax": "roberta_flax"}
MODULES = ("MaskedLM", "SequenceClassification", "MultipleChoice", "TokenClassification", "QuestionAnswering")


def make(module, name, prefix, settings):
    config = {**SIZES, **settings}
    theirs = transformers.RobertaConfig(**config, attn_implementation="eager")
    kind = f"{prefix}Roberta{name.split()[0]}"
    own = import_module(OURS[prefix])
    return getattr(import_module(module), kind)(theirs), getattr(own, kind)(RobertaConfig(**config))


def flatten(value):
    """Return the arrays of an output in order, without caches and None."""
    if isinstance(value, dict):
        return [array for name, part in value.items() if name != "past_key_values" for array in flatten(part)]
    if isinstance(value, tuple | list):
        return [array for part in value for array in flatten(part)]
    return [] if value is None else [np.asarray(value.detach() if hasattr(value, "detach") else value)]


def compare(got, want):
    got, want = flatten(got), flatten(want)
    assert [array.shape for array in got] == [array.shape for array in want]
    assert max(np.abs(one - other).max() / np.abs(other).max() for one, other in zip(got, want, strict=True)) < 1e-5


def choose_arguments(function, given):
    names = inspect.signature(function).parameters
    return {name: value for name, value in given.items() if name in names}


@pytest.mark.parametrize("name", CALLS)
def test_a_block_of_pytorch_is_the_published_one(name):
    torch = pytest.importorskip("torch")
    settings, arguments = CALLS[name]
    theirs, ours = (block.eval() for block in make("transformers.models.roberta.modeling_roberta", name, "", settings))
    with torch.no_grad():
        for parameter in theirs.parameters():
            parameter.normal_(0, 0.5)
    assert ours.state_dict().keys() == theirs.state_dict().keys()
    ours.load_state_dict(theirs.state_dict())
    names = list(inspect.signature(theirs.forward).parameters)
    # 4.57.6 wraps some of these methods; ours must accept every argument in the same order.
    assert list(inspect.signature(ours.forward).parameters)[: len(names)] == names
    assert list(inspect.signature(type(ours)).parameters) == list(inspect.signature(type(theirs)).parameters)
    first = torch.tensor(WIDE if name == "Output" else HIDDEN)
    given = choose_arguments(theirs.forward, arguments)
    given = {key: torch.tensor(value) if isinstance(value, np.ndarray) else value for key, value in given.items()}
    with torch.no_grad():
        compare(ours(first, **given), theirs(first, **given))
    if "past_key_values" in names:
        with pytest.raises(ValueError, match="use RobertaModel"):
            ours(first, past_key_values=((first, first),))


@pytest.mark.parametrize("name", CALLS)
def test_a_block_of_tensorflow_is_the_published_one(name):
    tf = pytest.importorskip("tensorflow")
    settings, arguments = CALLS[name]
    theirs, ours = make("transformers.models.roberta.modeling_tf_roberta", name, "TF", settings)
    names = inspect.signature(theirs.call).parameters
    assert list(inspect.signature(ours.call).parameters) == list(names)
    defaults = {"use_cache": False, "output_attentions": True, "output_hidden_states": True, "return_dict": True}
    given = {key: arguments.get(key, defaults.get(key)) for key in list(names)[1:] if key != "training"}
    if "Encoder" in name:
        given["head_mask"] = tf.unstack(tf.constant(SCALES))
    first = tf.constant(WIDE if name == "Output" else HIDDEN)
    theirs(first, **given)
    ours(first, **given)
    for number, variable in enumerate(theirs.trainable_variables):
        variable.assign(np.random.default_rng(number).standard_normal(variable.shape) * 0.5)
    values = {variable.name.split("/", 1)[1][:-2]: variable.numpy() for variable in theirs.trainable_variables}
    own = {variable.path.split("/", 1)[1]: variable for variable in ours.trainable_variables}
    assert own.keys() == values.keys()
    for path, variable in own.items():
        variable.assign(values[path])
    got, want = ours(first, **given), theirs(first, **given)
    if settings and "Layer" in name:
        want = want[:-1]  # the cache
    compare(got, want)


@pytest.mark.parametrize("name", MODULES)
def test_a_linen_module_is_the_published_one(name):
    jax = pytest.importorskip("jax")
    module = f"For{name}Module"
    theirs, ours = make("transformers.models.roberta.modeling_flax_roberta", module, "Flax", {"num_labels": 2})
    ids = IDS[None] if name == "MultipleChoice" else IDS
    mask, kinds = (ids != 1).astype(int), ids % 2
    places = np.cumsum(mask, axis=-1) * mask + 1
    params = theirs.init(jax.random.key(0), ids, mask, kinds, places, None)["params"]
    same = jax.tree.map(np.shape, params) == jax.tree.map(np.shape, ours.init(jax.random.key(1), ids)["params"])
    assert same
    options = {"output_attentions": True, "output_hidden_states": True}
    want = theirs.apply({"params": params}, ids, mask, kinds, places, None, **options)
    compare(ours.apply({"params": params}, ids, mask, kinds, places, None, **options), want)
    assert list(inspect.signature(type(ours)).parameters) == list(inspect.signature(type(theirs)).parameters)


def test_blocks_of_tensorflow_start_from_the_published_initialiser():
    pytest.importorskip("tensorflow")
    import roberta_tf

    config = RobertaConfig(**{**SIZES, "hidden_size": 120, "initializer_range": 0.03})
    for kind in ("ClassificationHead", "Pooler", "SelfAttention", "Intermediate"):
        block = getattr(roberta_tf, f"TFRoberta{kind}")(config)
        block(np.zeros((1, 2, 120), np.float32))
        for variable in block.trainable_variables:
            value = variable.numpy()
            if value.ndim == 2 and value.size > 1000:
                assert 0.02 < value.std() < 0.034, variable.path
                assert np.abs(value).max() <= 0.0601, variable.path

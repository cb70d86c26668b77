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
    "Attention of a decoder": (DECODER, SOME),
    "Intermediate": ({}, {}),
    "Output": ({}, {"input_tensor": HIDDEN}),
    "Layer": ({}, SOME),
    "Layer with cross-attention": (DECODER, {**SOME, **CROSS}),
    "Encoder": ({}, {**SOME, "head_mask": SCALES, "output_hidden_states": True}),
    "Encoder with cross-attention": (DECODER, {**SOME, **CROSS, "head_mask": SCALES, "output_hidden_states": True}),
}
CAUSAL = np.where(np.tri(7, dtype=bool), 0, np.finfo(np.float32).min).astype(np.float32)[None, None]
# Class of Linen, settings, arguments after the first. Masks hold 1 and 0.
PADS = (IDS != 1).astype(int)
LINEN = {"attention_mask": PADS, "layer_head_mask": SCALES[0, 0, :, 0, 0], "output_attentions": True}
STATES_GIVEN = {"encoder_hidden_states": STATES, "encoder_attention_mask": np.ones((2, 5), int)}
ALL = {"attention_mask": PADS, "head_mask": SCALES[:, 0, :, 0, 0], "output_attentions": True}
ALL |= {"output_hidden_states": True}
LINEN_CALLS = {
    "Embeddings": ({}, {"token_type_ids": IDS % 2, "position_ids": IDS % 7, "attention_mask": PADS}),
    "SelfAttention": ({}, LINEN),
    "SelfAttention to states": ({}, {**LINEN, "attention_mask": None, "key_value_states": STATES}),
    "SelfOutput": ({}, {"input_tensor": HIDDEN * 2}),
    "Attention": ({}, LINEN),
    "Intermediate": ({}, {}),
    "Output": ({}, {"attention_output": HIDDEN}),
    "Layer": ({}, LINEN),
    "Layer with cross-attention": (DECODER, {**LINEN, **STATES_GIVEN}),
    "LayerCollection": ({}, ALL),
    "Encoder": ({}, ALL),
    "Encoder with cross-attention": (DECODER, {**ALL, **STATES_GIVEN}),
    "Pooler": ({}, {}),
}
OURS = {"": "roberta_pt", "TF": "roberta_tf", "Flax": "roberta_flax"}
HEADS = ("MaskedLM", "CausalLM", "SequenceClassification", "MultipleChoice", "TokenClassification", "QuestionAnswering")
MODELING = "transformers.models.roberta.modeling_roberta"


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
    theirs, ours = (block.eval() for block in make(MODELING, name, "", settings))
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


@pytest.mark.parametrize("cross", [False, True])
def test_a_cache_of_blocks_of_pytorch_is_the_published_one(cross):
    torch = pytest.importorskip("torch")
    import roberta_pt

    settings = DECODER if cross else {"is_decoder": True}
    theirs, ours = (block.eval() for block in make(MODELING, "Encoder", "", settings))
    ours.load_state_dict(theirs.state_dict())
    mask = torch.tensor(CAUSAL)
    parts = [(torch.tensor(HIDDEN[:, :4]), mask[:, :, :4, :4]), (torch.tensor(HIDDEN[:, 4:]), mask[:, :, 4:])]
    options = {"encoder_hidden_states": torch.tensor(STATES)} if cross else {}
    caches = [None, None, transformers.EncoderDecoderCache(transformers.DynamicCache(), transformers.DynamicCache())]
    legacy = None
    with torch.no_grad():
        for hidden, bias in parts:
            given = {**options, "attention_mask": bias, "use_cache": True}
            outputs = [
                block(hidden, past_key_values=cache, **given)
                for block, cache in zip((theirs, ours, ours), caches, strict=True)
            ]
            caches = [output.past_key_values for output in outputs]
            legacy = ours(hidden, past_key_values=legacy, **given).past_key_values.to_legacy_cache()
            wanted = (outputs[0].last_hidden_state, caches[0].to_legacy_cache())
            compare((outputs[1].last_hidden_state, tuple(caches[1])), wanted)
            compare((outputs[2].last_hidden_state, caches[2].to_legacy_cache()), wanted)
            compare(legacy, wanted[1])
        whole = ours(torch.tensor(HIDDEN), attention_mask=mask, **options).last_hidden_state
        compare(outputs[1].last_hidden_state, whole[:, 4:])
        layers = [(theirs.layer[0], transformers.DynamicCache()), (ours.layer[0], roberta_pt.DynamicCache())]
        want, got = (
            [layer(hidden, bias, past_key_values=cache)[0] for hidden, bias in parts] for layer, cache in layers
        )
        compare(got, want)
    assert type(caches[2]) is transformers.EncoderDecoderCache
    assert len(outputs[1].to_tuple()) == 2


def test_pruned_attention_of_pytorch_is_the_published_one():
    torch = pytest.importorskip("torch")
    theirs, ours = (block.eval() for block in make(MODELING, "Attention", "", {}))
    ours.load_state_dict(theirs.state_dict())
    for heads in ([1], [1, 2]):
        for block in (theirs, ours):
            block.prune_heads(heads)
        compare(list(ours.state_dict().values()), list(theirs.state_dict().values()))
        assert ours.pruned_heads == theirs.pruned_heads == {*heads}
        hidden = torch.tensor(HIDDEN)
        compare(ours(hidden, output_attentions=True), theirs(hidden))


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
    compare(ours(first, **given), theirs(first, **given))
    if "Encoder with" in name:
        compare_caches_of_tensorflow(ours, theirs)


def compare_caches_of_tensorflow(ours, theirs):
    """Read a sequence in two calls, the second with the cache of the first, and at once."""
    caches = [None, None]
    options = {"encoder_hidden_states": STATES, "encoder_attention_mask": None, "head_mask": [None, None]}
    options |= {"output_attentions": False, "output_hidden_states": False, "return_dict": True}
    for start, end in ((0, 4), (4, 7)):
        given = {**options, "attention_mask": CAUSAL[:, :, start:end, :end], "use_cache": True}
        got, want = (
            block(HIDDEN[:, start:end], past_key_values=cache, **given)
            for block, cache in zip((ours, theirs), caches, strict=True)
        )
        compare(got.last_hidden_state, want.last_hidden_state)
        compare(got.past_key_values, want.past_key_values)
        caches = [got.past_key_values, want.past_key_values]
    whole = ours(HIDDEN, attention_mask=CAUSAL, past_key_values=None, use_cache=False, **options)
    compare(got.last_hidden_state, whole.last_hidden_state[:, 4:])
    with pytest.raises(NotImplementedError, match="call prune_heads of the model"):
        ours.layer[0].attention.prune_heads([0])


@pytest.mark.parametrize("name", LINEN_CALLS)
def test_a_block_of_flax_is_the_published_one(name):
    jax = pytest.importorskip("jax")
    settings, arguments = LINEN_CALLS[name]
    theirs, ours = make("transformers.models.roberta.modeling_flax_roberta", name, "Flax", settings)
    first = {"Embeddings": IDS, "Output": WIDE}.get(name, HIDDEN)
    params = theirs.init(jax.random.key(0), first, **arguments)
    compare(ours.apply(params, first, **arguments), theirs.apply(params, first, **arguments))
    names = list(inspect.signature(theirs.__call__).parameters)
    assert list(inspect.signature(ours.__call__).parameters) == names
    fields = [one for one in inspect.signature(type(ours)).parameters if one != "heads"]
    assert fields == list(inspect.signature(type(theirs)).parameters)


def test_a_cache_of_linen_modules_is_the_published_one():
    jax = pytest.importorskip("jax")
    theirs, ours = make("transformers.models.roberta.modeling_flax_roberta", "ForCausalLMModule", "Flax", DECODER)
    places = np.cumsum(PADS, axis=-1) * PADS + 1
    ones, room = np.ones((2, 9), int), np.zeros((2, 9), int)
    variables = theirs.init(jax.random.key(0), room, ones, room, init_cache=True, **STATES_GIVEN)
    made = ours.init(jax.random.key(0), room, ones, room, init_cache=True, **STATES_GIVEN)["cache"]
    assert jax.tree.map(np.shape, made) == jax.tree.map(np.shape, variables["cache"])
    mask = np.concatenate([PADS, ones[:, 7:]], axis=1)
    caches = [jax.tree.map(np.zeros_like, variables["cache"])] * 2
    for start, end in ((0, 4), (4, 7)):
        given = {"position_ids": places[:, start:end], **STATES_GIVEN, "mutable": ["cache"]}
        outputs = [
            module.apply({"params": variables["params"], "cache": cache}, IDS[:, start:end], mask, **given)
            for module, cache in zip((ours, theirs), caches, strict=True)
        ]
        caches = [state["cache"] for _, state in outputs]
        compare(outputs[0][0].logits, outputs[1][0].logits)
        compare(jax.tree.leaves(caches[0]), jax.tree.leaves(caches[1]))


@pytest.mark.parametrize("name", HEADS)
def test_a_linen_module_is_the_published_one(name):
    jax = pytest.importorskip("jax")
    module = f"For{name}Module"
    settings = {"num_labels": 2, "is_decoder": name == "CausalLM"}
    theirs, ours = make("transformers.models.roberta.modeling_flax_roberta", module, "Flax", settings)
    ids = IDS[None] if name == "MultipleChoice" else IDS
    mask, kinds = (ids != 1).astype(int), ids % 2
    places = np.cumsum(mask, axis=-1) * mask + 1
    inputs = {"attention_mask": mask, "token_type_ids": kinds, "position_ids": places, "head_mask": None}
    params = theirs.init(jax.random.key(0), ids, **inputs)["params"]
    same = jax.tree.map(np.shape, params) == jax.tree.map(np.shape, ours.init(jax.random.key(1), ids)["params"])
    assert same
    options = {"output_attentions": True, "output_hidden_states": True}
    want = theirs.apply({"params": params}, ids, **inputs, **options)
    compare(ours.apply({"params": params}, ids, **inputs, **options), want)
    names = list(inspect.signature(theirs.__call__).parameters)
    assert list(inspect.signature(ours.__call__).parameters) == names or name == "MultipleChoice"
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

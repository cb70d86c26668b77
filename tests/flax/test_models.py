import copy
import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import roberta_flax
from roberta_core.parameters import ARCHITECTURES

pytestmark = pytest.mark.usefixtures("eager")

CLASSES = {name: getattr(roberta_flax, f"FlaxRoberta{name}") for name in ARCHITECTURES}
CORE = ["input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds"]
CROSS = ["encoder_hidden_states", "encoder_attention_mask"]
WANTED = ["output_attentions", "output_hidden_states", "return_dict"]
PUBLISHED = [*CORE[:5], *CROSS, "params", "dropout_rng", "train", *WANTED, "past_key_values"]
OURS = ["inputs_embeds", "use_cache", "labels", "start_positions", "end_positions", "num_items_in_batch"]
SIGNATURES = {
    "Model": [*CORE, *CROSS, "past_key_values", "use_cache", *WANTED],
    "ForCausalLM": [*CORE, *CROSS, "labels", "past_key_values", "use_cache", *WANTED, "num_items_in_batch"],
    "ForMaskedLM": [*CORE, *CROSS, "labels", *WANTED],
    "ForSequenceClassification": [*CORE, "labels", *WANTED],
    "ForMultipleChoice": [
        "input_ids", "token_type_ids", "attention_mask", "labels", "position_ids", "head_mask", "inputs_embeds",
        *WANTED,
    ],
    "ForTokenClassification": [*CORE, "labels", *WANTED],
    "ForQuestionAnswering": [*CORE, "start_positions", "end_positions", *WANTED],
}  # fmt: skip
LOGITS = {
    "ForCausalLM": (2, 7, 101), "ForMaskedLM": (2, 7, 101), "ForSequenceClassification": (2, 2),
    "ForMultipleChoice": (2, 4), "ForTokenClassification": (2, 7, 2),
}  # fmt: skip


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture
def inputs(architecture, ids):
    if architecture == "ForMultipleChoice":
        return {"input_ids": np.stack([ids, ids[:, ::-1], ids + 1, ids - 1], axis=1).clip(0, 100)}
    return {"input_ids": ids, "attention_mask": (ids != 1).astype(int)}


@pytest.fixture
def labels(architecture, ids):
    return {
        "Model": {},
        "ForCausalLM": {"labels": ids},
        "ForMaskedLM": {"labels": ids},
        "ForSequenceClassification": {"labels": np.array([1, 0])},
        "ForMultipleChoice": {"labels": np.array([3, 0])},
        "ForTokenClassification": {"labels": ids % 2},
        "ForQuestionAnswering": {"start_positions": np.array([1, 2]), "end_positions": np.array([6, 3])},
    }[architecture]


def to_sixteen(value, name):
    """The length that calls round up to: what XLA compiled for them will do here."""
    pads = [(0, 0)] * (value.ndim - 1) + [(0, 9)]
    return np.pad(value, pads, constant_values={"input_ids": 1, "attention_mask": 0, "labels": -100}[name])


def close(got, want, rtol=1e-5, atol=1e-5):
    for one, other in zip(jax.tree.leaves(got), jax.tree.leaves(want), strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=atol)


def test_arguments_have_the_published_order(architecture):
    assert list(inspect.signature(CLASSES[architecture].__call__).parameters)[1:] == [*PUBLISHED, *OURS]
    assert list(inspect.signature(CLASSES[architecture].forward).parameters)[1:] == SIGNATURES[architecture]
    made = list(inspect.signature(CLASSES[architecture].__base__.__init__).parameters)[1:]
    assert made[:6] == ["config", "input_shape", "seed", "dtype", "_do_init", "gradient_checkpointing"]


def test_outputs_have_their_shapes(make, config, architecture, inputs, labels):
    output = make(CLASSES[architecture], config)(**inputs, **labels, output_hidden_states=True, output_attentions=True)
    rows = 8 if architecture == "ForMultipleChoice" else 2
    assert [state.shape for state in output.hidden_states] == [(rows, 7, 12)] * 3
    assert [weights.shape for weights in output.attentions] == [(rows, 3, 7, 7)] * 2
    if labels:
        assert output.loss.shape == ()
    if architecture in LOGITS:
        assert output.logits.shape == LOGITS[architecture]
    elif architecture == "ForQuestionAnswering":
        assert output.start_logits.shape == output.end_logits.shape == (2, 7)
    else:
        assert (output.last_hidden_state.shape, output.pooler_output.shape) == ((2, 7, 12), (2, 12))


def test_the_tuple_is_the_output_without_names(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config)
    close(model(**inputs, **labels, return_dict=False), model(**inputs, **labels).to_tuple())
    model.config.return_dict = False
    assert type(model(**inputs)) is tuple


def test_an_unknown_argument_is_a_type_error(make, config, architecture, inputs):
    with pytest.raises(TypeError, match="attention_maks"):
        make(CLASSES[architecture], config)(**inputs, attention_maks=None)


def test_an_argument_that_a_class_lacks_is_a_type_error(make, config, architecture, inputs, ids):
    arguments = {"past_key_values": ((ids, ids),), "labels": ids, "start_positions": ids[:, 0], "use_cache": True}
    model = make(CLASSES[architecture], config)
    for name in arguments.keys() - set(SIGNATURES[architecture]):
        with pytest.raises(TypeError, match=f"FlaxRoberta{architecture} takes no {name}"):
            model(**inputs, **{name: arguments[name]})
    model(**inputs, use_cache=False, past_key_values=None)


def test_a_call_leaves_the_configuration_as_it_was(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config)
    before = copy.deepcopy(model.config)
    model(**inputs, **labels)
    assert model.config == before


def test_bad_ids_are_refused(make, config, architecture, inputs):
    model = make(CLASSES[architecture], config)
    for ids in (inputs["input_ids"] + 12, jnp.asarray(inputs["input_ids"] + 12)):
        with pytest.raises(ValueError, match="input_ids contains 112, but vocab_size is 101"):
            model(ids)
    with pytest.raises(ValueError, match="input_ids has dtype float32; ids must be integers"):
        model(inputs["input_ids"].astype(np.float32))


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"token_type_ids": np.full((2, 7), 5)}, "token_type_ids contains 5, but type_vocab_size is 5"),
        ({"position_ids": np.full((2, 7), -1)}, "position_ids contains -1"),
        ({"attention_mask": np.ones((2, 8))}, r"attention_mask has shape \[2, 8\]"),
        ({"inputs_embeds": np.zeros((2, 7, 12))}, "exactly one of input_ids and inputs_embeds; got both"),
        ({"input_ids": None}, "exactly one of input_ids and inputs_embeds; got neither"),
        ({"input_ids": np.full((1, 18), 5)}, "a sequence has 18 tokens, but this model accepts at most 17"),
        ({"encoder_hidden_states": np.zeros((2, 5, 12))}, "needs a model with cross attention"),
        ({"labels": np.full((2, 7), 101)}, "labels contains 101; with 101 classes"),
        ({"labels": np.zeros((2, 8), int)}, r"labels has shape \[2, 8\]"),
    ],
)
def test_bad_inputs_are_refused(make, config, ids, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        make(roberta_flax.FlaxRobertaForMaskedLM, config)(**{"input_ids": ids, **wrong})


def test_embeddings_may_come_in_the_place_of_ids(make, config, architecture, inputs):
    model = make(CLASSES[architecture], config)
    ids = inputs["input_ids"].clip(2)  # embeddings hide pads, so there are none
    words = np.asarray(model.get_input_embeddings().embedding)[ids]
    close(model(inputs_embeds=words).to_tuple(), model(ids).to_tuple())


def test_losses_come_one_a_label_on_request(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config, loss_reduction="none")
    shape = {"ForCausalLM": (2, 6), "ForMaskedLM": (2, 7), "ForTokenClassification": (2, 7)}.get(architecture, (2,))
    output = model(**inputs, **labels)
    assert (output.loss.shape == shape) if labels else "loss" not in output


def test_every_parameter_with_an_influence_gets_a_gradient(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config)
    inputs = {name: to_sixteen(value, name) for name, value in inputs.items()}
    labels = {name: to_sixteen(value, name) if value.shape == (2, 7) else value for name, value in labels.items()}

    def loss(params):
        output = model(**inputs, **labels, params=params)
        return output.loss if labels else output.pooler_output.sum() + jnp.square(output.last_hidden_state).sum()

    for path, gradient in jax.tree_util.tree_leaves_with_path(jax.grad(loss)(model.params)):
        name = jax.tree_util.keystr(path, simple=True, separator=".")
        cancelled = name.endswith("key.bias") or (architecture, name) == ("ForMultipleChoice", "classifier.bias")
        assert cancelled or jnp.abs(gradient).max() > 0, name  # a softmax takes away what all its scores share


def test_a_model_without_a_pooler_has_no_pooled_output(make, config, ids):
    bare = roberta_flax.FlaxRobertaModel(config, add_pooling_layer=False)
    assert bare(ids).pooler_output is None
    assert "pooler" not in bare.params
    assert make(roberta_flax.FlaxRobertaModel, config)(ids).pooler_output is not None


def test_only_a_decoder_returns_its_cache(make, config, ids):
    assert make(roberta_flax.FlaxRobertaModel, config)(ids).past_key_values is None
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        make(roberta_flax.FlaxRobertaModel, config)(ids, use_cache=True)
    config.is_decoder = True
    assert len(make(roberta_flax.FlaxRobertaModel, config)(ids).past_key_values) == 2
    assert make(roberta_flax.FlaxRobertaModel, config)(ids, use_cache=False).past_key_values is None


def test_settings_that_do_not_exist_are_refused(config):
    with pytest.raises(ValueError, match="attn_implementation is 'flash'; known are sdpa, eager"):
        roberta_flax.FlaxRobertaModel(config, attn_implementation="flash")
    with pytest.raises(ValueError, match="loss_reduction is 'sum'"):
        roberta_flax.FlaxRobertaForMaskedLM(config, loss_reduction="sum")
    config.num_labels = 3
    with pytest.raises(ValueError, match="num_labels must be 2, got 3"):
        roberta_flax.FlaxRobertaForQuestionAnswering(config)


def test_the_expected_outputs_of_transformers_are_met(shared, architecture):
    from safetensors.numpy import load_file

    folder = shared / "fixtures/hf"
    expected = load_file(folder / f"expected/{architecture}.safetensors")
    model = CLASSES[architecture].from_pretrained(folder / f"checkpoints/{architecture}/pt-safetensors")
    cases = {name.split(".")[0] for name in expected} & {"mask", "nomask", "types", "positions", "embeds", "labels"}
    assert {"mask", "types", "embeds"} <= cases
    for case in cases:
        inputs = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.in.")}
        wanted = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.out.")}
        with jax.disable_jit("start_positions" not in inputs):  # those alone are not rounded
            output = model(**inputs, output_hidden_states=True, output_attentions=True)
        for name, want in wanted.items():
            if name.startswith("past"):
                continue
            got = np.stack(output[name]) if isinstance(output[name], tuple) else np.asarray(output[name])
            assert np.abs(got - want).max() <= 1e-5 * np.abs(want).max(), f"{case} {name}"

import copy

import numpy as np
import pytest

from roberta_core.parameters import ARCHITECTURES

pytestmark = pytest.mark.usefixtures("quick")

LOGITS = {
    "ForCausalLM": (2, 7, 101), "ForMaskedLM": (2, 7, 101), "ForSequenceClassification": (2, 2),
    "ForMultipleChoice": (2, 4), "ForTokenClassification": (2, 7, 2),
}  # fmt: skip


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


@pytest.fixture
def config(framework, config):
    config.num_hidden_layers = framework.MODEL_LAYERS
    return config


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


def assert_near(framework, got, want, tolerance=1e-5):
    (ours, shape), (theirs, wanted) = map(framework.leaves, (got, want))
    assert shape == wanted
    for one, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(one, other, rtol=tolerance, atol=tolerance)


def test_outputs_have_their_shapes(framework, make, config, architecture, inputs, labels):
    model = make(architecture, config)
    output = framework.call(model, **inputs, **labels, output_hidden_states=True, output_attentions=True)
    rows, layers = 8 if architecture == "ForMultipleChoice" else 2, config.num_hidden_layers
    assert [tuple(state.shape) for state in output.hidden_states] == [(rows, 7, 12)] * (layers + 1)
    assert [tuple(weights.shape) for weights in output.attentions] == [(rows, 3, 7, 7)] * layers
    if labels:
        assert output.loss.shape == ()
    if architecture in LOGITS:
        assert tuple(output.logits.shape) == LOGITS[architecture]
    elif architecture == "ForQuestionAnswering":
        assert output.start_logits.shape == output.end_logits.shape == (2, 7)
    else:
        assert (output.last_hidden_state.shape, output.pooler_output.shape) == ((2, 7, 12), (2, 12))


def test_the_tuple_is_the_output_without_names(framework, make, config, architecture, inputs, labels, monkeypatch):
    model = make(architecture, config)
    named = framework.call(model, **inputs, **labels)
    assert_near(framework, framework.call(model, **inputs, **labels, return_dict=False), named.to_tuple())
    monkeypatch.setattr(model.config, "return_dict", False)
    assert type(framework.call(model, **inputs)) is tuple


def test_an_unknown_argument_is_a_type_error(framework, make, config, architecture, inputs):
    with pytest.raises(TypeError, match="attention_maks"):
        framework.call(make(architecture, config), **inputs, attention_maks=None)


def test_a_call_does_not_change_the_configuration(framework, make, config, architecture, inputs, labels):
    model = make(architecture, config)
    before = copy.deepcopy(model.config)
    framework.call(model, **inputs, **labels)
    assert model.config == before


def test_bad_ids_are_refused(framework, make, config, architecture, inputs):
    model, ids = make(architecture, config), inputs["input_ids"]
    for wrong in (ids + 12, framework.backend.tensor(ids + 12)):
        with pytest.raises(ValueError, match="input_ids contains 112, but vocab_size is 101"):
            framework.call(model, wrong)
    with pytest.raises(ValueError, match="input_ids has dtype float32; ids must be integers"):
        framework.call(model, ids.astype(np.float32))


def test_bad_labels_are_refused(framework, make, config, architecture, inputs, labels):
    if "labels" in labels:
        with pytest.raises(ValueError, match=r"labels contains \d+; with \d+ classes"):
            framework.call(make(architecture, config), **inputs, labels=labels["labels"] + 101)


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"token_type_ids": np.full((2, 7), 5)}, "token_type_ids contains 5, but type_vocab_size is 5"),
        ({"position_ids": np.full((2, 7), -1)}, "position_ids contains -1"),
        ({"attention_mask": np.ones((2, 8))}, r"attention_mask has shape \[2, 8\]"),
        ({"inputs_embeds": np.zeros((2, 7, 12), np.float32)}, "exactly one of input_ids and inputs_embeds; got both"),
        ({"input_ids": None}, "exactly one of input_ids and inputs_embeds; got neither"),
        ({"input_ids": np.full((1, 18), 5)}, "a sequence has 18 tokens, but this model accepts at most 17"),
        ({"labels": np.full((2, 7), 101)}, "labels contains 101; with 101 classes"),
        ({"labels": np.zeros((2, 8), int)}, r"labels has shape \[2, 8\]"),
    ],
)
def test_bad_inputs_are_refused(framework, make, config, ids, wrong, sentence):
    with pytest.raises(ValueError, match=sentence):
        framework.call(make("ForMaskedLM", config), **{"input_ids": ids, **wrong})


def test_encoder_states_require_cross_attention(framework, make, config, ids):
    config.is_decoder = True
    with pytest.raises(ValueError, match="encoder_hidden_states requires cross-attention"):
        framework.call(make("ForCausalLM", config), ids, encoder_hidden_states=np.zeros((2, 5, 12), np.float32))


def test_embeddings_can_replace_ids(framework, make, config, architecture, inputs):
    model = make(architecture, config)
    ids = inputs["input_ids"].clip(2)  # pads cannot be seen in embeddings, so there are none
    words = np.asarray(framework.call(model.get_input_embeddings(), framework.backend.tensor(ids)))
    assert_near(framework, framework.call(model, inputs_embeds=words).to_tuple(), framework.call(model, ids).to_tuple())


def test_losses_per_label_are_returned_on_request(framework, fresh, config, architecture, inputs, labels):
    model = fresh(architecture, config, loss_reduction="none")
    shape = {"ForCausalLM": (2, 6), "ForMaskedLM": (2, 7), "ForTokenClassification": (2, 7)}.get(architecture, (2,))
    output = framework.call(model, **inputs, **labels)
    assert (tuple(output.loss.shape) == shape) if labels else "loss" not in output


def test_the_causal_loss_can_be_divided_by_a_given_count(framework, make, config, ids):
    model = make("ForCausalLM", config)
    mean = framework.call(model, ids, labels=ids).loss
    count = framework.call(model, ids, labels=ids, num_items_in_batch=24).loss
    np.testing.assert_allclose(count, mean * 12 / 24, rtol=1e-6)


def pad_to_sixteen(value, name):
    """Pad to the length that calls round up to, so that functions already compiled by XLA are used."""
    if value.shape[-1] != 7:
        return value
    pads = [(0, 0)] * (value.ndim - 1) + [(0, 9)]
    return np.pad(value, pads, constant_values={"input_ids": 1, "attention_mask": 0, "labels": -100}[name])


def test_every_parameter_with_an_effect_has_a_gradient(framework, fresh, config, architecture, inputs, labels):
    def loss(output):
        if labels:
            return output.loss
        return framework.total(output.pooler_output) + framework.total(output.last_hidden_state**2)

    model = fresh(architecture, config)
    given = {name: pad_to_sixteen(value, name) for name, value in (inputs | labels).items()}
    found = framework.gradients(model, loss, **given)
    assert found.keys() == framework.tensors(model).keys()
    for name, value in found.items():
        assert value is not None, name
        cancelled = name.endswith("key.bias") or (architecture, name) == ("ForMultipleChoice", "classifier.bias")
        assert cancelled or abs(value).max() > 0, name  # a softmax is invariant to a constant added to all scores


def test_a_model_without_a_pooler_has_no_pooled_output(framework, make, config, ids):
    bare = framework.kind("Model")(config, add_pooling_layer=False)
    assert framework.call(bare, ids).pooler_output is None
    assert not [name for name in framework.tensors(bare) if "pooler" in name]
    assert framework.call(make("Model", config), ids).pooler_output is not None


def test_only_a_decoder_returns_its_cache(framework, make, config, ids):
    assert framework.call(make("Model", config), ids).past_key_values is None
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        framework.call(make("Model", config), ids, use_cache=True)
    config.is_decoder = True
    assert len(framework.call(make("Model", config), ids).past_key_values) == config.num_hidden_layers
    assert framework.call(make("Model", config), ids, use_cache=False).past_key_values is None


def test_unknown_settings_are_refused(framework, config):
    with pytest.raises(ValueError, match="attn_implementation is 'flash'; expected one of sdpa, eager"):
        framework.kind("Model")(config, attn_implementation="flash")
    with pytest.raises(ValueError, match="loss_reduction is 'sum'"):
        framework.kind("ForMaskedLM")(config, loss_reduction="sum")
    config.num_labels = 3
    with pytest.raises(ValueError, match="num_labels must be 2, got 3"):
        framework.kind("ForQuestionAnswering")(config)


def test_the_outputs_equal_those_of_transformers(framework, shared, architecture):
    from safetensors.numpy import load_file

    folder = shared / "fixtures/hf"
    expected = load_file(folder / f"expected/{architecture}.safetensors")
    model = framework.kind(architecture).from_pretrained(folder / f"checkpoints/{architecture}/pt-safetensors")
    cases = {name.split(".")[0] for name in expected} & framework.EXPECTED_CASES
    assert "mask" in cases
    for case in cases:
        inputs = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.in.")}
        wanted = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.out.")}
        output = framework.call(model, **inputs, output_hidden_states=True, output_attentions=True)
        for name, want in wanted.items():
            if name.startswith("past"):
                continue
            got = np.stack(output[name]) if isinstance(output[name], tuple) else np.asarray(output[name])
            assert abs(got - want).max() <= 1e-5 * abs(want).max(), f"{case} {name}"

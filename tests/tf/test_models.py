import copy
import inspect

import numpy as np
import pytest
import tensorflow as tf

import roberta_tf
from roberta_core.parameters import ARCHITECTURES
from roberta_tf.weights import tensors

CLASSES = {name: getattr(roberta_tf, f"TFRoberta{name}") for name in ARCHITECTURES}
CORE = ["input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds"]
DECODER = ["encoder_hidden_states", "encoder_attention_mask", "past_key_values", "use_cache"]
WANTED = ["output_attentions", "output_hidden_states", "return_dict"]
SIGNATURES = {
    "Model": [*CORE, *DECODER, *WANTED, "training"],
    "ForCausalLM": [*CORE, *DECODER, *WANTED, "labels", "training", "num_items_in_batch"],
    "ForMaskedLM": [*CORE, *WANTED, "labels", "training"],
    "ForSequenceClassification": [*CORE, *WANTED, "labels", "training"],
    "ForMultipleChoice": [*CORE, *WANTED, "labels", "training"],
    "ForTokenClassification": [*CORE, *WANTED, "labels", "training"],
    "ForQuestionAnswering": [*CORE, *WANTED, "start_positions", "end_positions", "training"],
}
LOGITS = {
    "ForCausalLM": (2, 7, 101), "ForMaskedLM": (2, 7, 101), "ForSequenceClassification": (2, 2),
    "ForMultipleChoice": (2, 4), "ForTokenClassification": (2, 7, 2),
}  # fmt: skip


@pytest.fixture
def config(config):
    config.num_hidden_layers = 1  # a graph costs time
    return config


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


def test_arguments_have_the_published_order(architecture):
    assert list(inspect.signature(CLASSES[architecture].call).parameters)[1:] == SIGNATURES[architecture]


def test_outputs_have_their_shapes(make, config, architecture, inputs, labels):
    output = make(CLASSES[architecture], config)(**inputs, **labels, output_hidden_states=True, output_attentions=True)
    rows = 8 if architecture == "ForMultipleChoice" else 2
    assert [tuple(state.shape) for state in output.hidden_states] == [(rows, 7, 12)] * 2
    assert [tuple(weights.shape) for weights in output.attentions] == [(rows, 3, 7, 7)]
    if labels:
        assert output.loss.shape == ()
    if architecture in LOGITS:
        assert tuple(output.logits.shape) == LOGITS[architecture]
    elif architecture == "ForQuestionAnswering":
        assert output.start_logits.shape == output.end_logits.shape == (2, 7)
    else:
        assert (output.last_hidden_state.shape, output.pooler_output.shape) == ((2, 7, 12), (2, 12))


def test_the_tuple_is_the_output_without_names(make, config, architecture, inputs, labels, monkeypatch):
    model = make(CLASSES[architecture], config)
    named = model(**inputs, **labels)
    for got, want in zip(model(**inputs, **labels, return_dict=False), named.to_tuple(), strict=True):
        np.testing.assert_allclose(got, want, rtol=1e-6)
    monkeypatch.setattr(model.config, "return_dict", False)
    assert type(model(**inputs)) is tuple


def test_an_unknown_argument_is_a_type_error(make, config, architecture, inputs):
    with pytest.raises(TypeError, match="attention_maks"):
        make(CLASSES[architecture], config)(**inputs, attention_maks=None)
    with pytest.raises(TypeError, match="attention_maks"):
        make(CLASSES[architecture], config)({**inputs, "attention_maks": None})


def test_a_call_leaves_the_configuration_as_it_was(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config)
    before = copy.deepcopy(model.config)
    model(**inputs, **labels)
    assert model.config == before


def test_bad_ids_are_refused(make, config, architecture, inputs):
    model = make(CLASSES[architecture], config)
    with pytest.raises(ValueError, match="input_ids contains 112, but vocab_size is 101"):
        model(inputs["input_ids"] + 12)


def test_bad_labels_are_refused(make, config, architecture, inputs, labels):
    if "labels" in labels:
        labels["labels"] = labels["labels"] + 101
        with pytest.raises(ValueError, match=r"labels contains \d+; with \d+ classes"):
            make(CLASSES[architecture], config)(**inputs, **labels)


def test_embeddings_may_come_in_the_place_of_ids(make, config, architecture, inputs):
    model = make(CLASSES[architecture], config)
    ids = inputs["input_ids"].clip(2)  # embeddings hide pads, so there are none
    words = model.get_input_embeddings()(ids)
    for got, want in zip(model(inputs_embeds=words).to_tuple(), model(ids).to_tuple(), strict=True):
        if not isinstance(got, tuple):
            np.testing.assert_allclose(got, want, rtol=1e-5, atol=1e-5)


def test_losses_come_one_a_label_on_request(fresh, config, architecture, inputs, labels):
    model = fresh(CLASSES[architecture], config, loss_reduction="none")
    shape = {"ForCausalLM": (2, 6), "ForMaskedLM": (2, 7), "ForTokenClassification": (2, 7)}.get(architecture, (2,))
    output = model(**inputs, **labels)
    assert (tuple(output.loss.shape) == shape) if labels else "loss" not in output


def test_every_parameter_with_an_influence_gets_a_gradient(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config)
    with tf.GradientTape() as tape:
        output = model(**inputs, **labels)
        loss = output.loss if labels else sum(tf.reduce_sum(value**2) for value in output.to_tuple()[:2])
    gradients = tape.gradient(loss, model.trainable_variables)
    assert len(gradients) == len(dict(tensors(model)))
    for variable, gradient in zip(model.trainable_variables, gradients, strict=True):
        assert gradient is not None, variable.path
        cancelled = variable.path.endswith("key/bias")  # a softmax takes away what all its scores share
        cancelled = cancelled or (architecture, variable.path) == ("ForMultipleChoice", "classifier/bias")
        assert cancelled or abs(tf.convert_to_tensor(gradient)).numpy().max() > 0, variable.path


def test_a_model_without_a_pooler_has_no_pooled_output(make, config, ids):
    model = make(roberta_tf.TFRobertaModel, config)
    bare = roberta_tf.TFRobertaModel(config, add_pooling_layer=False)
    assert bare(ids).pooler_output is None
    assert not [name for name, _ in tensors(bare) if "pooler" in name]
    assert model(ids).pooler_output is not None


def test_the_causal_loss_may_be_divided_by_a_given_count(make, config, ids):
    config.is_decoder = True
    model = make(roberta_tf.TFRobertaForCausalLM, config)
    mean = model(ids, labels=ids).loss
    np.testing.assert_allclose(model(ids, labels=ids, num_items_in_batch=24).loss, mean * 12 / 24, rtol=1e-6)


def test_only_a_decoder_returns_its_cache(make, config, ids):
    assert make(roberta_tf.TFRobertaModel, config)(ids).past_key_values is None
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        make(roberta_tf.TFRobertaModel, config)(ids, use_cache=True)
    config.is_decoder = True
    assert len(make(roberta_tf.TFRobertaModel, config)(ids).past_key_values) == 1
    assert make(roberta_tf.TFRobertaModel, config)(ids, use_cache=False).past_key_values is None


def test_settings_that_do_not_exist_are_refused(config):
    with pytest.raises(ValueError, match="attn_implementation is 'flash'; known are sdpa, eager"):
        roberta_tf.TFRobertaModel(config, attn_implementation="flash")
    with pytest.raises(ValueError, match="loss_reduction is 'sum'"):
        roberta_tf.TFRobertaForMaskedLM(config, loss_reduction="sum")
    config.num_labels = 3
    with pytest.raises(ValueError, match="num_labels must be 2, got 3"):
        roberta_tf.TFRobertaForQuestionAnswering(config)


def test_the_expected_outputs_of_transformers_are_met(shared, architecture):
    from safetensors.numpy import load_file

    folder = shared / "fixtures/hf"
    expected = load_file(folder / f"expected/{architecture}.safetensors")
    model = CLASSES[architecture].from_pretrained(folder / f"checkpoints/{architecture}/pt-safetensors")
    cases = {name.split(".")[0] for name in expected} & {"mask", "labels"}  # test_encoder.py has the others
    assert "mask" in cases
    for case in cases:
        inputs = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.in.")}
        wanted = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.out.")}
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
        for name, want in wanted.items():
            if name.startswith("past"):
                continue
            got = np.stack(output[name]) if isinstance(output[name], tuple) else output[name].numpy()
            assert abs(got - want).max() <= 1e-5 * abs(want).max(), f"{case} {name}"

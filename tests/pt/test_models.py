import copy
import inspect

import pytest
import torch

import roberta_pt
from roberta_core.parameters import ARCHITECTURES

CLASSES = {name: getattr(roberta_pt, f"Roberta{name}") for name in ARCHITECTURES}
CORE = ["input_ids", "attention_mask", "token_type_ids", "position_ids", "head_mask", "inputs_embeds"]
CROSS = ["encoder_hidden_states", "encoder_attention_mask"]
WANTED = ["output_attentions", "output_hidden_states", "return_dict"]
SIGNATURES = {
    "Model": [*CORE, *CROSS, "past_key_values", "use_cache", *WANTED, "cache_position"],
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
        return {"input_ids": torch.stack([ids, ids.flip(1), ids + 1, ids - 1], dim=1).clamp(0, 100)}
    return {"input_ids": ids, "attention_mask": (ids != 1).long()}


@pytest.fixture
def labels(architecture, ids):
    return {
        "Model": {},
        "ForCausalLM": {"labels": ids},
        "ForMaskedLM": {"labels": ids},
        "ForSequenceClassification": {"labels": torch.tensor([1, 0])},
        "ForMultipleChoice": {"labels": torch.tensor([3, 0])},
        "ForTokenClassification": {"labels": ids % 2},
        "ForQuestionAnswering": {"start_positions": torch.tensor([1, 2]), "end_positions": torch.tensor([6, 3])},
    }[architecture]


def test_arguments_have_the_published_order(architecture):
    assert list(inspect.signature(CLASSES[architecture].forward).parameters)[1:] == SIGNATURES[architecture]


def test_outputs_have_their_shapes(make, config, architecture, inputs, labels):
    output = make(CLASSES[architecture], config)(**inputs, **labels, output_hidden_states=True, output_attentions=True)
    rows = 8 if architecture == "ForMultipleChoice" else 2
    assert [tuple(state.shape) for state in output.hidden_states] == [(rows, 7, 12)] * 3
    assert [tuple(weights.shape) for weights in output.attentions] == [(rows, 3, 7, 7)] * 2
    if labels:
        assert output.loss.shape == ()
    if architecture in LOGITS:
        assert tuple(output.logits.shape) == LOGITS[architecture]
    elif architecture == "ForQuestionAnswering":
        assert output.start_logits.shape == output.end_logits.shape == (2, 7)
    else:
        assert (output.last_hidden_state.shape, output.pooler_output.shape) == ((2, 7, 12), (2, 12))


def test_the_tuple_is_the_output_without_names(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config)
    named = model(**inputs, **labels)
    for got, want in zip(model(**inputs, **labels, return_dict=False), named.to_tuple(), strict=True):
        torch.testing.assert_close(got, want)
    model.config.return_dict = False
    assert type(model(**inputs)) is tuple


def test_an_unknown_argument_is_a_type_error(make, config, architecture, inputs):
    with pytest.raises(TypeError, match="attention_maks"):
        make(CLASSES[architecture], config)(**inputs, attention_maks=None)


def test_a_call_leaves_the_configuration_as_it_was(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config)
    before = copy.deepcopy(model.config)
    model(**inputs, **labels)
    assert model.config == before


def test_bad_ids_are_refused(make, config, architecture, inputs):
    model = make(CLASSES[architecture], config)
    with pytest.raises(ValueError, match="input_ids contains 112, but vocab_size is 101"):
        model(inputs["input_ids"] + 12)


def test_embeddings_may_come_in_the_place_of_ids(make, config, architecture, inputs):
    model = make(CLASSES[architecture], config)
    ids = inputs["input_ids"].clamp(2)  # embeddings hide pads, so there are none
    words = model.get_input_embeddings()(ids)
    torch.testing.assert_close(model(inputs_embeds=words).to_tuple(), model(ids).to_tuple(), rtol=1e-5, atol=1e-5)


def test_losses_come_one_a_label_on_request(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config, loss_reduction="none")
    shape = {"ForCausalLM": (2, 6), "ForMaskedLM": (2, 7), "ForTokenClassification": (2, 7)}.get(architecture, (2,))
    output = model(**inputs, **labels)
    assert (tuple(output.loss.shape) == shape) if labels else "loss" not in output


def test_every_parameter_with_an_influence_gets_a_gradient(make, config, architecture, inputs, labels):
    model = make(CLASSES[architecture], config)
    output = model(**inputs, **labels)
    (output.loss if labels else output.pooler_output.sum() + output.last_hidden_state.square().sum()).backward()
    for name, value in model.named_parameters():
        assert value.grad is not None, name
        cancelled = name.endswith("key.bias") or (architecture, name) == ("ForMultipleChoice", "classifier.bias")
        assert cancelled or value.grad.abs().max() > 0, name  # a softmax takes away what all its scores share


def test_a_model_without_a_pooler_has_no_pooled_output(make, config, ids):
    model = make(roberta_pt.RobertaModel, config)
    bare = roberta_pt.RobertaModel(config, add_pooling_layer=False)
    assert bare(ids).pooler_output is None
    assert not [name for name in bare.state_dict() if "pooler" in name]
    assert model(ids).pooler_output is not None


def test_only_a_decoder_returns_its_cache(make, config, ids):
    assert make(roberta_pt.RobertaModel, config)(ids).past_key_values is None
    with pytest.raises(ValueError, match="use_cache=True needs a decoder"):
        make(roberta_pt.RobertaModel, config)(ids, use_cache=True)
    config.is_decoder = True
    assert len(make(roberta_pt.RobertaModel, config)(ids).past_key_values) == 2
    assert make(roberta_pt.RobertaModel, config)(ids, use_cache=False).past_key_values is None


def test_cache_position_is_refused(make, config, ids):
    with pytest.raises(ValueError, match="cache_position follows from past_key_values"):
        make(roberta_pt.RobertaModel, config)(ids, cache_position=torch.arange(7))


def test_settings_that_do_not_exist_are_refused(config):
    with pytest.raises(ValueError, match="attn_implementation is 'flash'; known are sdpa, eager"):
        roberta_pt.RobertaModel(config, attn_implementation="flash")
    with pytest.raises(ValueError, match="loss_reduction is 'sum'"):
        roberta_pt.RobertaForMaskedLM(config, loss_reduction="sum")
    config.num_labels = 3
    with pytest.raises(ValueError, match="num_labels must be 2, got 3"):
        roberta_pt.RobertaForQuestionAnswering(config)


def test_the_expected_outputs_of_transformers_are_met(shared, architecture):
    from safetensors.torch import load_file

    folder = shared / "fixtures/hf"
    expected = load_file(folder / f"expected/{architecture}.safetensors")
    model = CLASSES[architecture].from_pretrained(folder / f"checkpoints/{architecture}/pt-safetensors")
    cases = {name.split(".")[0] for name in expected} & {"mask", "nomask", "types", "positions", "embeds", "labels"}
    assert {"mask", "types", "embeds"} <= cases
    for case in cases:
        inputs = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.in.")}
        wanted = {name.split(".")[2]: value for name, value in expected.items() if name.startswith(f"{case}.out.")}
        output = model(**inputs, output_hidden_states=True, output_attentions=True)
        for name, want in wanted.items():
            if name.startswith("past"):
                continue
            got = torch.stack(output[name]) if isinstance(output[name], tuple) else output[name]
            assert (got - want).abs().max() <= 1e-5 * want.abs().max(), f"{case} {name}"

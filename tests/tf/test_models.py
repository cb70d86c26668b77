import inspect

import pytest

import roberta_tf
from roberta_core.parameters import ARCHITECTURES

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


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


def test_arguments_have_the_published_order(architecture):
    assert list(inspect.signature(CLASSES[architecture].call).parameters)[1:] == SIGNATURES[architecture]

import inspect

import pytest

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


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


def test_arguments_have_the_published_order(architecture):
    assert list(inspect.signature(CLASSES[architecture].forward).parameters)[1:] == SIGNATURES[architecture]

import inspect

import numpy as np
import pytest

import roberta_flax
from roberta_core.parameters import ARCHITECTURES
from roberta_flax import FlaxRobertaPreTrainedModel

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


@pytest.fixture(params=ARCHITECTURES)
def architecture(request):
    return request.param


def test_arguments_have_the_published_order(architecture):
    assert list(inspect.signature(CLASSES[architecture].__call__).parameters)[1:] == [*PUBLISHED, *OURS]
    assert list(inspect.signature(CLASSES[architecture]._forward).parameters)[1:] == SIGNATURES[architecture]
    assert issubclass(CLASSES[architecture], FlaxRobertaPreTrainedModel)
    made = list(inspect.signature(FlaxRobertaPreTrainedModel.__init__).parameters)[1:]
    assert made[:6] == ["config", "input_shape", "seed", "dtype", "_do_init", "gradient_checkpointing"]


def test_what_a_class_lacks_may_be_given_as_nothing(make, config, architecture, ids):
    ids = np.stack([ids] * 2, axis=1) if architecture == "ForMultipleChoice" else ids
    make(CLASSES[architecture], config)(ids, use_cache=False, past_key_values=None)

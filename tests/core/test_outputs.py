import copy
import pickle

import pytest

from roberta_core.outputs import OUTPUTS, MaskedLMOutput


def test_fields_keep_their_declared_order_and_none_is_absent():
    output = MaskedLMOutput(attentions="a", loss=None, logits="l")
    assert list(output) == ["logits", "attentions"]
    assert output.to_tuple() == ("l", "a")


def test_a_field_is_read_by_name_attribute_index_and_slice():
    output = MaskedLMOutput(loss=1.5, logits="l", attentions="a")
    assert output["logits"] == output.logits == output[1] == "l"
    assert output[:2] == (1.5, "l")
    assert output[-1] == "a"
    assert output.hidden_states is None


def test_access_to_an_absent_or_unknown_field_is_an_error():
    output = MaskedLMOutput(logits="l")
    with pytest.raises(KeyError):
        output["loss"]
    with pytest.raises(AttributeError, match="no field logit"):
        output.logit  # noqa: B018
    with pytest.raises(TypeError, match="no field pooler_output"):
        MaskedLMOutput(pooler_output=1)


def test_a_field_set_later_keeps_the_declared_order():
    output = MaskedLMOutput(logits="l")
    output.loss = 2
    output["hidden_states"] = "h"
    assert output.to_tuple() == (2, "l", "h")


@pytest.mark.parametrize("kind", OUTPUTS)
def test_copies_keep_the_type(kind):
    output = kind({kind.fields[1]: 1, kind.fields[0]: 2})
    for again in (copy.copy(output), copy.deepcopy(output), pickle.loads(pickle.dumps(output))):
        assert type(again) is kind
        assert again == output

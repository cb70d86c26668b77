"""The tokenizers give JAX's tensors."""

import jax
import numpy as np
import pytest

from roberta_core import RobertaTokenizer, RobertaTokenizerFast
from roberta_flax import FlaxRobertaForMaskedLM

TEXTS = ["She opened the<mask> and went in.", "No"]


@pytest.fixture(params=[RobertaTokenizerFast, RobertaTokenizer], ids=["fast", "readable"])
def tokenizer(request):
    return request.param.from_pretrained("roberta-tiny")


def test_columns_are_the_framework_s_tensors(tokenizer):
    wanted = {"padding": True, "return_offsets_mapping": True, "return_length": True}
    lists = tokenizer(TEXTS, **wanted)
    tensors = tokenizer(TEXTS, **wanted, return_tensors="jax")
    assert list(tensors) == list(lists)
    for name, value in tensors.items():
        assert isinstance(value, jax.Array)
        assert value.dtype == np.int32
        assert np.array_equal(np.asarray(value), np.array(lists[name]))


def test_what_was_padded_or_encoded_before_becomes_tensors(tokenizer):
    rows = [tokenizer(text) for text in TEXTS]
    padded = tokenizer.pad(rows, return_tensors="jax")
    whole = tokenizer(TEXTS, padding=True).convert_to_tensors("jax")
    for name, value in padded.items():
        assert isinstance(value, jax.Array)
        assert np.array_equal(np.asarray(value), np.asarray(whole[name]))
    windows = tokenizer(
        TEXTS[0], truncation=True, max_length=6, padding=True, return_overflowing_tokens=True, return_tensors="jax"
    )
    assert len(windows["overflow_to_sample_mapping"]) == len(windows["input_ids"]) > 1
    assert tokenizer.encode("a", return_tensors="jax").shape == (1, 3)


def test_an_encoding_moves_to_a_device(tokenizer):
    encoding = tokenizer("a b", return_tensors="jax")
    before = dict(encoding)
    assert encoding.to("cpu") is encoding  # a tensor that does not move by itself stays where it is
    assert all(value is before[name] for name, value in encoding.items())


def test_a_model_takes_the_encoding_as_it_is(tokenizer):
    model = FlaxRobertaForMaskedLM.from_pretrained("roberta-tiny")
    inputs = tokenizer(TEXTS, padding=True, return_tensors="jax")
    assert tuple(model(**inputs).logits.shape) == (*inputs["input_ids"].shape, len(tokenizer))
    assert tuple(model(**inputs).logits.shape) == (*inputs["input_ids"].shape, len(tokenizer))


def test_a_text_that_is_too_long_is_cut_or_refused_with_the_limit(tokenizer):
    model = FlaxRobertaForMaskedLM.from_pretrained("roberta-tiny")
    limit = model.config.max_sequence_length
    assert tokenizer.model_max_length == limit
    text = "word " * (2 * limit)
    cut = tokenizer(text, truncation=True, return_tensors="jax")
    assert model(**cut).logits.shape[1] == limit
    with pytest.raises(ValueError, match=str(limit)):
        model(**tokenizer(text, return_tensors="jax"))

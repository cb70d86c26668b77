"""The tokenizers return tensors of each framework."""

import numpy as np
import pytest

from roberta_core import RobertaTokenizer, RobertaTokenizerFast

TEXTS = ["She opened the<mask> and went in.", "No"]


@pytest.fixture(params=[RobertaTokenizerFast, RobertaTokenizer], ids=["fast", "readable"])
def tokenizer(request):
    return request.param.from_pretrained("roberta-tiny")


@pytest.fixture
def as_tensors(framework):
    return {"return_tensors": framework.RETURN_TENSORS}


@pytest.fixture
def model(framework):
    return framework.kind("ForMaskedLM").from_pretrained("roberta-tiny")


def test_columns_are_tensors_of_the_framework(framework, tokenizer, as_tensors):
    settings = {"padding": True, "return_offsets_mapping": True, "return_length": True}
    lists = tokenizer(TEXTS, **settings)
    tensors = tokenizer(TEXTS, **settings, **as_tensors)
    assert list(tensors) == list(lists)
    for name, value in tensors.items():
        assert isinstance(value, framework.TENSOR)
        assert framework.dtype(value) == framework.INTEGERS
        assert np.array_equal(np.asarray(value), np.array(lists[name]))


def test_encodings_are_converted_to_tensors_after_padding(framework, tokenizer, as_tensors):
    padded = tokenizer.pad([tokenizer(text) for text in TEXTS], **as_tensors)
    whole = tokenizer(TEXTS, padding=True).convert_to_tensors(framework.RETURN_TENSORS)
    for name, value in padded.items():
        assert isinstance(value, framework.TENSOR)
        assert np.array_equal(np.asarray(value), np.asarray(whole[name]))
    settings = {"truncation": True, "max_length": 6, "padding": True, "return_overflowing_tokens": True}
    windows = tokenizer(TEXTS[0], **settings, **as_tensors)
    assert len(windows["overflow_to_sample_mapping"]) == len(windows["input_ids"]) > 1
    assert tokenizer.encode("a", **as_tensors).shape == (1, 3)


def test_an_encoding_moves_to_a_device(framework, tokenizer, as_tensors):
    encoding = tokenizer("a b", **as_tensors)
    before = dict(encoding)
    assert encoding.to(framework.DEVICE) is encoding
    assert all(framework.has_moved(value, before[name]) for name, value in encoding.items())


def test_a_model_accepts_the_encoding_directly(framework, tokenizer, as_tensors, model):
    inputs = tokenizer(TEXTS, padding=True, **as_tensors)
    shape = (*inputs["input_ids"].shape, len(tokenizer))
    assert tuple(model(**inputs).logits.shape) == shape
    for given in framework.whole(inputs):
        assert tuple(model(given).logits.shape) == shape


def test_a_text_that_is_too_long_is_truncated_or_refused_with_the_limit(tokenizer, as_tensors, model):
    limit = model.config.max_sequence_length
    assert tokenizer.model_max_length == limit
    text = "word " * (2 * limit)
    cut = tokenizer(text, truncation=True, **as_tensors)
    assert model(**cut).logits.shape[1] == limit
    with pytest.raises(ValueError, match=str(limit)):
        model(**tokenizer(text, **as_tensors))

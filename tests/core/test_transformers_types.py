"""Tokenizers pass the `isinstance` tests of transformers once it is loaded, and are copied and pickled all the same."""

import copy
import pickle
import sys
import types

import pytest

from roberta_core import RobertaTokenizer, RobertaTokenizerFast


@pytest.fixture
def base(monkeypatch):
    """Return the base class of tokenizers in a stand-in for transformers."""
    module = types.ModuleType("transformers.tokenization_utils_base")
    module.PreTrainedTokenizerBase = type("PreTrainedTokenizerBase", (), {"__slots__": ()})  # pyright: ignore
    monkeypatch.setitem(sys.modules, module.__name__, module)
    return module.PreTrainedTokenizerBase  # pyright: ignore


@pytest.mark.parametrize("kind", [RobertaTokenizer, RobertaTokenizerFast])
def test_a_tokenizer_is_one_of_transformers_once_that_is_loaded(base, kind):
    tokenizer = kind.from_pretrained("roberta-tiny")
    assert isinstance(tokenizer, base)
    assert isinstance(tokenizer, kind)
    assert type(tokenizer) is kind
    for copied in (copy.deepcopy(tokenizer), pickle.loads(pickle.dumps(tokenizer))):
        assert type(copied) is kind
        assert copied("A door.") == tokenizer("A door.")


def test_a_tokenizer_is_none_of_transformers_before():
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
    assert tokenizer.__class__ is RobertaTokenizerFast

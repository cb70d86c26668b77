"""Collators give what those of transformers give, bit by bit, for the same seed where they draw.

Run by the tox environments `reference` and `peers`.
"""

import numpy as np
import pytest

import roberta_core
from roberta_core import backend

transformers = pytest.importorskip("transformers", reason="compares with transformers itself")

TEXTS = ["She opened the door.", "A window", "The unbelievable garden was slowly closing", "\u6771\u4eac, London"]
KINDS = [("np", ""), ("pt", "pt"), ("tf", "tf"), ("jax", "flax")]  # of tensors, and what makes them


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokenizer")
    roberta_core.RobertaTokenizerFast.from_pretrained("roberta-tiny").save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def tokenizers(folder):
    return roberta_core.load_tokenizer(folder), transformers.RobertaTokenizerFast.from_pretrained(folder)


@pytest.fixture(params=KINDS, ids=lambda kind: kind[0])
def kind(request):
    if request.param[1] and request.param[1] not in backend.available():
        pytest.skip(f"{request.param[1]} is not installed")
    return request.param[0]


def build_features(tokenizer, name):
    if name == "DataCollatorForMultipleChoice":
        return [{**tokenizer([one] * 3, TEXTS[:3]), "label": number % 3} for number, one in enumerate(TEXTS)]
    rows = [dict(tokenizer(text)) for text in TEXTS]
    if name == "DataCollatorForTokenClassification":
        return [{**row, "labels": [token % 7 for token in row["input_ids"]]} for row in rows]
    return [{**row, "label": number / 4} for number, row in enumerate(rows)]


def compare(found, expected):
    """Compare batches; theirs may be of another framework."""
    assert set(found) == set(expected)
    for name in expected:
        mine, other = np.asarray(found[name]), np.asarray(expected[name])
        assert mine.dtype.kind == other.dtype.kind
        np.testing.assert_array_equal(mine, other)


@pytest.mark.parametrize("options", [{}, {"pad_to_multiple_of": 8}, {"padding": "max_length", "max_length": 40}])
@pytest.mark.parametrize(
    "name", ["DataCollatorWithPadding", "DataCollatorForTokenClassification", "DataCollatorForMultipleChoice"]
)
def test_padded_batches_are_equal(tokenizers, kind, name, options):
    ours, theirs = tokenizers
    features = build_features(theirs, name)
    found = getattr(roberta_core, name)(ours, return_tensors=kind, **options)(features)
    expected = getattr(transformers, name)(theirs, return_tensors="pt", **options)(build_features(theirs, name))
    compare(found, expected)
    if kind == "pt":
        assert {key: value.dtype for key, value in found.items()} == {key: expected[key].dtype for key in found}


@pytest.mark.parametrize("mlm", [True, False])
def test_masks_of_a_seed_are_equal(tokenizers, kind, mlm):
    ours, theirs = tokenizers
    options = {"mlm": mlm, "seed": 7, "mlm_probability": 0.4, "pad_to_multiple_of": 16}
    collate = roberta_core.DataCollatorForLanguageModeling(ours, return_tensors=kind, **options)
    reference = transformers.DataCollatorForLanguageModeling(theirs, return_tensors="np", **options)
    for _ in range(3):
        rows = [dict(theirs(text, return_special_tokens_mask=True)) for text in TEXTS]
        compare(collate(rows), reference(rows))


def test_whole_words_of_a_seed_are_equal(tokenizers, kind):
    ours, theirs = tokenizers
    options = {"seed": 7, "mlm_probability": 0.4, "mask_replace_prob": 1.0, "random_replace_prob": 0.0}
    collate = roberta_core.DataCollatorForLanguageModeling(ours, whole_word_mask=True, return_tensors=kind, **options)
    reference = transformers.DataCollatorForLanguageModeling(
        theirs, whole_word_mask=True, return_tensors="np", **options
    )
    for text in TEXTS:  # theirs cannot pad offsets
        row = dict(theirs(text, return_special_tokens_mask=True, return_offsets_mapping=True))
        compare(collate([row]), reference([row]))

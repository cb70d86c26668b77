"""Collators: padded columns, labels, choices and masks, in NumPy."""

import multiprocessing
import subprocess
import sys

import numpy as np
import pytest

from roberta_core import (
    DataCollatorForLanguageModeling,
    DataCollatorForMultipleChoice,
    DataCollatorForTokenClassification,
    DataCollatorWithPadding,
    RobertaTokenizerFast,
)

TEXTS = ["She opened the door.", "A window", "The garden was slowly closing behind them"]


@pytest.fixture(scope="module")
def tokenizer():
    return RobertaTokenizerFast.from_pretrained("roberta-tiny")


@pytest.fixture(scope="module")
def rows(tokenizer):
    return [dict(tokenizer(text)) for text in TEXTS]


@pytest.mark.parametrize("name", ["label", "label_ids", "labels"])
def test_padding_renames_labels_and_leaves_examples_unchanged(tokenizer, rows, name):
    features = [{**row, name: value} for value, row in enumerate(rows)]
    batch = DataCollatorWithPadding(tokenizer, pad_to_multiple_of=8, return_tensors="np")(features)
    assert batch["labels"].tolist() == [0, 1, 2]
    assert batch["input_ids"].shape == (3, 16)
    assert (batch["attention_mask"].sum(axis=1) == [len(row["input_ids"]) for row in rows]).all()
    assert [set(feature) for feature in features] == [{"input_ids", "attention_mask", name}] * 3


@pytest.mark.parametrize("side", ["right", "left"])
def test_labels_of_tokens_are_padded_on_the_side_of_the_ids(rows, side):
    tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny", padding_side=side)
    features = [{**row, "labels": np.array(row["input_ids"]) % 5} for row in rows]
    batch = DataCollatorForTokenClassification(tokenizer, return_tensors="np")(features)
    expected = np.where(batch["attention_mask"] == 1, batch["input_ids"] % 5, -100)
    np.testing.assert_array_equal(batch["labels"], expected)
    assert "labels" not in DataCollatorForTokenClassification(tokenizer)(rows, return_tensors="np")


def test_choices_are_padded_together(tokenizer):
    features = [
        {**tokenizer([TEXTS[0]] * 2, TEXTS[1:]), "label": 1},
        {**tokenizer([TEXTS[1]] * 2, TEXTS[:2]), "label": 0},
    ]
    batch = DataCollatorForMultipleChoice(tokenizer, return_tensors="np")(features)
    longest = max(len(ids) for feature in features for ids in feature["input_ids"])
    assert batch["input_ids"].shape == batch["attention_mask"].shape == (2, 2, longest)
    assert batch["labels"].tolist() == [1, 0]
    for feature, row in zip(features, batch["input_ids"], strict=True):
        for ids, padded in zip(feature["input_ids"], row, strict=True):
            assert padded.tolist() == ids + [tokenizer.pad_token_id] * (longest - len(ids))


def test_what_does_not_fit_together_is_refused(tokenizer, rows):
    with pytest.raises(ValueError, match="example 1 has 3 labels, but"):
        DataCollatorForTokenClassification(tokenizer)(
            [{**rows[0], "labels": [0] * len(rows[0]["input_ids"])}, {**rows[1], "labels": [0, 0, 0]}], "np"
        )
    with pytest.raises(ValueError, match="have 1 to 2 choices"):
        DataCollatorForMultipleChoice(tokenizer)([tokenizer(TEXTS[:1]), tokenizer(TEXTS[:2])], "np")
    with pytest.raises(ValueError, match="example 1 has the columns input_ids"):
        DataCollatorWithPadding(tokenizer)([{**rows[0], "label": 1}, rows[1]], "np")
    with pytest.raises(ValueError, match="not numbers: remove the column"):
        DataCollatorWithPadding(tokenizer)([{**rows[0], "text": "x"}], "np")
    with pytest.raises(ValueError, match="no examples"):
        DataCollatorWithPadding(tokenizer)([], "np")
    with pytest.raises(ValueError, match="return_tensors"):
        DataCollatorWithPadding(tokenizer)(rows, "xx")


def test_a_causal_model_predicts_every_token_but_padding(tokenizer, rows):
    batch = DataCollatorForLanguageModeling(tokenizer, mlm=False, return_tensors="np")(rows)
    np.testing.assert_array_equal(batch["labels"], np.where(batch["attention_mask"], batch["input_ids"], -100))


def test_shares_of_masked_tokens_are_those_asked_for(tokenizer):
    ids = np.tile(np.arange(10, 510), (40, 1))
    collate = DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=0.3, mask_replace_prob=0.6, random_replace_prob=0.3, return_tensors="np", seed=0
    )
    batch = collate(list(ids))
    chosen = batch["labels"] != -100
    masked, kept = batch["input_ids"] == tokenizer.mask_token_id, batch["input_ids"] == ids
    np.testing.assert_array_equal(batch["labels"][chosen], ids[chosen])
    assert kept[~chosen].all()
    assert abs(chosen.mean() - 0.3) < 0.01
    assert abs(masked[chosen].mean() - 0.6) < 0.02
    assert abs(kept[chosen].mean() - 0.1) < 0.02
    again = collate(list(ids))
    assert (again["input_ids"] != batch["input_ids"]).any()
    other = DataCollatorForLanguageModeling(
        tokenizer, mlm_probability=0.3, mask_replace_prob=0.6, random_replace_prob=0.3, return_tensors="np", seed=0
    )(list(ids))
    np.testing.assert_array_equal(other["input_ids"], batch["input_ids"])


def test_special_tokens_are_never_chosen(tokenizer, rows):
    batch = DataCollatorForLanguageModeling(tokenizer, mlm_probability=1, mask_replace_prob=1, random_replace_prob=0)(
        rows, "np"
    )
    special = np.isin(tokenizer.pad(rows, return_tensors="np")["input_ids"], tokenizer.all_special_ids)
    np.testing.assert_array_equal(batch["labels"] == -100, special)


def test_whole_words_are_chosen_together(tokenizer):
    texts = ["unbelievable gardening", "the uncharacteristically slow door"]
    encoded = tokenizer(texts, return_offsets_mapping=True)
    features = [{name: encoded[name][row] for name in encoded} for row in range(2)]
    collate = DataCollatorForLanguageModeling(
        tokenizer, whole_word_mask=True, mlm_probability=0.5, return_tensors="np", seed=0
    )
    seen = set()
    for _ in range(40):
        labels = collate(features)["labels"]
        for row in range(2):
            words = np.array([-1 if word is None else word for word in encoded.word_ids(row)])
            chosen = labels[row, : len(words)] != -100
            whole = {word for word in words if word >= 0 and chosen[words == word].all()}
            assert {word for word in words if word >= 0 and chosen[words == word].any()} == whole
            assert not chosen[words == -1].any()
            seen.add((row, frozenset(whole)))
    assert len(seen) > 8
    with pytest.raises(ValueError, match="needs the column offset_mapping"):
        collate([{"input_ids": encoded["input_ids"][0]}])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"mlm_probability": 1.5}, "mlm_probability is 1.5; it must be between 0 and 1"),
        ({"random_replace_prob": 0.3}, "add up to 1.1"),
        ({"mlm": False, "whole_word_mask": True}, "whole_word_mask needs mlm=True"),
    ],
)
def test_wrong_options_of_masking_are_refused(tokenizer, options, message):
    with pytest.raises(ValueError, match=message):
        DataCollatorForLanguageModeling(tokenizer, **options)


def _mask_in_a_worker(collate):
    return collate([np.arange(10, 60)])["labels"].tolist()


def test_workers_draw_different_masks(tokenizer):
    collate = DataCollatorForLanguageModeling(tokenizer, return_tensors="np", seed=0)
    first = collate([np.arange(10, 60)])["labels"].tolist()  # the generator exists before the workers are forked
    context = multiprocessing.get_context("fork" if "fork" in multiprocessing.get_all_start_methods() else "spawn")
    found = [first]
    for _ in range(2):
        with context.Pool(1) as pool:
            found.append(pool.apply(_mask_in_a_worker, (collate,)))
    assert found[0] != found[1] != found[2] != found[0]


def test_collators_import_no_framework():
    code = (
        "import sys, roberta_core; c = roberta_core.DataCollatorWithPadding("
        "roberta_core.load_tokenizer('roberta-tiny'), return_tensors='np'); c([{'input_ids': [1]}]); "
        "print([m for m in ('torch', 'tensorflow', 'jax') if m in sys.modules])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"

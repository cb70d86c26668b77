"""Tokenizers, encodings, configurations and outputs beside those of transformers 4.57.6: same calls, same results."""

import inspect

import numpy as np
import pytest

transformers = pytest.importorskip("transformers", reason="runs transformers itself")
if not transformers.__version__.startswith("4."):
    pytest.skip("written for 4.57.6", allow_module_level=True)

import roberta_core  # noqa: E402
from roberta_core import outputs  # noqa: E402

TEXT, PAIR = "She opened the<mask> and went in.", "It rained."
KINDS = ("RobertaTokenizer", "RobertaTokenizerFast")
LONG = {"text": TEXT, "text_pair": PAIR, "padding": "max_length", "truncation": "only_first", "max_length": 14}
FLAGS = {
    "add_special_tokens": True, "return_token_type_ids": True, "return_attention_mask": True,
    "return_special_tokens_mask": True, "verbose": False,
}  # fmt: skip
# Calls of a tokenizer. Each names its arguments.
CALLS = {
    "call": lambda t: t(text=TEXT, text_pair=PAIR, verbose=False),
    "call, target": lambda t: t(text=TEXT, text_target=TEXT, text_pair_target=PAIR),
    "encode": lambda t: t.encode(
        text=TEXT, text_pair=PAIR, truncation=True, max_length=12, stride=0, padding="max_length", padding_side="left"
    ),
    "encode_plus": lambda t: t.encode_plus(
        **LONG, **FLAGS, stride=0, is_split_into_words=False, pad_to_multiple_of=None, padding_side="left"
    ),
    "encode_plus of words": lambda t: t.encode_plus(
        text=["She", "opened"], is_split_into_words=True, pad_to_multiple_of=8, padding=True, return_tensors="np"
    ),
    "batch_encode_plus": lambda t: t.batch_encode_plus(
        batch_text_or_text_pairs=[(TEXT, PAIR), (PAIR, PAIR)],
        padding="max_length",
        truncation="longest_first",
        max_length=16,
        pad_to_multiple_of=8,
        padding_side="left",
        split_special_tokens=False,
        **FLAGS,
    ),
    "batch_encode_plus of words": lambda t: t.batch_encode_plus(
        batch_text_or_text_pairs=[["She", "opened"], ["It"]], is_split_into_words=True, padding=True
    ),
    "split_special_tokens": lambda t: t.encode_plus(text=TEXT, split_special_tokens=True),
    "tokenize": lambda t: t.tokenize(text="It rained."),
    "decode": lambda t: t.decode(
        token_ids=t(TEXT).input_ids, skip_special_tokens=True, clean_up_tokenization_spaces=True
    ),
    "batch_decode": lambda t: t.batch_decode(
        sequences=t([TEXT, PAIR]).input_ids, skip_special_tokens=True, clean_up_tokenization_spaces=False
    ),
    "convert_ids_to_tokens": lambda t: t.convert_ids_to_tokens(ids=t(PAIR).input_ids, skip_special_tokens=True),
    "convert_ids_to_tokens of one": lambda t: t.convert_ids_to_tokens(ids=5),
    "convert_tokens_to_ids": lambda t: [t.convert_tokens_to_ids(tokens=one) for one in ("It", ["It", "<mask>", "?!?"])],
    "convert_tokens_to_string": lambda t: t.convert_tokens_to_string(tokens=["It", "Ġrained", "."]),
    "build_inputs": lambda t: t.build_inputs_with_special_tokens(token_ids_0=[5, 6], token_ids_1=[7]),
    "token types": lambda t: t.create_token_type_ids_from_sequences(token_ids_0=[5, 6], token_ids_1=[7]),
    "special_tokens_mask": lambda t: t.get_special_tokens_mask(
        token_ids_0=[0, 5, 2], token_ids_1=None, already_has_special_tokens=True
    ),
    "num_special_tokens_to_add": lambda t: [t.num_special_tokens_to_add(pair=one) for one in (False, True)],
    "prepare_for_model": lambda t: t.prepare_for_model(
        ids=[5, 6, 7],
        pair_ids=[8],
        padding="max_length",
        truncation=True,
        max_length=9,
        stride=0,
        pad_to_multiple_of=None,
        padding_side="left",
        prepend_batch_axis=False,
        add_special_tokens=True,
        return_token_type_ids=True,
        return_attention_mask=True,
        return_special_tokens_mask=not t.is_fast,  # an error there
        return_overflowing_tokens=False,
        return_length=False,
        verbose=False,
    ),
    "pad": lambda t: t.pad(
        encoded_inputs=[{"input_ids": [5, 6]}, {"input_ids": [7]}],
        padding=True,
        max_length=None,
        pad_to_multiple_of=4,
        padding_side="left",
        return_attention_mask=True,
        verbose=False,
    ),
    "clean_up_tokenization": lambda t: t.clean_up_tokenization("It rained . Is n't it ?"),
    "attributes": lambda t: (
        t.is_fast,
        list(t.model_input_names),
        t.pad_token_type_id,
        t.padding_side,
        t.truncation_side,
        t.vocab_size,
        t.max_len_single_sentence,
        t.max_len_sentences_pair,
        list(t.SPECIAL_TOKENS_ATTRIBUTES),
        t.all_special_tokens,
        t.all_special_ids,
        t.special_tokens_map,
        t.get_added_vocab(),
    ),
    "added tokens": lambda t: (
        t.added_tokens_encoder,
        {key: str(value) for key, value in t.added_tokens_decoder.items()},
    ),
    "special_tokens_map_extended": lambda t: {key: str(value) for key, value in t.special_tokens_map_extended.items()},
    "add_tokens": lambda t: (t.add_tokens(new_tokens=["<x>"], special_tokens=False), t.tokenize("a<x>b")),
    "add_special_tokens": lambda t: (
        t.add_special_tokens(
            special_tokens_dict={"additional_special_tokens": ["<y>"]}, replace_additional_special_tokens=True
        ),
        t.all_special_tokens,
    ),
}
FAST = {
    "offsets": lambda t: t.encode_plus(text=TEXT, text_pair=PAIR, return_offsets_mapping=True, return_length=True),
    "overflow": lambda t: t.batch_encode_plus(
        batch_text_or_text_pairs=[TEXT], truncation=True, max_length=6, stride=2, return_overflowing_tokens=True,
        return_offsets_mapping=True, return_length=True,
    ),
    "tokenize a pair": lambda t: t.tokenize(text=PAIR, pair=PAIR, add_special_tokens=True),
    "train_new_from_iterator": lambda t: len(
        t.train_new_from_iterator(text_iterator=[[TEXT, PAIR]], vocab_size=270, length=1)
    ),
    "tokens": lambda t: [
        t(text=TEXT, text_pair=PAIR).tokens(batch_index=0),
        t(text=TEXT, text_pair=PAIR).word_ids(batch_index=0),
        t(text=TEXT, text_pair=PAIR).sequence_ids(batch_index=0),
        t(text=TEXT).words(batch_index=0), t(TEXT).is_fast, t(TEXT).n_sequences,
    ],
    "places": lambda t: [
        t([TEXT, PAIR]).char_to_token(batch_or_char_index=0, char_index=5, sequence_index=0),
        t([TEXT, PAIR]).char_to_word(batch_or_char_index=0, char_index=5, sequence_index=0),
        t([TEXT, PAIR]).token_to_sequence(batch_or_token_index=0, token_index=2),
        t([TEXT, PAIR]).token_to_word(batch_or_token_index=0, token_index=2),
        tuple(t([TEXT, PAIR]).token_to_chars(batch_or_token_index=0, token_index=2)),
        tuple(t([TEXT, PAIR]).word_to_chars(batch_or_word_index=0, word_index=1, sequence_index=0)),
        tuple(t([TEXT, PAIR]).word_to_tokens(batch_or_word_index=0, word_index=1, sequence_index=0)),
    ],
}  # fmt: skip


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The tokenizer of roberta-tiny, as files that transformers reads."""
    path = tmp_path_factory.mktemp("tokenizer")
    roberta_core.RobertaTokenizerFast.from_pretrained("roberta-tiny").save_pretrained(path)
    return path


def simplify(value):
    """Return encodings as dicts and arrays as lists."""
    if hasattr(value, "data") and hasattr(value, "keys"):
        return {key: simplify(one) for key, one in value.items()}
    if isinstance(value, dict):
        return {key: simplify(one) for key, one in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


@pytest.mark.parametrize(
    ("kind", "name"), [*((kind, name) for kind in KINDS for name in CALLS), *((KINDS[1], name) for name in FAST)]
)
def test_a_call_of_a_tokenizer_returns_the_same(folder, kind, name):
    call = (CALLS | FAST)[name]
    settings = {"add_prefix_space": True} if "of words" in name else {}  # there the fast one requires it
    ours, theirs = (
        simplify(call(getattr(one, kind).from_pretrained(folder, **settings))) for one in (roberta_core, transformers)
    )
    assert ours == theirs


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_is_built_from_its_files(folder, kind):
    files = {"vocab_file": str(folder / "vocab.json"), "merges_file": str(folder / "merges.txt")}
    roles = {
        "errors": "replace", "bos_token": "<s>", "eos_token": "</s>", "sep_token": "</s>", "cls_token": "<s>",
        "unk_token": "<unk>", "pad_token": "<pad>", "mask_token": "<mask>", "add_prefix_space": True,
    }  # fmt: skip
    ours, theirs = (getattr(one, kind)(**files, **roles) for one in (roberta_core, transformers))
    assert ours(PAIR).input_ids == theirs(PAIR).input_ids
    assert ours.get_vocab() == theirs.get_vocab()


@pytest.mark.parametrize("kind", KINDS)
def test_a_tokenizer_saves_the_same_files(folder, tmp_path, kind):
    found = []
    for one in (roberta_core, transformers):
        tokenizer, path = getattr(one, kind).from_pretrained(folder), tmp_path / one.__name__
        tokenizer.save_pretrained(save_directory=path, legacy_format=True, filename_prefix="a")
        tokenizer.save_vocabulary(save_directory=str(path), filename_prefix="b")
        found.append({file.name for file in path.iterdir()})
    assert found[0] == found[1]


VALUES = {
    "vocab_size": 101, "hidden_size": 12, "num_hidden_layers": 1, "num_attention_heads": 3, "intermediate_size": 20,
    "hidden_act": "relu", "hidden_dropout_prob": 0.2, "attention_probs_dropout_prob": 0.3,
    "max_position_embeddings": 19, "type_vocab_size": 3, "initializer_range": 0.1, "layer_norm_eps": 1e-3,
    "pad_token_id": 4, "bos_token_id": 5, "eos_token_id": 6, "position_embedding_type": "absolute", "use_cache": False,
    "classifier_dropout": 0.4,
}  # fmt: skip


def test_a_configuration_has_the_same_fields(tmp_path):
    assert VALUES.keys() == set(inspect.signature(transformers.RobertaConfig).parameters) - {"kwargs"}
    ours, theirs = (one.RobertaConfig(**VALUES, output_attentions=True) for one in (roberta_core, transformers))
    assert {name: getattr(ours, name) for name in VALUES} == {name: getattr(theirs, name) for name in VALUES}
    assert (ours.model_type, ours.use_return_dict, ours.output_attentions, ours.num_labels) == (
        theirs.model_type, theirs.use_return_dict, theirs.output_attentions, theirs.num_labels,
    )  # fmt: skip
    assert ours.get_text_config(decoder=False, encoder=None) is ours
    again = roberta_core.RobertaConfig.from_dict(config_dict=theirs.to_dict())
    assert {name: getattr(again, name) for name in VALUES} == VALUES
    ours.save_pretrained(save_directory=tmp_path)
    assert transformers.RobertaConfig.from_pretrained(tmp_path).to_dict()["hidden_act"] == "relu"
    ours.to_json_file(tmp_path / "all.json", use_diff=False)
    assert transformers.RobertaConfig.from_json_file(tmp_path / "all.json").vocab_size == 101


@pytest.mark.parametrize(
    "kind",
    [
        one
        for one in vars(outputs).values()
        if hasattr(transformers.modeling_outputs, getattr(one, "__name__", "")) and one is not outputs.ModelOutput
    ],
    ids=lambda kind: kind.__name__,
)
def test_an_output_takes_the_same_fields(kind):
    reference = getattr(transformers.modeling_outputs, kind.__name__)
    names = [*inspect.signature(reference).parameters]
    assert list(kind.fields) == names
    values = {name: np.full((2,), number) for number, name in enumerate(names)}
    ours, theirs = kind(**values), reference(**values)
    assert [*ours] == [*theirs]
    for one, other in zip(ours.to_tuple(), theirs.to_tuple(), strict=True):
        np.testing.assert_array_equal(one, other)

"""Other tokenizers from tokenizer.json: Unigram with the layouts of CamemBERT and XLM-RoBERTa, built by the real
libraries (tests/relatives/make.py), and others. The expected values are from transformers."""

import copy
import json
import pickle
from pathlib import Path

import numpy as np
import pytest
from tokenizers import AddedToken, Tokenizer, models, pre_tokenizers, processors

from roberta_core import RobertaTokenizerFast, TokenizerFast, load_tokenizer
from roberta_core.tokenization import train_tokenizer

RELATIVES = Path(__file__).parents[1] / "relatives"


@pytest.fixture(scope="module", params=["camembert", "xlm-roberta"])
def made(request):
    return RELATIVES / request.param


@pytest.fixture
def tokenizer(made):
    return load_tokenizer(made / "tokenizer")


@pytest.fixture(scope="module")
def expected(made):
    return json.loads((made / "expected.json").read_text(encoding="utf-8"))


def as_lists(encoding):
    """Convert spans to lists, as in JSON."""
    return json.loads(json.dumps(dict(encoding)))


def test_ids_offsets_and_words_equal_those_of_transformers(tokenizer, expected):
    assert isinstance(tokenizer, TokenizerFast)
    for one in expected["texts"]:
        encoding = tokenizer(one["text"], return_offsets_mapping=True)
        assert encoding.input_ids == one["input_ids"] == tokenizer(one["text"]).input_ids
        assert as_lists(encoding)["offset_mapping"] == one["offset_mapping"]
        assert encoding.word_ids() == one["word_ids"]
        known = tokenizer.get_vocab().keys()  # for an unknown token transformers returns the original text
        assert encoding.tokens() == [t.strip() if t.strip() in known else "<unk>" for t in one["tokens"]]
        assert tokenizer(one["text"].split(), is_split_into_words=True).input_ids == one["words"]


def test_decoded_texts_equal_those_of_transformers(tokenizer, expected):
    for one in expected["texts"]:
        assert tokenizer.decode(one["input_ids"]) == one["decoded"]
        assert tokenizer.decode(np.array(one["input_ids"]), skip_special_tokens=True) == one["skipped"]


def test_pairs_windows_and_batches_equal_those_of_transformers(tokenizer, expected):
    pair = expected["pair"]
    first, second = "la fille aime", "the soft cheese, 3,14"
    assert as_lists(tokenizer(first, second, return_offsets_mapping=True)) == pair
    window = {"truncation": "only_second", "max_length": 24, "stride": 1, "return_overflowing_tokens": True}
    assert tokenizer(first, second, **window).input_ids == expected["windows"]
    assert as_lists(tokenizer([one["text"] for one in expected["texts"][:3]], padding=True)) == expected["batch"]


def test_the_special_tokens_have_their_roles(tokenizer, expected):
    found = {role: getattr(tokenizer, f"{role}_token_id") for role in expected["specials"]}
    assert found == expected["specials"]
    cls, sep = found["bos"], found["eos"]
    assert tokenizer.build_inputs_with_special_tokens([9], [8]) == [cls, 9, sep, sep, 8, sep]
    assert tokenizer.get_special_tokens_mask([9], [8]) == [1, 0, 1, 1, 0, 1]
    assert tokenizer.create_token_type_ids_from_sequences([9], [8]) == [0] * 6
    assert tokenizer.num_special_tokens_to_add(pair=True) == 4


def test_the_maximum_length_follows_the_positions(made, tokenizer, tmp_path):
    assert tokenizer.model_max_length > 1e29
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text((made / "Model" / "config.json").read_text())
    limited = load_tokenizer(tmp_path)
    assert limited.model_max_length == 40 - 1 - 1
    assert len(limited("la fille " * 50, truncation=True).input_ids) == 38
    (tmp_path / "config.json").write_text('{"model_type": "bert", "max_position_embeddings": 7}')
    assert load_tokenizer(tmp_path).model_max_length > 1e29


def test_a_saved_tokenizer_is_restored(tokenizer, tmp_path):
    tokenizer.add_tokens(["fromage"])
    tokenizer.add_special_tokens({"additional_special_tokens": [AddedToken("<x>", lstrip=True)]})
    names = {Path(path).name for path in tokenizer.save_pretrained(tmp_path)}
    assert names == {"tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"}
    loaded = load_tokenizer(tmp_path)
    text = "un fromage <x> bon<mask>"
    assert loaded(text) == tokenizer(text)
    assert loaded("fromage").input_ids[1:-1] == tokenizer.convert_tokens_to_ids(["fromage"])
    assert loaded.get_vocab() == tokenizer.get_vocab()
    assert (loaded.tokenizer_class, loaded.mask_token) == (tokenizer.tokenizer_class, "<mask>")
    assert loaded.additional_special_tokens == ["<x>"]
    assert Tokenizer.from_file(str(tmp_path / "tokenizer.json")).encode(text).ids == tokenizer(text).input_ids


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_encodes_equally_and_is_independent(tokenizer, make_copy):
    other = make_copy(tokenizer)
    other.add_tokens("camembert")
    assert other("la fille").input_ids == tokenizer("la fille").input_ids
    assert len(other("camembert").input_ids) == 3 < len(tokenizer("camembert").input_ids)


def test_special_tokens_can_be_text(tokenizer):
    tokenizer.add_special_tokens({"additional_special_tokens": ["<x>"]})
    assert tokenizer("<x>", add_special_tokens=False).tokens() == ["<x>"]
    assert len(tokenizer("<x>", add_special_tokens=False, split_special_tokens=True).tokens()) > 1
    assert tokenizer("<x>", add_special_tokens=False).tokens() == ["<x>"]


def test_arguments_that_the_file_determines_are_refused(tokenizer, made):
    with pytest.raises(ValueError, match=r"add_prefix_space has no effect here: tokenizer\.json determines"):
        tokenizer("a", add_prefix_space=True)
    with pytest.raises(TypeError, match="errors"):
        load_tokenizer(made / "tokenizer", errors="ignore")
    with pytest.raises(ValueError, match="lone surrogate U\\+D800"):
        tokenizer(["a", "\ud800"])
    with pytest.raises(ValueError, match="lone surrogate U\\+D800"):
        tokenizer(["a", "\ud800"], is_split_into_words=True)
    with pytest.raises(ValueError, match="is in no vocabulary"):
        tokenizer.decode([10_000])
    with pytest.raises(ValueError, match=r"not RoBERTa's byte-level BPE, but Unigram .*load_tokenizer\(\) reads it"):
        RobertaTokenizerFast.from_pretrained(made / "tokenizer")


def test_the_files_of_the_model_can_be_saved(tokenizer, tmp_path):
    (path,) = tokenizer.save_vocabulary(tmp_path / "new", "xx")
    assert Path(path).name == "xx-unigram.json"
    assert Path(path).is_file()


def test_token_types_and_missing_roles_follow_the_file(tmp_path):
    words = {word: index for index, word in enumerate(["[CLS]", "[SEP]", "[PAD]", "a", "b"])}
    whole = Tokenizer(models.WordLevel(words, unk_token="a"))
    whole.pre_tokenizer = pre_tokenizers.Whitespace()
    whole.add_special_tokens(["[CLS]", "[SEP]", "[PAD]"])
    whole.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", pair="[CLS] $A [SEP] $B:1 [SEP]:1", special_tokens=[("[CLS]", 0), ("[SEP]", 1)]
    )
    whole.enable_truncation(3)
    whole.enable_padding()
    whole.save(str(tmp_path / "tokenizer.json"))
    tokenizer = load_tokenizer(tmp_path, cls_token="[CLS]", sep_token="[SEP]")
    encoding = tokenizer("a b a", "b a", return_token_type_ids=True)
    assert encoding.input_ids == [0, 3, 4, 3, 1, 4, 3, 1]
    assert encoding.token_type_ids == [0, 0, 0, 0, 0, 1, 1, 1]
    assert tokenizer.create_token_type_ids_from_sequences([3], [4, 4]) == [0, 0, 0, 1, 1, 1]
    assert (tokenizer.mask_token, tokenizer.mask_token_id, tokenizer.pad_token_id) == (None, None, None)
    assert tokenizer.all_special_tokens == ["[SEP]", "[CLS]"]
    with pytest.raises(ValueError, match="no pad token to pad with"):
        tokenizer(["a", "a b"], padding=True)
    tokenizer.add_special_tokens({"pad_token": "[PAD]"})
    assert tokenizer(["a", "a b"], padding=True).input_ids == [[0, 3, 1, 2], [0, 3, 4, 1]]


def test_a_folder_with_a_roberta_vocabulary_gives_the_roberta_tokenizer(tmp_path):
    (tmp_path / "text.txt").write_text("a text of words\n" * 9, encoding="utf-8")
    train_tokenizer([tmp_path / "text.txt"], 280, tmp_path / "made")
    tokenizer = load_tokenizer(tmp_path / "made", padding_side="left")
    assert (type(tokenizer), tokenizer.padding_side) == (RobertaTokenizerFast, "left")
    spaced = RobertaTokenizerFast.from_pretrained(tmp_path / "made", add_prefix_space=True)
    spaced.save_pretrained(tmp_path / "spaced")
    (tmp_path / "spaced" / "tokenizer_config.json").unlink()
    assert load_tokenizer(tmp_path / "spaced").add_prefix_space
    (tmp_path / "made" / "tokenizer.json").unlink()
    assert load_tokenizer(tmp_path / "made")("text").input_ids == tokenizer("text").input_ids
    (tmp_path / "made" / "vocab.json").unlink()
    with pytest.raises(FileNotFoundError, match="holds no tokenizer"):
        load_tokenizer(tmp_path / "made")

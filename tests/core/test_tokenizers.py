"""The public interface of the tokenizers. Expected ids of the published vocabulary are those of transformers."""

import copy
import doctest
import importlib
import json
import pickle
import re

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer

from roberta_core.tokenization import BatchEncoding, RobertaTokenizer, RobertaTokenizerFast, batch_encoding
from roberta_core.tokenization.byte_level_bpe import BYTE_TO_CHARACTER, WHITESPACE

LETTERS = "abcdefghij"
CLS, PAD, SEP, UNK = 0, 1, 2, 3
MERGES = [("Ġ", "a"), ("Ġ", "b"), ("h", "e"), ("l", "l"), ("he", "ll"), ("hell", "o")]


def small_vocabulary() -> dict[str, int]:
    """Build a vocabulary: special tokens, the bytes in order from id 4, the merges, and the mask last."""
    tokens = ["<s>", "<pad>", "</s>", "<unk>", *(BYTE_TO_CHARACTER[byte] for byte in range(256))]
    return {token: index for index, token in enumerate([*tokens, *("".join(pair) for pair in MERGES), "<mask>"])}


VOCABULARY = small_vocabulary()
MASK = VOCABULARY["<mask>"]


BOTH = (RobertaTokenizerFast, RobertaTokenizer)


@pytest.fixture(params=BOTH, ids=["fast", "python"])
def kind(request):
    return request.param


@pytest.fixture
def tokenizer(kind):
    return kind(VOCABULARY, MERGES)


def ids(*tokens: str) -> list[int]:
    return [VOCABULARY[token] for token in tokens]


@pytest.fixture(scope="module")
def published(shared):
    folder = shared / "data" / "roberta-base"
    if not folder.is_dir():
        pytest.skip(f"no published vocabulary in {folder}")
    return folder


@pytest.fixture(scope="module")
def forms(published, tmp_path_factory):
    """Return tokenizers with the published vocabulary, from its two files and from one file."""
    files = published / "vocab.json", published / "merges.txt"
    path = tmp_path_factory.mktemp("whole") / "tokenizer.json"
    RobertaTokenizerFast(*files).backend_tokenizer.save(str(path))
    return {
        "fast, two files": RobertaTokenizerFast(*files),
        "fast, one file": RobertaTokenizerFast(tokenizer_file=path),
        "python, two files": RobertaTokenizer(*files),
        "python, one file": RobertaTokenizer(tokenizer_file=path),
    }


FORMS = ["fast, two files", "fast, one file", "python, two files", "python, one file"]


# The published vocabulary --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", FORMS)
def test_the_published_texts_have_their_published_ids(forms, form, published):
    golden = json.loads((published / "golden_encodings.json").read_text(encoding="utf-8"))
    assert len(golden) == 28
    wrong = {
        text: forms[form].encode(text) for text, expected in golden.items() if forms[form].encode(text) != expected
    }
    assert wrong == {}


@pytest.mark.parametrize("form", FORMS)
def test_the_published_pair_and_sizes(forms, form):
    tokenizer = forms[form]
    assert tokenizer("Hello world", "How are you?")["input_ids"] == [0, 31414, 232, 2, 2, 6179, 32, 47, 116, 2]
    assert (len(tokenizer), tokenizer.vocab_size, tokenizer.mask_token_id) == (50265, 50265, 50264)


@pytest.mark.parametrize("form", FORMS)
def test_the_published_offsets_around_whitespace_and_the_mask(forms, form):
    encoding = forms[form]("A,  <mask> naïve 🤗.", return_offsets_mapping=True)
    assert encoding.offset_mapping == [
        (0, 0), (0, 1), (1, 2), (4, 10), (11, 16), (17, 18), (17, 18), (17, 18), (18, 19), (0, 0),
    ]  # fmt: skip


# Ids, texts, special tokens ------------------------------------------------------------------------------------------


def test_texts_and_pairs_are_enclosed_by_special_tokens(tokenizer):
    assert tokenizer("hello a").input_ids == [CLS, *ids("hello", "Ġa"), SEP]
    assert tokenizer("a", "b").input_ids == [CLS, *ids("a"), SEP, SEP, *ids("b"), SEP]
    assert tokenizer("").input_ids == [CLS, SEP]
    assert tokenizer("", "").input_ids == [CLS, SEP, SEP, SEP]
    assert tokenizer("a", "b", add_special_tokens=False).input_ids == ids("a", "b")


def test_the_special_tokens_have_the_published_ids(tokenizer):
    assert tokenizer.all_special_tokens == ["<s>", "</s>", "<unk>", "<pad>", "<mask>"]
    assert tokenizer.all_special_ids == [CLS, SEP, UNK, PAD, MASK]
    roles = ("bos", "eos", "unk", "sep", "pad", "cls", "mask")
    assert [getattr(tokenizer, f"{role}_token_id") for role in roles] == [CLS, SEP, UNK, SEP, PAD, CLS, MASK]
    assert tokenizer.mask_token == "<mask>"
    assert len(tokenizer) - 1 == MASK


def test_special_tokens_in_a_text_are_recognised(tokenizer):
    assert tokenizer("<s>a</s><pad>", add_special_tokens=False).input_ids == [CLS, *ids("a"), SEP, PAD]
    literal = tokenizer("<s>", add_special_tokens=False, split_special_tokens=True)
    assert literal.input_ids == ids("<", "s", ">")


def test_the_mask_absorbs_only_the_whitespace_before_it(tokenizer):
    assert tokenizer("a \n\u2003<mask> a", add_special_tokens=False).input_ids == [*ids("a"), MASK, *ids("Ġa")]
    assert tokenizer("a <s>", add_special_tokens=False).input_ids == [*ids("a", "Ġ"), CLS]
    assert tokenizer("a\x1c<mask>", add_special_tokens=False).input_ids == [*ids("a", BYTE_TO_CHARACTER[0x1C]), MASK]


@pytest.mark.parametrize(
    ("text", "spaced"),
    [("a", "Ġa"), (" a", "Ġa"), ("\na", "Ġ Ċ a"), ("<mask>a", "<mask> Ġa"), ("a<mask>a", "Ġa <mask> Ġa")],
)
def test_a_prefix_space_is_added_to_each_part_without_one(tokenizer, text, spaced):
    expected = ids(*spaced.split())
    assert tokenizer(text, add_special_tokens=False, add_prefix_space=True).input_ids == expected
    tokenizer.add_prefix_space = True
    assert tokenizer(text, add_special_tokens=False).input_ids == expected
    assert tokenizer("a", add_special_tokens=False, add_prefix_space=False).input_ids == ids("a")


def test_words_are_encoded_separately(tokenizer):
    encoding = tokenizer(["hello", "ab", "", "a"], is_split_into_words=True, return_offsets_mapping=True)
    assert encoding.input_ids == [CLS, *ids("Ġ", "hello", "Ġa", "b", "Ġa"), SEP]
    assert encoding.word_ids() == [None, 0, 0, 1, 1, 3, None]
    assert encoding.offset_mapping == [(0, 0), (0, 0), (0, 5), (0, 1), (1, 2), (0, 1), (0, 0)]


def test_tokens_and_ids_are_converted_into_each_other(tokenizer):
    assert tokenizer.tokenize("hello <mask> b") == ["hello", "<mask>", "Ġb"]
    assert tokenizer.convert_tokens_to_ids(["hello", "<mask>", "no such"]) == [*ids("hello"), MASK, UNK]
    assert tokenizer.convert_tokens_to_ids("Ġb") == VOCABULARY["Ġb"]
    assert tokenizer.convert_ids_to_tokens([CLS, MASK, *ids("a")], skip_special_tokens=True) == ["a"]
    assert tokenizer.convert_ids_to_tokens(np.int64(MASK)) == "<mask>"
    assert tokenizer.convert_tokens_to_string(["hello", "Ġa"]) == "hello a"
    assert tokenizer.get_vocab() == VOCABULARY


@pytest.mark.parametrize("index", [-1, len(VOCABULARY)])
def test_an_id_outside_the_vocabulary_is_refused(tokenizer, index):
    with pytest.raises(ValueError, match=f"id {index} is in no vocabulary"):
        tokenizer.decode([CLS, index])


def test_decoding_accepts_lists_arrays_and_one_id(tokenizer):
    row = tokenizer("hello <mask> b").input_ids
    assert tokenizer.decode(row) == "<s>hello<mask> b</s>"
    assert tokenizer.decode(np.array(row), skip_special_tokens=True) == "hello b"
    assert tokenizer.decode(MASK) == "<mask>"
    assert tokenizer.batch_decode(np.array([row, row]), skip_special_tokens=True) == ["hello b"] * 2
    assert tokenizer.decode(tokenizer("a . b").input_ids[1:-1], clean_up_tokenization_spaces=True) == "a. b"


@pytest.mark.parametrize(("errors", "text"), [("replace", "\ufffda"), ("ignore", "a")])
def test_invalid_utf8_is_decoded_according_to_errors(kind, errors, text):
    tokenizer = kind(VOCABULARY, MERGES, errors=errors)
    assert tokenizer.decode([VOCABULARY[BYTE_TO_CHARACTER[0xC3]], *ids("a")]) == text


@settings(deadline=None, max_examples=200)
@given(st.text(alphabet=st.characters(exclude_categories=["Cs"])), st.sampled_from(BOTH))
def test_decoding_restores_the_text(text, kind):
    tokenizer = kind(VOCABULARY, MERGES)
    encoding = tokenizer(text, split_special_tokens=True)
    assert tokenizer.decode(encoding.input_ids[1:-1]) == text


TEXTS = st.lists(st.sampled_from([*"ab  \n\t\u2003\x1céя日🤗\u0301", "hello", "<mask>", "<s>"]), max_size=30).map(
    "".join
)


@settings(deadline=None, max_examples=200)
@given(TEXTS, st.booleans(), st.booleans(), st.sampled_from(BOTH))
def test_every_span_contains_the_text_of_its_token(text, trim, spaced, kind):
    tokenizer = kind(VOCABULARY, MERGES, trim_offsets=trim, add_prefix_space=spaced)
    encoding = tokenizer(text, return_offsets_mapping=True, add_special_tokens=False)
    assert tokenizer.decode(encoding.input_ids) == "".join(
        part.strip() if part.strip() in ("<mask>", "<s>") else " " + part if spaced and part[0] != " " else part
        for part in re.split(rf"([{WHITESPACE}]*<mask>|<s>)", text)
        if part
    )
    for index, (start, stop) in zip(encoding.input_ids, encoding.offset_mapping, strict=True):
        piece, part = tokenizer.decode([index]), text[start:stop]
        if "\ufffd" in piece:  # a part of one character
            assert len(part.strip(" ")) == 1
        elif trim:
            assert part == (piece.strip(" ") if index != MASK else piece)
        else:
            assert part.lstrip() == piece.lstrip()


def test_a_lone_surrogate_is_refused_with_its_place(tokenizer):
    with pytest.raises(ValueError, match=r"character 2 of the text is the lone surrogate U\+D800"):
        tokenizer(["good", "ba\ud800d"])


# Batches, padding, truncation ----------------------------------------------------------------------------------------


def test_a_batch_is_padded_to_its_longest_row(tokenizer):
    batch = tokenizer(["abc", "a"], padding=True, return_special_tokens_mask=True, return_token_type_ids=True)
    assert batch.input_ids == [[CLS, *ids("a", "b", "c"), SEP], [CLS, *ids("a"), SEP, PAD, PAD]]
    assert batch.attention_mask == [[1] * 5, [1, 1, 1, 0, 0]]
    assert batch.special_tokens_mask == [[1, 0, 0, 0, 1], [1, 0, 1, 1, 1]]
    assert batch.token_type_ids == [[0] * 5, [0] * 5]
    assert list(batch) == ["input_ids", "token_type_ids", "attention_mask", "special_tokens_mask"]


@pytest.mark.parametrize(
    ("options", "size"),
    [
        ({"padding": "longest"}, 5),
        ({"padding": "max_length", "max_length": 7}, 7),
        ({"padding": True, "pad_to_multiple_of": 4}, 8),
        ({"padding": "max_length", "max_length": 7, "pad_to_multiple_of": 3}, 9),
        ({"padding": "do_not_pad"}, 5),
    ],
)
def test_padding_extends_to_the_requested_length(tokenizer, options, size):
    assert len(tokenizer("abc", **options).input_ids) == size


def test_padding_is_added_on_the_requested_side(tokenizer):
    row = tokenizer("a", padding="max_length", max_length=5, padding_side="left", return_offsets_mapping=True)
    assert row.input_ids == [PAD, PAD, CLS, *ids("a"), SEP]
    assert row.attention_mask == [0, 0, 1, 1, 1]
    assert row.offset_mapping == [(0, 0)] * 3 + [(0, 1), (0, 0)]
    assert row.word_ids() == [None, None, None, 0, None]
    tokenizer.padding_side = "left"
    assert tokenizer("a", padding="max_length", max_length=4).input_ids[0] == PAD


def test_truncation_removes_tokens_on_the_requested_side(tokenizer):
    assert tokenizer("abcde", truncation=True, max_length=5).input_ids == [CLS, *ids("a", "b", "c"), SEP]
    assert tokenizer("abcde", max_length=5).input_ids == [CLS, *ids("a", "b", "c"), SEP]
    tokenizer.truncation_side = "left"
    assert tokenizer("abcde", truncation=True, max_length=5).input_ids == [CLS, *ids("c", "d", "e"), SEP]


@pytest.mark.parametrize(
    ("strategy", "sizes", "room", "kept"),
    [
        ("longest_first", (4, 4), 7, (3, 4)),
        ("longest_first", (8, 2), 7, (5, 2)),
        ("longest_first", (2, 8), 7, (2, 5)),
        ("longest_first", (8, 6), 7, (4, 3)),
        ("only_first", (8, 3), 7, (4, 3)),
        ("only_second", (3, 8), 7, (3, 4)),
    ],
)
def test_a_pair_is_truncated_as_published(tokenizer, strategy, sizes, room, kept):
    row = tokenizer("c" * sizes[0], "d" * sizes[1], truncation=strategy, max_length=room + 4).input_ids
    assert (row.count(VOCABULARY["c"]), row.count(VOCABULARY["d"])) == kept


def test_truncated_tokens_are_returned_in_overlapping_rows(tokenizer):
    rows = tokenizer(
        ["abcdefg", "h"], truncation=True, max_length=5, stride=1, return_overflowing_tokens=True
    )  # fmt: skip
    assert [tokenizer.decode(row[1:-1]) for row in rows.input_ids] == ["abc", "cde", "efg", "h"]
    assert rows.overflow_to_sample_mapping == [0, 0, 0, 1]
    tokenizer.truncation_side = "left"
    rows = tokenizer("abcdefg", truncation=True, max_length=5, stride=1, return_overflowing_tokens=True)
    assert [tokenizer.decode(row[1:-1]) for row in rows.input_ids] == ["efg", "cde", "abc"]


def test_windows_of_a_context_keep_their_question(tokenizer):
    options = {"return_overflowing_tokens": True, "return_offsets_mapping": True}
    rows = tokenizer("ab", "cdefg", truncation="only_second", max_length=8, **options)
    assert [tokenizer.decode(row, skip_special_tokens=True) for row in rows.input_ids] == ["abcd", "abef", "abg"]
    assert rows.offset_mapping[1] == [(0, 0), (0, 1), (1, 2), (0, 0), (0, 0), (2, 3), (3, 4), (0, 0)]
    assert rows.sequence_ids(1) == [None, 0, 0, None, None, 1, 1, None]


def test_windows_of_two_long_texts_are_combined(tokenizer):
    rows = tokenizer("abc", "defg", truncation=True, max_length=8, return_overflowing_tokens=True)
    texts = [tokenizer.decode(row, skip_special_tokens=True) for row in rows.input_ids]
    assert texts == ["abde", "cde", "cfg", "abfg"]
    with pytest.raises(ValueError, match="no token of a text is kept"):
        tokenizer("abc", "defg", truncation=True, max_length=5, return_overflowing_tokens=True)


def test_the_limit_of_the_tokenizer_is_the_default(kind):
    tokenizer = kind(VOCABULARY, MERGES, model_max_length=6)
    assert len(tokenizer("abcdefgh", truncation=True).input_ids) == 6
    assert len(tokenizer("a", padding="max_length").input_ids) == 6
    assert len(tokenizer("abcdefgh").input_ids) == 10


def test_truncation_without_a_limit_does_not_change_the_text(tokenizer):
    assert len(tokenizer("abcdefgh", truncation=True).input_ids) == 10


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"padding": "longes"}, "padding 'longes' is unknown"),
        ({"truncation": "first"}, "truncation 'first' is unknown"),
        ({"padding": "max_length"}, "needs max_length"),
        ({"max_length": 0}, "max_length must be an integer above 0, not 0"),
        ({"truncation": True, "max_length": 1}, "max_length 1 has no room for 4 special tokens"),
        ({"truncation": "only_first", "max_length": 7}, "the first text has 3 tokens, the other one 3"),
        ({"truncation": True, "padding": True, "max_length": 6, "pad_to_multiple_of": 4}, "6 tokens and .* 4"),
        ({"truncation": True, "max_length": 8, "stride": 2, "return_overflowing_tokens": True}, "stride 2"),
        ({"stride": -1}, "stride must be 0 or more"),
        ({"padding_side": "middle"}, "padding_side 'middle'"),
        ({"return_tensors": "mlx"}, "return_tensors 'mlx' is unknown"),
    ],
)
def test_impossible_options_are_refused_with_the_numbers(tokenizer, arguments, message):
    with pytest.raises(ValueError, match=message):
        tokenizer("abc", "def", **arguments)


@pytest.mark.parametrize("text", [None, 3, [3], ["a", None], [["a", "b", "c"]], {"a": 1}, b"a"])
def test_inputs_that_are_not_texts_are_refused(tokenizer, text):
    with pytest.raises(ValueError, match="text must be a string"):
        tokenizer(text)


def test_both_lists_of_texts_must_have_the_same_length(tokenizer):
    with pytest.raises(ValueError, match="a batch of 2 texts needs as many second texts, not 1"):
        tokenizer(["a", "b"], ["c"])
    with pytest.raises(ValueError, match="not one text"):
        tokenizer(["a", "b"], "c")


def test_an_unknown_keyword_argument_is_refused(kind, tokenizer):
    with pytest.raises(TypeError, match="max_len"):
        tokenizer("a", max_len=3)
    with pytest.raises(TypeError, match="add_bos"):
        kind(VOCABULARY, MERGES, add_bos=True)


@pytest.mark.parametrize("pairs", [[("a", "b"), ("c", "d")], [["a", "b"], ["c", "d"]]])
def test_a_batch_of_pairs_can_be_one_list(tokenizer, pairs):
    assert tokenizer(pairs).input_ids == tokenizer(["a", "c"], ["b", "d"]).input_ids


def test_an_empty_batch_has_no_rows(tokenizer):
    assert tokenizer([]) == {"input_ids": [], "attention_mask": []}
    assert tokenizer([], return_tensors="np").input_ids.shape == (0, 0)


# The encoding --------------------------------------------------------------------------------------------------------


def test_arrays_are_int64_with_a_row_for_each_text(tokenizer):
    one = tokenizer("ab", return_tensors="np", return_offsets_mapping=True)
    assert {name: (value.shape, value.dtype) for name, value in one.items()} == {
        "input_ids": ((1, 4), np.int64),
        "attention_mask": ((1, 4), np.int64),
        "offset_mapping": ((1, 4, 2), np.int64),
    }
    assert tokenizer(["abc", "a"], padding=True, return_tensors="np").input_ids.shape == (2, 5)
    with pytest.raises(ValueError, match="its rows have 3 to 5 tokens; pass padding=True"):
        tokenizer(["abc", "a"], return_tensors="np")


def test_lists_can_be_converted_to_tensors_later(tokenizer):
    encoding = tokenizer(["abc", "a"], padding=True)
    assert encoding.convert_to_tensors("np") is encoding
    assert {name: (type(value), value.shape) for name, value in encoding.items()} == {
        "input_ids": (np.ndarray, (2, 5)),
        "attention_mask": (np.ndarray, (2, 5)),
    }
    one = BatchEncoding({"input_ids": [7, 8], "labels": 1.5}, tensor_type="np", prepend_batch_axis=True)
    assert (one.input_ids.tolist(), one.labels.tolist()) == ([[7, 8]], [1.5])
    with pytest.raises(ValueError, match="its rows have 3 to 5 tokens"):
        tokenizer(["abc", "a"]).convert_to_tensors("np")
    with pytest.raises(ValueError, match="tensor_type 'mlx' is unknown"):
        tokenizer("a").convert_to_tensors("mlx")


def test_a_row_of_an_encoding_has_all_attributes(tokenizer):
    encoding = tokenizer(["ab", "a"], ["b", "c"], padding=True)
    assert [len(row) for row in encoding.encodings] == [7, 7]
    row = encoding[1]
    assert (row.ids, row.attention_mask) == (encoding.input_ids[1], encoding.attention_mask[1])
    assert row.tokens == ["<s>", "a", "</s>", "</s>", "c", "</s>", "<pad>"]
    assert (row.special_tokens_mask, row.type_ids) == ([1, 0, 1, 1, 0, 1, 1], [0] * 7)
    assert row.offsets == [(0, 0), (0, 1), (0, 0), (0, 0), (0, 1), (0, 0), (0, 0)]
    assert (row.word_ids, row.n_sequences) == ([None, 0, None, None, 0, None, None], 2)
    assert row.sequence_ids == [None, 0, None, None, 1, None, None]
    assert encoding[:1] == encoding.encodings[:1]
    with pytest.raises(IndexError):
        _ = encoding[2]


@pytest.mark.parametrize("name", ["pt", "tf", "jax"])
def test_the_error_of_a_missing_framework_names_what_to_install(tokenizer, name, monkeypatch):
    def fail(_):
        raise ModuleNotFoundError("No module named 'framework'")

    monkeypatch.setattr("importlib.metadata.EntryPoint.load", fail)
    batch_encoding.load_backend.cache_clear()
    with pytest.raises(ValueError, match=r"pip install 'triberta\[(pt|tf|flax)\]'"):
        tokenizer("a", return_tensors=name)


def test_a_target_is_encoded_equally_and_returned_as_labels(tokenizer):
    assert tokenizer("a", text_target="b c", return_length=True) == {
        **tokenizer("a", return_length=True),
        "labels": tokenizer("b c").input_ids,
    }
    assert tokenizer(text_target=["a", "b"]) == tokenizer(["a", "b"])
    assert tokenizer("a", None, "b", "c").labels == tokenizer("b", "c").input_ids


def test_positional_arguments_have_the_published_order(tokenizer):
    whole = tokenizer("abc", None, None, None, False, "max_length", True, 5, 0, False, None, "left", "np")
    assert whole.input_ids.tolist() == [[PAD, PAD, *ids("a", "b", "c")]]
    assert tokenizer.encode("abc", None, False, "max_length", True, 5, 0, "left", "np").tolist() == [
        [PAD, PAD, *ids("a", "b", "c")]
    ]
    assert tokenizer.encode_plus("abc", None, False, "max_length", True, 4).input_ids == [*ids("a", "b", "c"), PAD]
    assert tokenizer.batch_encode_plus(["abc"], False, False, True, 2).input_ids == [ids("a", "b")]


def test_an_encoding_can_be_unpacked_into_a_call(tokenizer):
    def model(input_ids=None, attention_mask=None):
        return input_ids, attention_mask

    assert model(**tokenizer("a")) == ([CLS, *ids("a"), SEP], [1, 1, 1])


def test_an_encoding_maps_tokens_to_words_and_characters(tokenizer):
    encoding = tokenizer("hello ab", "b")
    assert encoding.tokens() == ["<s>", "hello", "Ġa", "b", "</s>", "</s>", "b", "</s>"]
    assert encoding.word_ids() == [None, 0, 1, 1, None, None, 0, None]
    assert encoding.sequence_ids() == [None, 0, 0, 0, None, None, 1, None]
    assert [encoding.char_to_token(character) for character in (0, 4, 5, 6, 7)] == [1, 1, None, 2, 3]
    assert encoding.char_to_token(0, 0, 1) == 6
    assert encoding.token_to_chars(2) == (6, 7)
    assert encoding.token_to_chars(0) is None
    assert (encoding.word_to_tokens(1), encoding.word_to_chars(1), encoding.char_to_word(7)) == ((2, 4), (6, 8), 1)
    spans = encoding.token_to_chars(2), encoding.word_to_tokens(1), encoding.word_to_chars(1)
    assert [(span.start, span.end) for span in spans] == [(6, 7), (2, 4), (6, 8)]
    assert (encoding.token_to_word(3), encoding.token_to_sequence(6), encoding.n_sequences) == (1, 1, 2)


def test_a_pickled_encoding_keeps_only_its_columns(tokenizer):
    encoding = pickle.loads(pickle.dumps(tokenizer("ab")))
    assert encoding == {"input_ids": [CLS, *ids("a", "b"), SEP], "attention_mask": [1, 1, 1, 1]}
    with pytest.raises(ValueError, match="encode the text again"):
        encoding.word_ids()
    with pytest.raises(AttributeError, match="no 'labels'; it holds input_ids, attention_mask"):
        _ = encoding.labels


# Added tokens, files -------------------------------------------------------------------------------------------------


def test_added_tokens_are_not_split(tokenizer):
    assert tokenizer.add_tokens(["naïve", "hello"]) == 1
    index = len(VOCABULARY)
    assert (len(tokenizer), tokenizer.vocab_size) == (index + 1, index)
    assert tokenizer("a naïveb", add_special_tokens=False).input_ids == [*ids("a", "Ġ"), index, *ids("b")]
    assert tokenizer.decode([index, *ids("Ġa")]) == "naïve a"
    assert tokenizer.add_special_tokens({"mask_token": AddedToken("[M]", lstrip=True)}) == 1
    assert (tokenizer.mask_token_id, tokenizer("a [M]").input_ids[2]) == (index + 1, index + 1)
    assert tokenizer.decode([index, index + 1], skip_special_tokens=True) == "naïve"
    with pytest.raises(ValueError, match="'masq' is no role"):
        tokenizer.add_special_tokens({"masq": "[M]"})


@pytest.mark.parametrize("value", ["<e1>", AddedToken("<e1>"), 3])
def test_additional_tokens_must_be_a_list(kind, tokenizer, value):
    for name in ("additional_special_tokens", "extra_special_tokens"):
        with pytest.raises(ValueError, match=f"{name} must be a list of tokens, not"):
            tokenizer.add_special_tokens({name: value})
        with pytest.raises(ValueError, match=f"{name} must be a list of tokens, not"):
            kind(VOCABULARY, MERGES, **{name: value})
    assert len(tokenizer) == len(VOCABULARY)


def test_the_error_of_decoding_several_texts_names_batch_decode(tokenizer):
    for ids_of_texts in ([[CLS, MASK]], np.array([[CLS, MASK]])):
        with pytest.raises(ValueError, match="use batch_decode"):
            tokenizer.decode(ids_of_texts)


def test_a_saved_tokenizer_is_restored(kind, tokenizer, tmp_path):
    tokenizer.add_tokens("naïve")
    tokenizer.add_special_tokens({"additional_special_tokens": ["<a>"], "pad_token": "<p>"})
    tokenizer.model_max_length, tokenizer.truncation_side, tokenizer.add_prefix_space = 77, "left", True
    names = {
        "vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json",
        "added_tokens.json",
    }  # fmt: skip
    assert {path.rsplit("/")[-1] for path in tokenizer.save_pretrained(tmp_path)} == names
    text = "a naïve <a><p> hello <mask>\n日"
    for left_out in ((), ("tokenizer.json",), ("vocab.json", "merges.txt", "special_tokens_map.json")):
        for name in left_out:
            (tmp_path / name).rename(tmp_path / f"{name}.away")
        loaded = kind.from_pretrained(tmp_path)
        for name in left_out:
            (tmp_path / f"{name}.away").rename(tmp_path / name)
        assert loaded(text) == tokenizer(text)
        assert (loaded.model_max_length, loaded.truncation_side, loaded.pad_token) == (77, "left", "<p>")
        assert loaded.get_vocab() == tokenizer.get_vocab()
        assert loaded.additional_special_tokens == ["<a>"]
        assert loaded.added_tokens_decoder[MASK].lstrip


def test_the_newer_name_of_additional_tokens_is_read(kind, tmp_path):
    tokenizer = kind(VOCABULARY, MERGES, additional_special_tokens=["<a>"])
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / "special_tokens_map.json").unlink()
    path = tmp_path / "tokenizer_config.json"
    path.write_text(path.read_text().replace("additional_special_tokens", "extra_special_tokens"))
    assert kind.from_pretrained(tmp_path).additional_special_tokens == ["<a>"]


@pytest.mark.parametrize(("legacy", "left_out"), [(True, {"tokenizer.json"}), (False, {"vocab.json", "merges.txt"})])
def test_each_form_can_be_saved_alone(kind, tokenizer, tmp_path, legacy, left_out):
    both = {"vocab.json", "merges.txt", "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json"}
    tokenizer.save_pretrained(tmp_path, legacy)
    assert {path.name for path in tmp_path.iterdir()} == both - left_out
    assert kind.from_pretrained(tmp_path)("hello a") == tokenizer("hello a")


def test_saving_again_gives_the_same_bytes(kind, tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path / "one")
    kind.from_pretrained(tmp_path / "one").save_pretrained(tmp_path / "two")
    for path in (tmp_path / "one").iterdir():
        assert path.read_bytes() == (tmp_path / "two" / path.name).read_bytes(), path.name


def test_the_library_itself_reads_the_saved_file(tokenizer, tmp_path):
    tokenizer.save_pretrained(tmp_path)
    whole = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    assert whole.encode("hello <mask>", "b").ids == tokenizer("hello <mask>", "b").input_ids
    saved = json.loads((tmp_path / "tokenizer.json").read_text(encoding="utf-8"))
    parts = {
        name: (saved[name] or {}).get("type") for name in ("normalizer", "pre_tokenizer", "post_processor", "decoder")
    }
    assert parts == {
        "normalizer": None, "pre_tokenizer": "ByteLevel", "post_processor": "RobertaProcessing", "decoder": "ByteLevel",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("stated", "config", "limit"),
    [
        (None, {"max_position_embeddings": 514, "pad_token_id": 1}, 512),
        (1e30, {"max_position_embeddings": 70}, 68),
        (40, {"max_position_embeddings": 70}, 40),
        (512, {"max_position_embeddings": 70, "pad_token_id": 3}, 66),
        (33, None, 33),
    ],
)
def test_the_maximum_length_is_the_lower_of_stated_limit_and_positions(
    kind, tokenizer, tmp_path, stated, config, limit
):
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"model_max_length": stated}))
    if config is not None:
        (tmp_path / "config.json").write_text(json.dumps(config))
    assert kind.from_pretrained(tmp_path).model_max_length == limit
    assert kind.from_pretrained(tmp_path, model_max_length=5).model_max_length == 5


def test_a_prefix_names_the_vocabulary_files(kind, tokenizer, tmp_path):
    paths = tokenizer.save_vocabulary(tmp_path, filename_prefix="xx")
    assert paths == (str(tmp_path / "xx-vocab.json"), str(tmp_path / "xx-merges.txt"))
    assert kind(*paths)("hello").input_ids == tokenizer("hello").input_ids


@pytest.mark.parametrize("make_copy", [copy.deepcopy, lambda tokenizer: pickle.loads(pickle.dumps(tokenizer))])
def test_a_copy_encodes_equally_and_is_independent(tokenizer, make_copy):
    other = make_copy(tokenizer)
    other.add_tokens("hell")
    assert tokenizer("hello").input_ids == [CLS, *ids("hello"), SEP]
    assert other("hello a").input_ids == [CLS, *ids("hell", "o", "Ġa"), SEP]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("vocab.json", '["a"]', "a JSON object was expected, not list"),
        ("vocab.json", '{"a": 0, "b": 0}', "two tokens share one id"),
        ("vocab.json", '{"a": -1}', "every id must be an integer"),
        ("vocab.json", '{"a": ', "not JSON"),
        ("merges.txt", "#version: 0.2\nh e\nonly", "line 3 is 'only', expected two tokens"),
        ("merges.txt", "q r\n", "the merges do not fit the vocabulary"),
        ("merges.txt", b"\xff", "not UTF-8"),
        ("tokenizer.json", "{}", "not a tokenizer"),
    ],
)
def test_a_broken_file_is_refused_with_its_name(kind, tokenizer, tmp_path, name, content, message):
    tokenizer.save_pretrained(tmp_path)
    if name != "tokenizer.json":
        (tmp_path / "tokenizer.json").unlink()
    (tmp_path / name).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(ValueError, match=message):
        kind.from_pretrained(tmp_path)


def test_a_folder_without_a_tokenizer_is_refused(kind, tmp_path):
    with pytest.raises(FileNotFoundError, match=r"neither tokenizer.json nor vocab.json with merges.txt"):
        kind.from_pretrained(tmp_path)
    with pytest.raises(ValueError, match="needs vocab_file and merges_file, or tokenizer_file"):
        kind(vocab_file=VOCABULARY)


# The documented methods ----------------------------------------------------------------------------------------------


def test_special_tokens_are_added_as_in_a_call(tokenizer):
    assert tokenizer.build_inputs_with_special_tokens([7, 8]) == [CLS, 7, 8, SEP]
    assert tokenizer.build_inputs_with_special_tokens([7], [8, 9]) == [CLS, 7, SEP, SEP, 8, 9, SEP]
    assert tokenizer.build_inputs_with_special_tokens([], []) == [CLS, SEP, SEP, SEP]
    assert tokenizer.create_token_type_ids_from_sequences([7, 8]) == [0] * 4
    assert tokenizer.create_token_type_ids_from_sequences([7], [8, 9]) == [0] * 7
    assert (tokenizer.num_special_tokens_to_add(), tokenizer.num_special_tokens_to_add(pair=True)) == (2, 4)
    tokenizer.model_max_length = 30
    assert (tokenizer.max_len_single_sentence, tokenizer.max_len_sentences_pair) == (28, 26)


def test_the_special_tokens_mask_has_both_forms(tokenizer):
    assert tokenizer.get_special_tokens_mask([7, 8]) == [1, 0, 0, 1]
    assert tokenizer.get_special_tokens_mask([7], []) == [1, 0, 1, 1, 1]
    framed = [CLS, 7, MASK, SEP, PAD]
    assert tokenizer.get_special_tokens_mask(framed, already_has_special_tokens=True) == [1, 0, 1, 1, 1]
    with pytest.raises(ValueError, match="omit token_ids_1"):
        tokenizer.get_special_tokens_mask([7], [8], already_has_special_tokens=True)


def test_the_older_methods_equal_calls(tokenizer):
    options = {"return_special_tokens_mask": True, "max_length": 4}
    assert tokenizer.encode_plus("abc", "d", **options) == tokenizer("abc", "d", **options)
    assert tokenizer.batch_encode_plus(["abc", "d"], **options) == tokenizer(["abc", "d"], **options)
    assert tokenizer.batch_encode_plus([("a", "b")], False).input_ids == [ids("a", "b")]
    assert tokenizer.encode("abc", add_special_tokens=False, return_tensors="np").tolist() == [ids("a", "b", "c")]


def test_encoded_texts_are_padded_afterwards(tokenizer):
    rows = [tokenizer("abc", return_offsets_mapping=True), tokenizer("a", return_offsets_mapping=True)]
    whole = tokenizer(["abc", "a"], padding=True, return_offsets_mapping=True)
    assert tokenizer.pad(rows) == whole
    assert tokenizer.pad(tokenizer(["abc", "a"], return_offsets_mapping=True)) == whole
    assert tokenizer.pad({"input_ids": [7, 8]}, padding="max_length", max_length=3, padding_side="left") == {
        "input_ids": [PAD, 7, 8],
        "attention_mask": [0, 1, 1],
    }
    batch = tokenizer.pad(
        [{"input_ids": np.array([7, 8]), "labels": 0.5}, {"input_ids": [7], "labels": 1.5}],
        pad_to_multiple_of=3,
        return_attention_mask=False,
        return_tensors="np",
    )
    assert batch.input_ids.tolist() == [[7, 8, PAD], [7, PAD, PAD]]
    assert batch.labels.tolist() == [0.5, 1.5]
    assert list(batch) == ["input_ids", "labels"]


@pytest.mark.parametrize(
    ("encoded", "message"),
    [
        ([], "pad.. needs encoded texts"),
        ({"labels": [1]}, "pad.. needs encoded texts"),
        ([{"input_ids": [7]}, {"input_ids": [7], "labels": 1}], "the same columns"),
        ({"input_ids": [[7, 8]], "attention_mask": [[1]]}, r"attention_mask does not have the lengths of input_ids"),
    ],
)
def test_inputs_that_cannot_be_padded_are_refused(tokenizer, encoded, message):
    with pytest.raises(ValueError, match=message):
        tokenizer.pad(encoded)


@pytest.mark.parametrize(
    "module", ["batch_encoding", "roberta_tokenizer", "roberta_tokenizer_fast", "tokenizer_fast", "training"]
)
def test_the_examples_of_the_docstrings_run(module):
    found = doctest.testmod(importlib.import_module(f"roberta_core.tokenization.{module}"))
    assert (found.failed, found.attempted > 1) == (0, True)


def test_the_repr_of_objects_shows_their_contents(kind):
    tokenizer = kind(VOCABULARY, MERGES, model_max_length=9, name_or_path="x")
    assert repr(tokenizer).startswith(
        f"{kind.__name__}(name_or_path='x', vocab_size=267, length=267, model_max_length=9, padding_side='right', "
    )
    assert repr(tokenizer("a")) == "BatchEncoding(input_ids=[0, 101, 2], attention_mask=[1, 1, 1])"
    long = repr(tokenizer(["a", "ab"] * 99, return_tensors="np", padding=True))
    assert long == "BatchEncoding(input_ids=ndarray int64 [198, 4], attention_mask=ndarray int64 [198, 4])"
    assert repr(tokenizer(["a", "ab"] * 99)["input_ids"][:1]) == "[[0, 101, 2]]"
    assert "input_ids=list of 198 lists of 3 to 4," in repr(tokenizer(["a", "ab"] * 99))


# Other published methods; the expected values are from transformers --------------------------------------------------


class Tensor:
    """An array that has an `__index__` for every shape, like tensors of PyTorch."""

    def __init__(self, values):
        self.values = np.array(values)
        self.shape = self.values.shape

    def __index__(self):
        return int(self.values)

    def __len__(self):
        return len(self.values)

    def tolist(self):
        return self.values.tolist()


@pytest.mark.parametrize("make", [list, np.array, Tensor, tuple])
def test_ids_of_arrays_and_tensors_become_tokens(tokenizer, make):
    assert tokenizer.convert_ids_to_tokens(make([CLS, MASK])) == ["<s>", "<mask>"]
    assert tokenizer.convert_ids_to_tokens(make([CLS])) == ["<s>"]
    assert tokenizer.convert_ids_to_tokens(make([CLS, *ids("a")]), skip_special_tokens=True) == ["a"]
    assert tokenizer.decode(make([CLS, *ids("a")]), spaces_between_special_tokens=False) == "<s>a"


def test_one_id_becomes_one_token(tokenizer):
    for one in (MASK, np.int64(MASK), np.array(MASK), Tensor(MASK)):
        assert tokenizer.convert_ids_to_tokens(one) == "<mask>"
    assert (tokenizer._convert_id_to_token(MASK), tokenizer._convert_token_to_id("no such")) == ("<mask>", UNK)


def test_special_ids_can_be_set(tokenizer):
    tokenizer.pad_token_id = VOCABULARY["a"]
    assert (tokenizer.pad_token, tokenizer.pad_token_id) == ("a", VOCABULARY["a"])
    tokenizer.bos_token_id = None
    tokenizer.mask_token = None
    assert (tokenizer.bos_token, tokenizer.mask_token_id) == (None, None)
    with pytest.raises(ValueError, match="id 9999 is in no vocabulary"):
        tokenizer.eos_token_id = 9999


def test_init_kwargs_rebuild_the_tokenizer(kind, tokenizer):
    assert sorted(tokenizer.init_kwargs) == [
        "add_prefix_space", "bos_token", "clean_up_tokenization_spaces", "cls_token", "eos_token", "errors",
        "mask_token", "model_input_names", "model_max_length", "name_or_path", "pad_token", "padding_side", "sep_token",
        "split_special_tokens", "trim_offsets", "truncation_side", "unk_token",
    ]  # fmt: skip
    changed = kind(VOCABULARY, MERGES, padding_side="left", mask_token=None, additional_special_tokens=["<x>"])
    again = kind(VOCABULARY, MERGES, **changed.init_kwargs)
    assert again.init_kwargs == changed.init_kwargs
    assert [token.lstrip for token in tokenizer.all_special_tokens_extended] == [False] * 4 + [True]
    assert tokenizer.vocab == tokenizer.get_vocab()


def test_the_length_of_one_text_is_a_list(tokenizer):
    assert tokenizer("ab", return_length=True)["length"] == [4]
    batch = tokenizer(["ab", "a"], return_length=True, padding=True, return_tensors="np")
    assert batch["length"].tolist() == [4, 4]


def test_ids_are_prepared_for_a_model(tokenizer):
    assert tokenizer.prepare_for_model([5, 6, 7]) == {"input_ids": [0, 5, 6, 7, 2], "attention_mask": [1] * 5}
    cut = tokenizer.prepare_for_model([5, 6, 7], [8, 9], truncation="only_first", max_length=8)
    assert cut.input_ids == [0, 5, 6, 2, 2, 8, 9, 2]
    padded = {"padding": "max_length", "max_length": 6, "return_special_tokens_mask": True, "return_length": True}
    assert tokenizer.prepare_for_model([5, 6], **padded) == {
        "input_ids": [0, 5, 6, 2, 1, 1],
        "attention_mask": [1, 1, 1, 1, 0, 0],
        "special_tokens_mask": [1, 0, 0, 1, 1, 1],
        "length": 6,
    }
    assert tokenizer.prepare_for_model([5], return_tensors="np").input_ids.tolist() == [0, 5, 2]
    batch = tokenizer.prepare_for_model([5], return_tensors="np", prepend_batch_axis=True)
    assert batch.input_ids.tolist() == [[0, 5, 2]]
    with pytest.raises(ValueError, match="has only ids: call the tokenizer with the text"):
        tokenizer.prepare_for_model([5], return_offsets_mapping=True)


def test_a_list_of_tokens_is_encoded_by_the_pure_python_tokenizer():
    tokenizer = RobertaTokenizer(VOCABULARY, MERGES)
    assert tokenizer.encode(["hello", "Ġa", "no such"]) == [CLS, *ids("hello", "Ġa"), UNK, SEP]
    assert tokenizer.encode(["a"], ["b"]) == [CLS, *ids("a"), SEP, SEP, *ids("b"), SEP]
    assert tokenizer.encode(["a"], None, False, "max_length", max_length=3) == [*ids("a"), PAD, PAD]
    assert tokenizer.encode(["a"], return_tensors="np").tolist() == [[CLS, *ids("a"), SEP]]
    assert tokenizer.encode(["a", "b"], is_split_into_words=True) == [CLS, *ids("Ġa", "Ġb"), SEP]
    with pytest.raises(ValueError, match="text_pair must be one too"):
        tokenizer.encode(["a"], "b")


def test_a_new_vocabulary_is_trained_with_the_same_settings(kind):
    tokenizer = kind(VOCABULARY, MERGES, model_max_length=77, truncation_side="left")
    texts = ["the cat sat on the mat", ["the dog and the cat", "naïve"]] * 20
    new = tokenizer.train_new_from_iterator(texts, 270, show_progress=False, special_tokens_map={"<mask>": "[M]"})
    assert (type(new), len(new), new.model_max_length, new.truncation_side) == (kind, 270, 77, "left")
    in_order = sorted(new.get_vocab(), key=new.get_vocab().__getitem__)
    assert in_order[:5] == ["<s>", "<pad>", "</s>", "<unk>", "[M]"]
    assert (new.mask_token, new.tokenize("the cat [M]")[-1]) == ("[M]", "[M]")
    more = tokenizer.train_new_from_iterator(texts, 270, show_progress=False, new_special_tokens=["<new>"])
    assert more.additional_special_tokens == ["<new>"]
    assert more("<new>").input_ids == [0, more.convert_tokens_to_ids("<new>"), 2]
    with pytest.raises(ValueError, match="vocab_size 260 is too small: the bytes and special tokens alone need 261"):
        tokenizer.train_new_from_iterator(texts, 260)

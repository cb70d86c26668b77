"""The fast and the pure-Python tokenizer return the same results, and the ids of the `tokenizers` library."""

import json
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Encoding, Tokenizer

from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, TokenizerFast, train_tokenizer
from roberta_core.tokenization.byte_level_bpe import BYTE_TO_CHARACTER, OVERLAP

CORPUS = "The naïve cats' hat isn't 1,024 years old; they'll say “日本語”, and they've said it 3.14 times.\n\n  " * 3
ADDED = [
    AddedToken("naïve", single_word=True),
    AddedToken("[L]", lstrip=True, rstrip=True),
    AddedToken("[LL]", rstrip=True, normalized=False),
    AddedToken("ab"),
    AddedToken("abc", single_word=True, normalized=False),
    AddedToken("\n\n"),
    AddedToken("<a>", special=True, normalized=False),
]
PIECES = [
    *("hello", " world", "\n", "\n\n", "\t", " ", "  ", "é", "日本", "🤗", "👍🏽", "<mask>", "<s>", "</s>", "<unk>"),
    *("'S", "'s", "'ll", "123", "٣", "²", "½", "...", "\xa0", "\u200b", "\u2003", "\u0301", "ﬁ", "\r\n", "\0", "\x1c"),
    *("\ufeff", "न", "ß", "ǅ", "_", "naïve", "[L]", "[LL]", "ab", "abc", "<a>", "<", "mask>", "🇩", "ก", "\U00010d40"),
    *("n't", "ꟋƩ", "ᲊ", "‿"),
]  # fmt: skip
CHARACTERS = st.characters(exclude_categories=["Cs"])
TEXTS = st.lists(st.sampled_from(PIECES) | CHARACTERS, max_size=14).map("".join)


@pytest.fixture(scope="module")
def tokenizers(tmp_path_factory):
    """Return a trained pair of tokenizers, and one with added tokens of every kind."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "corpus.txt").write_text(CORPUS, encoding="utf-8")
    train_tokenizer([folder / "corpus.txt"], 330, folder)
    plain = RobertaTokenizerFast.from_pretrained(folder), RobertaTokenizer.from_pretrained(folder)
    added = RobertaTokenizerFast.from_pretrained(folder), RobertaTokenizer.from_pretrained(folder)
    for tokenizer in added:
        tokenizer.add_tokens(ADDED)
    return plain, added


def call(tokenizer, *texts, **options):
    """Return the columns of a call with the origin of every token, or the message of its refusal."""
    try:
        encoding = tokenizer(*texts, **options)
    except ValueError as error:
        return str(error)
    rows = range(len(encoding.input_ids)) if isinstance((encoding.input_ids or [0])[0], list) else [0]
    return encoding, [(encoding.tokens(row), encoding.word_ids(row), encoding.sequence_ids(row)) for row in rows]


OPTIONS = st.fixed_dictionaries(
    {"return_offsets_mapping": st.booleans(), "return_special_tokens_mask": st.booleans()},
    optional={
        "add_prefix_space": st.booleans(),
        "split_special_tokens": st.booleans(),
        "add_special_tokens": st.booleans(),
        "truncation": st.sampled_from([True, "only_first", "only_second"]),
        "max_length": st.integers(1, 12),
        "stride": st.integers(0, 2),
        "return_overflowing_tokens": st.booleans(),
        "padding": st.sampled_from([True, "max_length"]),
    },
)


@settings(deadline=None, max_examples=300)
@given(TEXTS, st.none() | TEXTS, OPTIONS, st.booleans(), st.booleans(), st.sampled_from([0, 1]))
def test_both_give_the_same_rows_and_refusals(tokenizers, text, pair, options, trim, left, which):
    for tokenizer in tokenizers[which]:
        tokenizer.trim_offsets = trim
        tokenizer.truncation_side = tokenizer.padding_side = "left" if left else "right"
    fast, python = tokenizers[which]
    assert call(fast, text, pair, **options) == call(python, text, pair, **options)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(TEXTS, max_size=4), min_size=1, max_size=3), st.sampled_from([0, 1]))
def test_both_give_the_same_words(tokenizers, words, which):
    fast, python = tokenizers[which]
    options = {"is_split_into_words": True, "return_offsets_mapping": True, "padding": True}
    assert call(fast, words, **options) == call(python, words, **options)


def encode_or_refuse(encode, *arguments, **options):
    """Return the ids, or OVERLAP if the library panics, in which case the tokenizers refuse with that message."""
    try:
        encoding = encode(*arguments, **options)
    except ValueError as error:
        return str(error)
    except BaseException as error:
        if "bad split" not in str(error):
            raise
        return OVERLAP
    return encoding.ids if isinstance(encoding, Encoding) else encoding.input_ids


BYTES = ["<s>", "<pad>", "</s>", "<unk>", *BYTE_TO_CHARACTER.values()]
SMALL_MERGES = [("Ġ", "a"), ("Ġ", "<"), ("e", "1"), ("Ċ", "Ċ"), ("a", "b"), ("ab", "c")]
SMALL = {token: index for index, token in enumerate([*BYTES, *map("".join, SMALL_MERGES), "<mask>"])}
CONTENTS = st.sampled_from(["<e1>", "<e1>x", "e1", "ab", "abc", " b", "\n", "\n\n", "é", "<a b>", "a", "Ġa", " "])
FLAGS = st.fixed_dictionaries(
    {flag: st.booleans() for flag in ("single_word", "lstrip", "rstrip", "normalized", "special")}
)
PARTS = st.sampled_from(
    ["<e1>", "<e1>x", "e1", "ab", "abc", " b", "\n", "\n\n", "é", "<a b>", "a", " ", "\u2003", "John"]
)
MORE_PARTS = st.sampled_from(["John", "<mask>", "<s>", "_", "'s", "1", "\x1c", "x"])
SMALL_TEXTS = st.lists(PARTS | MORE_PARTS, max_size=8).map("".join)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(st.tuples(CONTENTS, FLAGS), max_size=4),
    SMALL_TEXTS,
    st.lists(SMALL_TEXTS, max_size=4),
    *[st.booleans()] * 2,
)
def test_ids_equal_those_of_the_library_with_the_saved_file(added, text, words, prefix, split):
    for kind in (RobertaTokenizerFast, RobertaTokenizer):
        tokenizer = kind(SMALL, SMALL_MERGES, add_prefix_space=prefix)
        tokenizer.add_tokens([AddedToken(content, **flags) for content, flags in added])
        bare = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        bare.encode_special_tokens = split
        options = {"split_special_tokens": split}
        expected = encode_or_refuse(bare.encode, text)
        assert encode_or_refuse(tokenizer, text, **options) == expected
        with_spans = {"return_offsets_mapping": True, **options}
        assert encode_or_refuse(tokenizer, text, **with_spans) == expected
        tokenizer.add_prefix_space = True  # words are always encoded as after a space
        bare = Tokenizer.from_str(tokenizer.backend_tokenizer.to_str())
        bare.encode_special_tokens = split
        options["is_split_into_words"] = True
        expected = encode_or_refuse(bare.encode, words, is_pretokenized=True)
        assert encode_or_refuse(tokenizer, words, **options) == expected


@pytest.mark.parametrize("kind", [RobertaTokenizerFast, RobertaTokenizer])
@pytest.mark.parametrize("options", [{}, {"return_offsets_mapping": True}, {"add_prefix_space": True}])
def test_added_tokens_of_whitespace_that_another_absorbs(kind, options):
    tokenizer = kind(SMALL, SMALL_MERGES)
    tokenizer.add_tokens([AddedToken("\n", lstrip=True, rstrip=True, normalized=False)])
    assert tokenizer("a\n\n", add_special_tokens=False, **options).input_ids[-1:] == [len(SMALL)]
    assert tokenizer("a\n\n", **options).tokens().count("\n") == 1
    tokenizer.add_tokens([AddedToken("\t\t", lstrip=True, normalized=False)])
    with pytest.raises(ValueError, match="inside whitespace that the added token before it absorbs"):
        tokenizer("\n \t\t  a", **options)


@pytest.mark.parametrize("kind", [RobertaTokenizerFast, RobertaTokenizer])
def test_words_that_are_added_tokens_get_no_space(kind, tmp_path):
    tokenizer = kind(SMALL, SMALL_MERGES, add_prefix_space=True)
    tokenizer.add_tokens(["<e1>"], special_tokens=True)
    encoding = tokenizer(["<e1>", "a"], is_split_into_words=True, add_special_tokens=False)
    assert encoding.tokens() == ["<e1>", "Ġa"]
    assert tokenizer.tokenize("<e1>a") == ["<e1>", "Ġa"]
    assert tokenizer.tokenize("a<mask>b") == ["Ġa", "<mask>", "Ġ", "b"]
    assert tokenizer.tokenize("\n x") == ["Ġ", "Ċ", "Ġ", "x"]
    spans = tokenizer("x<mask> b\n", return_offsets_mapping=True, add_special_tokens=False)
    assert spans.tokens() == ["Ġ", "x", "<mask>", "Ġ", "b", "Ċ"]
    assert spans.offset_mapping == [(0, 0), (0, 1), (1, 7), (8, 8), (8, 9), (9, 10)]
    tokenizer.save_pretrained(tmp_path)
    assert (tmp_path / "tokenizer.json").read_text(encoding="utf-8") == tokenizer.backend_tokenizer.to_str()


@pytest.mark.parametrize("kind", [RobertaTokenizerFast, RobertaTokenizer])
def test_merges_are_ignored_for_whole_words_if_the_file_says_so(kind):
    saved = json.loads(RobertaTokenizerFast(SMALL, SMALL_MERGES).backend_tokenizer.to_str())
    saved["model"]["vocab"]["Ġxyz"] = len(SMALL)
    saved["model"]["ignore_merges"] = True
    bare = Tokenizer.from_str(json.dumps(saved))
    tokenizer = kind(tokenizer_file=bare)
    assert tokenizer.tokenize("a xyz") == ["a", "Ġxyz"]
    assert tokenizer("a xyz xyzz").input_ids == bare.encode("a xyz xyzz").ids
    assert json.loads(tokenizer.backend_tokenizer.to_str())["model"]["ignore_merges"]


def test_dropout_of_merges_is_refused_by_the_pure_python_tokenizer():
    saved = json.loads(RobertaTokenizerFast(SMALL, SMALL_MERGES).backend_tokenizer.to_str())
    saved["model"]["dropout"] = 0.5
    bare = Tokenizer.from_str(json.dumps(saved))
    with pytest.raises(ValueError, match=r"BPE dropout 0\.5.*set it to null, or use RobertaTokenizerFast"):
        RobertaTokenizer(tokenizer_file=bare)
    tokenizer = RobertaTokenizerFast(tokenizer_file=bare)
    rows = {tuple(tokenizer("abc " * 20).input_ids) for _ in range(20)}
    assert len(rows) > 1
    encoding = tokenizer("abc " * 20)
    with pytest.raises(ValueError, match="gives other tokens than when this text was encoded"):
        encoding.word_ids()


def test_the_origin_of_tokens_is_refused_after_the_tokenizer_has_changed():
    tokenizer = RobertaTokenizerFast(SMALL, SMALL_MERGES)
    encoding = tokenizer("a xx")
    tokenizer.add_tokens(["xx"])
    with pytest.raises(ValueError, match="gives other tokens than when this text was encoded"):
        encoding.tokens()


@pytest.mark.parametrize("kind", [RobertaTokenizerFast, RobertaTokenizer, "TokenizerFast"])
def test_threads_with_different_options_do_not_disturb_each_other(kind):
    if kind == "TokenizerFast":
        tokenizer = TokenizerFast(RobertaTokenizerFast(SMALL, SMALL_MERGES).backend_tokenizer)
    else:
        tokenizer = kind(SMALL, SMALL_MERGES)
    texts = [f"a<mask>{'ab ' * number}<s>" for number in range(20)]
    spaced = [None] if kind == "TokenizerFast" else [False, True]
    calls = [
        (text, {"split_special_tokens": split, "add_prefix_space": space, "return_offsets_mapping": spans})
        for text in texts
        for split in (False, True)
        for space in spaced
        for spans in (False, True)
    ]
    expected = [tokenizer(text, **options).input_ids for text, options in calls]
    assert expected[0] != expected[2 * len(spaced)]
    with ThreadPoolExecutor(4) as pool:
        for _ in range(3):
            found = pool.map(lambda call: tokenizer(call[0], **call[1]).input_ids, calls * 4, chunksize=1)
            assert list(found) == expected * 4


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 330 + 6), max_size=12), st.booleans(), st.sampled_from(["replace", "ignore", "strict"]))
def test_both_decode_to_the_same_text(tokenizers, ids, skip, errors):
    def decode(tokenizer):
        tokenizer.errors = errors
        try:
            return tokenizer.decode(ids, skip_special_tokens=skip), tokenizer.convert_ids_to_tokens(ids)
        except ValueError as error:
            return str(error)

    fast, python = tokenizers[1]
    assert decode(fast) == decode(python)


@pytest.mark.parametrize(
    "text", ["x" * 60_000, " " * 25_651, "日" * 20_000, "<mask>" * 5_000, "ab" * 10_000 + "\n\n" * 10_000]
)
def test_both_accept_very_long_texts(tokenizers, text):
    fast, python = tokenizers[1]
    assert fast(text) == python(text)


def test_both_refuse_a_lone_surrogate(tokenizers):
    message = call(tokenizers[0][0], "a\udc80")
    assert message == call(tokenizers[0][1], "a\udc80")
    assert "lone surrogate U+DC80" in message


def test_both_write_the_same_files(tokenizers, tmp_path):
    for name, tokenizer in zip(("fast", "python"), tokenizers[1], strict=True):
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        tokenizer.trim_offsets, tokenizer.errors = True, "replace"
        tokenizer.save_pretrained(tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "fast").iterdir())
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "fast" / name).read_bytes() == (tmp_path / "python" / name).read_bytes(), name


def test_a_byte_outside_the_vocabulary_is_the_unknown_token():
    letters = [character for byte, character in BYTE_TO_CHARACTER.items() if byte != ord("z")]
    vocabulary = {token: index for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"])}
    for kind in (RobertaTokenizerFast, RobertaTokenizer):
        assert kind(vocabulary, [])("azz", add_special_tokens=False).input_ids == [vocabulary["a"], 3, 3]
        bare = {token: index for token, index in vocabulary.items() if token != "<unk>"}
        with pytest.raises(ValueError, match="lacks some bytes, and '<unk>'"):
            kind(bare, [])


def test_both_encode_texts_equally_with_the_published_vocabulary(shared):
    folder = shared / "data" / "roberta-base"
    text = shared / "data" / "corpus" / "wikitext2raw" / "wiki.test.raw"
    if not (folder.is_dir() and text.is_file()):
        pytest.skip(f"no published vocabulary or texts in {shared}")
    files = folder / "vocab.json", folder / "merges.txt"
    lines = text.read_text(encoding="utf-8").splitlines()[:1500]
    fast, python = (
        kind(*files)(lines, return_offsets_mapping=True) for kind in (RobertaTokenizerFast, RobertaTokenizer)
    )
    assert fast == python

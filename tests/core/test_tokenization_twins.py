"""The fast and the readable tokenizer give the same answer to everything."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, train_tokenizer
from roberta_core.tokenization.byte_level_bpe import BYTE_TO_CHARACTER

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
def twins(tmp_path_factory):
    """A trained pair, and one with added tokens of every kind."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "corpus.txt").write_text(CORPUS, encoding="utf-8")
    train_tokenizer([folder / "corpus.txt"], 330, folder)
    plain = RobertaTokenizerFast.from_pretrained(folder), RobertaTokenizer.from_pretrained(folder)
    added = RobertaTokenizerFast.from_pretrained(folder), RobertaTokenizer.from_pretrained(folder)
    for tokenizer in added:
        tokenizer.add_tokens(ADDED)
    return plain, added


def answer(tokenizer, *texts, **options):
    """What a call gives: the columns with the origin of every token, or the sentence with which it refuses."""
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
def test_the_twins_give_the_same_rows_and_refusals(twins, text, pair, options, trim, left, which):
    for tokenizer in twins[which]:
        tokenizer.trim_offsets = trim
        tokenizer.truncation_side = tokenizer.padding_side = "left" if left else "right"
    fast, readable = twins[which]
    assert answer(fast, text, pair, **options) == answer(readable, text, pair, **options)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.lists(TEXTS, max_size=4), min_size=1, max_size=3), st.sampled_from([0, 1]))
def test_the_twins_give_the_same_words(twins, words, which):
    fast, readable = twins[which]
    options = {"is_split_into_words": True, "return_offsets_mapping": True, "padding": True}
    assert answer(fast, words, **options) == answer(readable, words, **options)


@settings(deadline=None, max_examples=100)
@given(st.lists(st.integers(0, 330 + 6), max_size=12), st.booleans(), st.sampled_from(["replace", "ignore", "strict"]))
def test_the_twins_decode_alike(twins, ids, skip, errors):
    def decoded(tokenizer):
        tokenizer.errors = errors
        try:
            return tokenizer.decode(ids, skip_special_tokens=skip), tokenizer.convert_ids_to_tokens(ids)
        except ValueError as error:
            return str(error)

    fast, readable = twins[1]
    assert decoded(fast) == decoded(readable)


@pytest.mark.parametrize(
    "text", ["x" * 60_000, " " * 25_651, "日" * 20_000, "<mask>" * 5_000, "ab" * 10_000 + "\n\n" * 10_000]
)
def test_the_twins_take_very_long_texts(twins, text):
    fast, readable = twins[1]
    assert fast(text) == readable(text)


def test_the_twins_refuse_a_lone_surrogate_alike(twins):
    said = answer(twins[0][0], "a\udc80")
    assert said == answer(twins[0][1], "a\udc80")
    assert "lone surrogate U+DC80" in said


def test_the_twins_write_the_same_files(twins, tmp_path):
    for name, tokenizer in zip(("fast", "readable"), twins[1], strict=True):
        tokenizer.padding_side = tokenizer.truncation_side = "right"
        tokenizer.trim_offsets, tokenizer.errors = True, "replace"
        tokenizer.save_pretrained(tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "fast").iterdir())
    assert len(names) == 6
    for name in names:
        assert (tmp_path / "fast" / name).read_bytes() == (tmp_path / "readable" / name).read_bytes(), name


def test_a_byte_that_the_vocabulary_lacks_is_the_unknown_token():
    letters = [character for byte, character in BYTE_TO_CHARACTER.items() if byte != ord("z")]
    vocabulary = {token: index for index, token in enumerate(["<s>", "<pad>", "</s>", "<unk>", *letters, "<mask>"])}
    for kind in (RobertaTokenizerFast, RobertaTokenizer):
        assert kind(vocabulary, [])("azz", add_special_tokens=False).input_ids == [vocabulary["a"], 3, 3]
        bare = {token: index for token, index in vocabulary.items() if token != "<unk>"}
        with pytest.raises(ValueError, match="lacks some bytes, and '<unk>'"):
            kind(bare, [])


def test_the_published_vocabulary_gives_the_twins_the_same_texts(shared):
    folder = shared / "data" / "roberta-base"
    text = shared / "data" / "corpus" / "wikitext2raw" / "wiki.test.raw"
    if not (folder.is_dir() and text.is_file()):
        pytest.skip(f"no published vocabulary or texts in {shared}")
    files = folder / "vocab.json", folder / "merges.txt"
    lines = text.read_text(encoding="utf-8").splitlines()[:1500]
    fast, readable = (
        kind(*files)(lines, return_offsets_mapping=True) for kind in (RobertaTokenizerFast, RobertaTokenizer)
    )
    assert fast == readable

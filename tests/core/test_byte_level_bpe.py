"""Byte-level BPE in pure Python, and its character classes, which equal those of the `tokenizers` library."""

import random

import pytest
from tokenizers import AddedToken

from roberta_core.tokenization import unicode_classes
from roberta_core.tokenization.byte_level_bpe import (
    BYTE_TO_CHARACTER,
    CHARACTER_TO_BYTE,
    WHITESPACE,
    Finder,
    compile_word_pattern,
    merge_pairs,
    select_word_pattern,
    to_byte_letters,
    token_to_bytes,
)


def read_class(name: str) -> set[str]:
    """Return the characters of a class in the table."""
    found = set()
    for block in unicode_classes.FILE.read_text(encoding="ascii").split("\n\n"):
        head, *lines = block.strip().split("\n")
        if head == name:
            for entry in " ".join(lines).split():
                first, *last = entry.split("-")
                found |= {chr(code) for code in range(int(first, 16), int((last or [first])[0], 16) + 1)}
    return found


@pytest.mark.parametrize("name", ["letters", "numbers", "whitespace"])
def test_the_table_matches_the_library(name):
    assert unicode_classes.measure_class(unicode_classes.CLASSES[name]) == read_class(name)


def test_the_table_of_word_characters_matches_the_library():
    words = read_class("words")
    edges = {chr(code + by) for code in map(ord, words) for by in (-1, 1)} - words
    sample = [*random.Random(3).sample(sorted(words), 4000), *edges]
    sample = [character for character in sample if ord(character) not in unicode_classes.SURROGATES]
    assert unicode_classes.measure_word_characters(sample) == words & {*sample}


def test_the_whitespace_matches_the_table():
    assert {*WHITESPACE} == read_class("whitespace")
    assert len(WHITESPACE) == 25


def test_every_byte_has_one_printable_character():
    assert sorted(CHARACTER_TO_BYTE.values()) == list(range(256))
    assert (BYTE_TO_CHARACTER[0x20], BYTE_TO_CHARACTER[0x0A], BYTE_TO_CHARACTER[0x41]) == ("Ġ", "Ċ", "A")
    assert all(character.isprintable() and character not in WHITESPACE for character in CHARACTER_TO_BYTE)
    assert token_to_bytes(to_byte_letters("é 日\n")) == "é 日\n".encode()
    assert token_to_bytes("日") == "日".encode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("It's they'll I'M", ["It", "'s", " they", "'ll", " I", "'", "M"]),
        ("a1b  22\n\n c", ["a", "1", "b", " ", " 22", "\n\n", " c"]),
        ("x \t", ["x", " \t"]),
        ("x \ty", ["x", " ", "\t", "y"]),
        ("¿qué? 3²½ ٣", ["¿", "qué", "?", " 3²½", " ٣"]),
        ("e\u0301\u2003日本", ["e", "\u0301", "\u2003", "日本"]),
        ("a\x1cb", ["a", "\x1c", "b"]),
    ],
)
def test_texts_are_split_into_words_as_published(text, words):
    assert select_word_pattern(text).findall(text) == words


def test_the_short_pattern_splits_like_the_full_pattern():
    generator = random.Random(5)
    for _ in range(300):
        text = "".join(chr(generator.choice([*range(128), 32, 32, 32, 39])) for _ in range(40))
        assert select_word_pattern(text).findall(text) == compile_word_pattern().findall(text)


def test_pairs_are_joined_by_rank_and_then_from_the_left():
    ranks = {pair: rank for rank, pair in enumerate([("b", "c"), ("a", "b"), ("a", "a"), ("aa", "a"), ("aa", "aa")])}
    assert merge_pairs("abc", ranks) == ["a", "bc"]
    assert merge_pairs("abab", ranks) == ["ab", "ab"]
    assert merge_pairs("aaaaa", ranks) == ["aaaa", "a"] or merge_pairs("aaaaa", ranks) == ["aa", "aaa"]
    assert merge_pairs("aaa", ranks) == ["aaa"]
    assert merge_pairs("", ranks) == []


@pytest.mark.parametrize(
    ("token", "text", "parts"),
    [
        ({}, "a[T]b", ["a", "*[T]", "b"]),
        ({"lstrip": True}, "a \n\x1c \u2003[T] b", ["a \n\x1c", "* \u2003[T]", " b"]),
        ({"rstrip": True}, "a [T] \n b", ["a ", "*[T] \n ", "b"]),
        ({"single_word": True}, "[T]a a[T] é[T] [T] _[T] -[T]", ["[T]a a[T] é[T] ", "*[T]", " _[T] -", "*[T]"]),
        ({"lstrip": True, "rstrip": True}, "[T] [T]", ["*[T] ", "*[T]"]),
    ],
)
def test_added_tokens_are_found_with_their_whitespace(token, text, parts):
    found = Finder({9: AddedToken("[T]", **token)}).find_parts(text)
    assert [("*" if index else "") + text[start:stop] for start, stop, index in found] == parts


def test_ignored_special_tokens_still_hide_shorter_tokens_inside_them():
    added = {1: AddedToken("<ab>", special=True, normalized=True), 2: AddedToken("ab")}
    assert Finder(added).find_parts("<ab>ab") == [(0, 4, 1), (4, 6, 2)]
    assert Finder(added, split_special=True).find_parts("<ab>ab") == [(0, 4, None), (4, 6, 2)]


def test_unnormalised_added_tokens_match_first_and_then_the_longest():
    added = {1: AddedToken("ab"), 2: AddedToken("abc"), 3: AddedToken("cd", normalized=False)}
    found = Finder(added).find_parts("abcdabc")
    assert found == [(0, 2, 1), (2, 4, 3), (4, 7, 2)]

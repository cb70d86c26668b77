"""Preparation of the documents of the embedded model: joining wrapped lines, and spacing punctuation like wikitext.

The texts of Project Gutenberg and the PEPs are wrapped at 70 to 79 columns; these lines are joined. In one page of
eight, punctuation is separated by spaces as in wikitext, so that the model sees such text in training.
"""

import re
from collections.abc import Iterator, Sequence

from roberta_core.data.texts import CLOSING, OPENING, find_sentence_ends, split_at

WRAPPED = 50  # a line is joined with the next if it has at least this length and the next begins like running text
WRAP = re.compile(rf"^(\S[^\n]{{{WRAPPED - 1},}})\n(?=\w|{OPENING})", re.MULTILINE)
TITLE = re.compile(
    rf"(?:^|\s|{OPENING})(?:Mrs?|Messrs|Dr|St|Mme?|Mlle|Capt|Col|Gen|Rev|Hon|Prof|No|vs|e\.g|i\.e|[A-Z])\.$"
)  # abbreviations whose full stop does not end a sentence
PAGE = 32  # sentences
SPACED_EVERY = 8  # pages

# Spacing of older tokenisers, which wikitext has: `word , word @-@ word " quoted " .`
SPACED = (
    (re.compile(r"(?<=\d)([,.])(?=\d)"), r" @\1@ "),
    (re.compile(r"(?<=\w)-(?=\w)"), " @-@ "),
    (re.compile(r"(?<=\w)(['’])(?=\w)"), r" \1"),  # noqa: RUF001
    (re.compile(r"(?<!@)([,;:!?]+)(?=\W|$)"), r" \1 "),
    (re.compile(rf"(\.+)(?={CLOSING}*$)"), r" \1 "),
    (re.compile(r"([\"“”()\[\]])"), r" \1 "),
    (re.compile(r" {2,}"), " "),
)


def split_to_train(text: str, document: int) -> list[str]:
    """Split a training document: joins lines, and spaces the punctuation in one page of `SPACED_EVERY`."""
    return list(space_pages(split_to_evaluate(text, document), SPACED_EVERY, document))


def split_to_evaluate(text: str, document: int) -> list[str]:
    """Split a held-out document: joins lines."""
    return split_sentences(join_lines(text))


def join_lines(text: str) -> str:
    """Join wrapped lines; short and indented lines are not changed."""
    return WRAP.sub(r"\1 ", text)


def split_sentences(text: str) -> list[str]:
    """Split a text at the ends of sentences and paragraphs, but not after a title such as `Mr.`."""
    ends, last = [], 0
    for end in find_sentence_ends(text):
        if not TITLE.search(text, max(last, end - 8), end):
            ends.append(end)
            last = end
    return split_at(text, ends)


def space_pages(sentences: Sequence[str], every: int, first: int) -> Iterator[str]:
    """Yield the sentences, with spaced punctuation in one page of `every`; `first` shifts which pages these are."""
    for number, sentence in enumerate(sentences):
        chosen = (number // PAGE + first) % every == 0
        yield space_punctuation(sentence) if chosen else sentence


def space_punctuation(sentence: str) -> str:
    """Separate punctuation by spaces, as in wikitext; code and markup are not changed."""
    body = sentence.strip()
    if "\n" in body or "`" in body:
        return sentence
    leading = sentence[: len(sentence) - len(sentence.lstrip())]
    for pattern, spaced in SPACED:
        body = pattern.sub(spaced, body)
    return leading + body.strip()

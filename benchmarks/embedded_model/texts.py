"""How the documents of the embedded model are read: novels and PEPs wrapped at a column, and pages like wikitext.

The texts of Project Gutenberg and the PEPs wrap at 70 to 79 columns: such lines are joined. One page of eight has its
punctuation set apart by spaces, as wikitext has, so that such text is not all new to the model.
"""

import re
from collections.abc import Iterator, Sequence

from roberta_core.data.texts import CLOSING, OPENING, find_sentence_ends, split_at

WRAPPED = 50  # a line is wrapped, not ended, if it is at least this long and the next begins like running text
WRAP = re.compile(rf"^(\S[^\n]{{{WRAPPED - 1},}})\n(?=\w|{OPENING})", re.MULTILINE)
TITLE = re.compile(
    rf"(?:^|\s|{OPENING})(?:Mrs?|Messrs|Dr|St|Mme?|Mlle|Capt|Col|Gen|Rev|Hon|Prof|No|vs|e\.g|i\.e|[A-Z])\.$"
)  # what ends with a full stop within a sentence
PAGE = 32  # sentences
SPACED_EVERY = 8  # pages

# Text as tokenisers of the statistical age wrote it, and wikitext is: `word , word @-@ word " quoted " .`
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
    """Split a document that is trained on: lines joined, one page of `SPACED_EVERY` with its punctuation set apart."""
    return list(space_pages(split_to_evaluate(text, document), SPACED_EVERY, document))


def split_to_evaluate(text: str, document: int) -> list[str]:
    """Split a document that is held out: lines joined."""
    return split_sentences(join_lines(text))


def join_lines(text: str) -> str:
    """Join the lines that were wrapped at a column; short and indented lines stay."""
    return WRAP.sub(r"\1 ", text)


def split_sentences(text: str) -> list[str]:
    """Split a text where sentences and paragraphs end, but not after a title such as `Mr.`."""
    ends, last = [], 0
    for end in find_sentence_ends(text):
        if not TITLE.search(text, max(last, end - 8), end):
            ends.append(end)
            last = end
    return split_at(text, ends)


def space_pages(sentences: Sequence[str], every: int, first: int) -> Iterator[str]:
    """Yield the sentences, one page of `every` with its punctuation set apart; `first` says which pages these are."""
    for number, sentence in enumerate(sentences):
        chosen = (number // PAGE + first) % every == 0
        yield space_punctuation(sentence) if chosen else sentence


def space_punctuation(sentence: str) -> str:
    """Set punctuation apart by spaces, as in wikitext; leave code and markup alone."""
    body = sentence.strip()
    if "\n" in body or "`" in body:
        return sentence
    leading = sentence[: len(sentence) - len(sentence.lstrip())]
    for pattern, spaced in SPACED:
        body = pattern.sub(spaced, body)
    return leading + body.strip()

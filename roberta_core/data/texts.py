"""Documents as pretraining wants them: found by name, read, their wrapped lines joined, cut into sentences."""

import glob
import itertools
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

# A line is wrapped, not ended, if it is at least this long and the next begins like running text: the texts of Project
# Gutenberg and the PEPs wrap at 70 to 79 columns.
WRAPPED = 50
# Where a sentence may end: at its mark and closing quotes, before blanks and a new beginning; or at an empty line.
# The blanks belong to the sentence that follows, so tokenising sentence by sentence gives the tokens of the whole.
OPENING, CLOSING = "[\"'“‘(\\[]", "[\"'”’)\\]]"  # noqa: RUF001  # the quotes of printed English
WRAP = re.compile(rf"^(\S[^\n]{{{WRAPPED - 1},}})\n(?=\w|{OPENING})", re.MULTILINE)
MARK = re.compile(rf"[.!?…]{CLOSING}{{0,2}}(?=\s+{OPENING}*[A-Z0-9])")
EMPTY_LINE = re.compile(r"\n\s*\n")
TITLE = re.compile(
    rf"(?:^|\s|{OPENING})(?:Mrs?|Messrs|Dr|St|Mme?|Mlle|Capt|Col|Gen|Rev|Hon|Prof|No|vs|e\.g|i\.e|[A-Z])\.$"
)  # what ends with a full stop within a sentence

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


def find(patterns: Iterable[str]) -> list[Path]:
    """The files that patterns name, sorted, each once.

    A pattern is a file, a glob (`**` goes down), or `@FILE`: a list of names, one a line. `ValueError` for a pattern
    that finds nothing.
    """
    found: set[Path] = set()
    for pattern in patterns:
        if pattern.startswith("@"):
            found.update(_listed(Path(pattern[1:])))
            continue
        files = [Path(name) for name in glob.glob(pattern, recursive=True) if Path(name).is_file()]
        if not files:
            raise ValueError(f"no file is called {pattern}")
        found.update(files)
    return sorted(found)


def _listed(path: Path) -> Iterator[Path]:
    """The files of a list; names are taken from the list's own folder."""
    try:
        names = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise ValueError(f"the list {path} cannot be read: {error.strerror}") from None
    for name in filter(None, map(str.strip, names)):
        if not (path.parent / name).is_file():
            raise ValueError(f"{path} lists {name}, which is no file")
        yield path.parent / name


def read(path: Path) -> str:
    """A document's text; `ValueError` if it is not UTF-8."""
    try:
        return path.read_text(encoding="utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8 text: {error.reason} at byte {error.start}") from None


def unwrap(text: str) -> str:
    """The text with the lines that were wrapped at a column joined again; short and indented lines stay."""
    return WRAP.sub(r"\1 ", text)


def sentences(text: str) -> list[str]:
    """The text cut where sentences and paragraphs end: nothing is lost, joining the pieces gives the text."""
    cuts = [0]
    for cut in sorted({found.end() for found in MARK.finditer(text)} | set(_paragraph_ends(text))):
        if not TITLE.search(text, max(cuts[-1], cut - 8), cut):
            cuts.append(cut)
    cuts.append(len(text))
    return [text[start:end] for start, end in itertools.pairwise(cuts) if text[start:end].strip()]


def _paragraph_ends(text: str) -> Iterator[int]:
    """Where paragraphs end: before the blanks of which the empty line is one."""
    for found in EMPTY_LINE.finditer(text):
        cut = found.start()
        while cut and text[cut - 1].isspace():
            cut -= 1
        if cut:
            yield cut


def set_apart(sentence: str) -> str:
    """The sentence with punctuation set apart by spaces, as in wikitext; left alone if it is code or has markup."""
    body = sentence.strip()
    if "\n" in body or "`" in body:
        return sentence
    leading = sentence[: len(sentence) - len(sentence.lstrip())]
    for pattern, spaced in SPACED:
        body = pattern.sub(spaced, body)
    return leading + body.strip()

"""The columns of published data sets that hold the texts of a classification, and the sentence if a row lacks one."""

from collections.abc import Iterable, Sequence

SINGLES = ("text", "sentence", "content")
PAIRS = (
    ("text", "text_pair"), ("sentence1", "sentence2"), ("premise", "hypothesis"), ("question1", "question2"),
    ("question", "sentence"),
)  # fmt: skip


NO_COLUMN = "no column for the field"  # begins the sentence on a field whose columns a row does not have


def describe_missing(field: str, wanted: Sequence[str], columns: Iterable[object]) -> str:
    """Return the sentence on a field without a value.

    Args:
        field: the field.
        wanted: the columns that may hold it.
        columns: the columns of the row.
    """
    *others, last = wanted
    names = f"{', '.join(others)} or {last}" if others else last
    given = list(map(str, columns))
    if present := [name for name in wanted if name in given]:
        return f"no {field}: no value in column {' or '.join(present)}"
    return f"{NO_COLUMN} {field} ({names}); the columns are {', '.join(given) or 'none'}"

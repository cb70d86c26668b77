"""Entities marked by the labels of words, in the schemes IOB1, IOB2, IOBES and BILOU."""

import re
from collections.abc import Iterable, Sequence

OUTSIDE = "O"
BEGINNINGS, ENDS = "BSU", "ESLU"
ENTITY = re.compile(r"[BIESLUM]-.", re.DOTALL)


def marks_entities(labels: Iterable[str]) -> bool:
    """Whether all labels but `O` have the prefix of a scheme."""
    return all(label == OUTSIDE or ENTITY.match(label) for label in labels)


def group_entities(labels: Sequence[str]) -> list[tuple[str, int, int]]:
    """Return the entities of a sentence's labels, as seqeval (and CoNLL's script) finds them.

    A beginning's prefix, a label of another kind, or any label after an end's prefix begins an entity. A label without
    a prefix is an entity of one word.

    Returns:
        Label without prefix, index of the first word, index of the word after the last.
    """
    found: list[tuple[str, int, int]] = []
    before = ""
    for word, label in enumerate(labels):
        prefix, kind = (label[0], label[2:]) if ENTITY.match(label) else ("S", label)
        if label != OUTSIDE:
            continues = found and found[-1][2] == word and found[-1][0] == kind and before not in ENDS
            if continues and prefix not in BEGINNINGS:
                found[-1] = (kind, found[-1][1], word + 1)
            else:
                found.append((kind, word, word + 1))
        before = prefix
    return found

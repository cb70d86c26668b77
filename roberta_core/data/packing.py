"""The input formats of Liu et al. 2019, section 4.2, table 2: how blocks are filled with the text of a corpus.

FULL-SENTENCES, the default: whole sentences in the order of the text. A block may run over the end of a document, whose
separator then stands between the two. DOC-SENTENCES: a block ends with its document. As both are stretches of the
corpus, a block is two numbers: where it starts and where it stops. SEGMENT-PAIR: two segments of several sentences, and
SENTENCE-PAIR: two sentences, of which the second is in half of the blocks not what follows but from another document,
and always where a document ends (next-sentence prediction). There a block is five numbers: both stretches, and 1 if the
second follows the first.

Shapes: B batch, S sequence, C sentences, D documents, K blocks.
"""

from array import array
from collections.abc import Iterator
from itertools import pairwise

import numpy as np

FULL, DOC, SEGMENTS, SENTENCES = FORMATS = ("full-sentences", "doc-sentences", "segment-pair", "sentence-pair")
STRETCH = 64  # batches


def pack(tokens: np.ndarray, sentences: np.ndarray, length: int, separator: int) -> np.ndarray:
    """Return where each block starts and stops in `tokens`: [K, 2], at most `length` - 2 tokens each.

    A sentence that is longer than a block is split. A separator at the end of a block is dropped: the block's own
    `</s>` has the same meaning.

    Args:
        tokens: ids of the corpus.
        sentences: [C + 1] where sentences begin and, last, where the corpus ends.
        length: the most tokens of a block, with `<s>` and `</s>`.
        separator: the id that ends a document.
    """
    if length < 3:
        raise ValueError(f"blocks of {length} tokens have no room for text: <s> and </s> take two")
    room, end = length - 2, int(sentences[-1])
    blocks, start = array("q"), int(sentences[0])
    while start < end:
        full = start + room
        # One more than fits, if that one is a separator: it is dropped.
        reach = full + (full < end and int(tokens[full]) == separator)
        stop = int(sentences[np.searchsorted(sentences, reach, "right") - 1])
        if stop <= start:
            stop = full  # within a sentence that is longer than a block
        kept = stop - (int(tokens[stop - 1]) == separator)
        if kept > start:
            blocks.extend((start, kept))
        start = stop
    return np.frombuffer(blocks, np.int64).reshape(-1, 2) if blocks else np.empty((0, 2), np.int64)


def build_blocks(
    tokens: np.ndarray,
    sentences: np.ndarray,
    documents: np.ndarray,
    length: int,
    separator: int,
    form: str = FULL,
    seed: int = 0,
) -> np.ndarray:
    """Return the blocks of a corpus in one of `FORMATS`: [K, 2], or [K, 5] of pairs, which `seed` draws.

    `documents` [D + 1] is the sentence with which each document begins and, last, where the last one ends. They may be
    some of the documents of a larger corpus.
    """
    if form == FULL:
        return pack(tokens, sentences[documents[0] : documents[-1] + 1], length, separator)
    if form == DOC:
        parts = [pack(tokens, sentences[a : b + 1], length, separator) for a, b in pairwise(documents)]
        return np.concatenate([*parts, np.empty((0, 2), np.int64)])
    if form not in FORMATS:
        raise ValueError(f"the format is {form!r}; expected one of {', '.join(FORMATS)}")
    if len(documents) < 3:
        raise ValueError(f"{form} needs at least two documents: half of the second parts come from another one")
    if length < 6:
        raise ValueError(f"pairs of {length} tokens have no room for text: <s>, </s></s> and </s> take four")
    found = list(_pairs(tokens, sentences, documents, length - 4, separator, form == SENTENCES, seed))
    return np.array(found, np.int64).reshape(-1, 5)


def _pairs(
    tokens: np.ndarray, sentences: np.ndarray, documents: np.ndarray, room: int, separator: int, single: bool, seed: int
) -> Iterator[tuple[int, int, int, int, int]]:
    """Yield pairs of stretches that together have at most `room` tokens; long ones are truncated at their end."""
    generator = np.random.default_rng([seed, room])
    for number, (begin, end) in enumerate(pairwise(documents)):
        place = int(begin)
        while place < end:
            first = _stretch(sentences, place, end, 1 if single else None, room // 2)
            follows = first[1] < end and bool(generator.random() < 0.5)
            if follows:
                second = _stretch(sentences, first[1], end, 1 if single else None, room - room // 2)
            else:
                other = int(generator.integers(len(documents) - 2))
                other += other >= number
                start = int(generator.integers(documents[other], documents[other + 1]))
                second = _stretch(sentences, start, documents[other + 1], 1 if single else None, room - room // 2)
            place = second[1] if follows else first[1]
            pair = [_bounds(tokens, sentences, part, most, separator) for part, most in
                    ((first, room // 2), (second, room - room // 2))]  # fmt: skip
            if all(start < stop for start, stop in pair):
                yield (*pair[0], *pair[1], int(follows))


def _stretch(sentences: np.ndarray, place: int, end: int, count: int | None, room: int) -> tuple[int, int]:
    """Return the sentences from `place` on: `count` of them, or as many as fit into `room` tokens, at least one."""
    if count is not None:
        return place, min(place + count, int(end))
    most = int(np.searchsorted(sentences[: end + 1], sentences[place] + room, "right")) - 1
    return place, max(most, place + 1)


def _bounds(
    tokens: np.ndarray, sentences: np.ndarray, part: tuple[int, int], room: int, separator: int
) -> tuple[int, int]:
    start, stop = int(sentences[part[0]]), int(sentences[part[1]])
    stop -= int(tokens[stop - 1]) == separator
    return start, min(stop, start + room)


def assemble(tokens: np.ndarray, block: np.ndarray, first: int, last: int) -> np.ndarray:
    """Return the ids of a block between `<s>` (`first`) and `</s>` (`last`), a pair with `</s></s>` between, int64."""
    if len(block) == 5:
        a, b = tokens[block[0] : block[1]], tokens[block[2] : block[3]]
        return np.concatenate([[first], a, [last, last], b, [last]]).astype(np.int64)
    start, stop = block
    ids = np.empty(stop - start + 2, np.int64)
    ids[0], ids[1:-1], ids[-1] = first, tokens[start:stop], last
    return ids


def count_tokens(blocks: np.ndarray) -> np.ndarray:
    """Return the number of tokens of each block [K]."""
    found = blocks[:, 1] - blocks[:, 0]
    return found + blocks[:, 3] - blocks[:, 2] if blocks.shape[1] == 5 else found


def shuffle_blocks(lengths: np.ndarray, seed: int, epoch: int, size: int) -> np.ndarray:
    """Return the order of the blocks in an epoch, determined by lengths [K], seed, epoch and batch size.

    The blocks are shuffled; then, within each stretch of `STRETCH` batches, blocks of similar length are grouped and
    the batches shuffled, so that a batch needs hardly any padding.
    """
    generator = np.random.default_rng([seed, epoch])
    shuffled = generator.permutation(len(lengths))
    whole = len(lengths) - len(lengths) % size
    batches = []
    for start in range(0, whole, STRETCH * size):
        stretch = shuffled[start : min(start + STRETCH * size, whole)]
        sorted_ = stretch[np.argsort(lengths[stretch], kind="stable")].reshape(-1, size)
        batches.append(generator.permutation(sorted_).reshape(-1))
    return np.concatenate([*batches, shuffled[whole:]])

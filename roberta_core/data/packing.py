"""FULL-SENTENCES (Liu et al. 2019, section 4.2): blocks are filled with whole sentences in the order of the text.

A block may run over the end of a document, whose separator then stands between the two. As all this is one stretch of
the corpus, a block is two numbers: where it starts and where it stops.

Shapes: B batch, S sequence, C sentences, K blocks.
"""

import numpy as np

STRETCH = 64  # batches


def pack(tokens: np.ndarray, sentences: np.ndarray, length: int, separator: int) -> np.ndarray:
    """Where each block starts and stops in `tokens`: [K, 2], at most `length` - 2 tokens each.

    `sentences` [C + 1] says where sentences begin and, last, where the corpus ends. A sentence that is longer than a
    block is cut. A separator that would end a block is left out: the block's own `</s>` says the same.
    """
    if length < 3:
        raise ValueError(f"blocks of {length} tokens hold none beside <s> and </s>")
    room, end = length - 2, int(sentences[-1])
    blocks, start = [], 0
    while start < end:
        full = start + room
        # One more than fits, if that one is a separator: it is left out.
        reach = full + (full < end and int(tokens[full]) == separator)
        stop = int(sentences[np.searchsorted(sentences, reach, "right") - 1])
        if stop <= start:
            stop = full  # within a sentence that is longer than a block
        kept = stop - (int(tokens[stop - 1]) == separator)
        if kept > start:
            blocks.append((start, kept))
        start = stop
    return np.array(blocks, np.int64).reshape(-1, 2)


def assemble(tokens: np.ndarray, block: np.ndarray, first: int, last: int) -> np.ndarray:
    """The ids of a block between `<s>` (`first`) and `</s>` (`last`), int64."""
    start, stop = block
    ids = np.empty(stop - start + 2, np.int64)
    ids[0], ids[1:-1], ids[-1] = first, tokens[start:stop], last
    return ids


def order(lengths: np.ndarray, seed: int, epoch: int, size: int) -> np.ndarray:
    """The order of the blocks in an epoch, which lengths [K], seed, epoch and batch size determine.

    The blocks are shuffled; then, within each stretch of `STRETCH` batches, blocks of like length are put together
    and the batches shuffled, so that a batch needs hardly any padding.
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

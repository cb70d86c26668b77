"""One implementation in a process of its own, in whatever environment it lives: needs only Python and NumPy.

`python worker.py CONTESTANT.py NAME FOLDER PRECISION DROPOUT` imports the file, calls its `load` with the other
arguments for a function that takes a training step, and then takes one for each line of standard input, [B, S, seed].
It answers in JSON lines on standard output.

Shapes: B batch, S sequence, K masked positions at most.
"""

import importlib.util
import json
import os
import sys
import time

import numpy as np

FIRST_WORD = 4  # below are special tokens, in every vocabulary of RoBERTa
RATE = 0.15  # of tokens that are masked
IGNORED = -100


def inputs(batch, length, vocab_size, seed):
    """Masked ids [B, S] of real tokens, the positions [B, K] that are masked, and the tokens there, -100 where fewer.

    The mask is the vocabulary's last token, and no token is kept or replaced by another.
    """
    generator = np.random.default_rng([seed, batch, length])
    ids = generator.integers(FIRST_WORD, vocab_size - 1, (batch, length))
    ids[:, 0], ids[:, -1] = 0, 2
    most = int(RATE * length + 1)
    positions, labels = np.zeros((batch, most), np.int64), np.full((batch, most), IGNORED)
    for row in range(batch):
        chosen = np.sort(generator.choice(length, int(RATE * length + generator.random()), replace=False))
        positions[row, : len(chosen)], labels[row, : len(chosen)] = chosen, ids[row, chosen]
        ids[row, chosen] = vocab_size - 1
    return ids, positions, labels


def peak():
    """The most memory that the process has held, in MiB; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return 0


def main(path, name, folder, precision, dropout):
    """Load, say which version, then take a step for each line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    with open(os.path.join(folder, "config.json")) as file:
        vocab_size = json.load(file)["vocab_size"]
    specification = importlib.util.spec_from_file_location("contestant", path)
    contestant = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(contestant)
    step = contestant.load(name, folder, precision, float(dropout))
    print(json.dumps({"version": contestant.version(name)}), file=answers)
    for line in sys.stdin:
        given = inputs(*json.loads(line)[:2], vocab_size, json.loads(line)[2])
        begin = time.perf_counter()
        loss = step(*given)
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "loss": loss, "peak": peak()}), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])

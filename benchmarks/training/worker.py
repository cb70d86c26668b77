"""Run one implementation in a separate process and environment, which needs only Python and NumPy.

`python worker.py CONTESTANT.py NAME FOLDER PRECISION DROPOUT` imports the file and calls its `load` with the other
arguments, or its `load_classifier` if FOLDER is a classifier's. Both return a function that runs a training step. The
function runs once for each line of standard input, [B, S, seed] or [lengths of B sentences, seed]; the answers are JSON
lines on standard output.

Shapes: B batch, S sequence, K maximum number of masked positions per row.
"""

import importlib.util
import json
import os
import sys
import time

import numpy as np

FIRST_WORD = 4  # smaller ids are special tokens in every RoBERTa vocabulary
RATE = 0.15  # share of tokens that are masked
IGNORED = -100


def make_inputs(batch, length, vocab_size, seed):
    """Return random ids [B, S] with masked tokens, and the masked positions and their labels, both [B, K].

    Labels are -100 in rows with fewer than K masked positions. The mask is the vocabulary's last token. Unlike in
    pretraining, no chosen token is kept or replaced by a random one.
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


def make_sentences(lengths, vocab_size, seed, multiple):
    """Return random ids [B, S] of such lengths, padded to a multiple with 1, their mask, and labels [B] of 0 and 1."""
    generator = np.random.default_rng([seed, len(lengths)])
    labels = generator.integers(0, 2, len(lengths))
    width = -(-max(lengths) // multiple) * multiple
    ids = np.ones((len(lengths), width), np.int64)
    for row, length in zip(ids, lengths, strict=True):
        row[:length] = [0, *generator.integers(FIRST_WORD, vocab_size - 1, length - 1)]
    mask = np.arange(width) < np.array(lengths)[:, None]
    return ids, mask.astype(np.int64), labels


def measure_peak():
    """Return the peak memory of the process in MiB, or 0 if the system does not report it."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return 0


def main(path, name, folder, precision, dropout):
    """Load, report the version, then run a step for each line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    with open(os.path.join(folder, "config.json")) as file:
        config = json.load(file)
    classifies = "Classification" in config.get("architectures", [""])[0]
    specification = importlib.util.spec_from_file_location("contestant", path)
    contestant = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(contestant)
    load = contestant.load_classifier if classifies else contestant.load
    step = load(name, folder, precision, float(dropout))
    print(json.dumps({"version": contestant.version(name)}), file=answers)
    for line in sys.stdin:
        *sizes, seed = json.loads(line)
        if classifies:
            given = make_sentences(*sizes, config["vocab_size"], seed, contestant.MULTIPLE)
        else:
            given = make_inputs(*sizes, config["vocab_size"], seed)
        begin = time.perf_counter()
        loss = step(*given)
        seconds = time.perf_counter() - begin
        print(json.dumps({"seconds": seconds, "loss": loss, "peak": measure_peak()}), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])

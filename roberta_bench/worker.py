"""One implementation in a process of its own, in whatever environment it lives: needs only Python and NumPy.

`python worker.py CONTESTANT.py NAME FOLDER` imports the file, calls its `begin(name)`, which imports what it needs, and
its `load(name, folder)` for a function of ids and mask [B, S]; that runs once for each line of standard input. It
answers in JSON lines on standard output.
"""

import importlib.util
import json
import os
import sys
import time

import numpy as np

SAMPLE = 64  # numbers that are compared among the implementations: of the last word, for </s> is alike in all inputs
FIRST_WORD = 4  # below are special tokens, in every vocabulary of RoBERTa


def inputs(batch: int, length: int, vocab_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Ids [B, S] of real tokens only, between <s> and </s>, and the mask of ones."""
    ids = np.random.default_rng([seed, batch, length]).integers(FIRST_WORD, vocab_size, (batch, length))
    ids[:, 0], ids[:, -1] = 0, 2
    return ids, np.ones_like(ids)


def peak() -> int:
    """The most memory that the process has held, in MiB; 0 where the system does not say."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return 0


def main(path: str, name: str, folder: str) -> None:
    """Import, load, say how long each took, then answer each line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is no answer
    with open(os.path.join(folder, "config.json")) as file:
        vocab_size = json.load(file)["vocab_size"]
    begin = time.perf_counter()
    specification = importlib.util.spec_from_file_location("contestant", path)
    contestant = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(contestant)
    contestant.begin(name)
    imported = time.perf_counter()
    run = contestant.load(name, folder)
    loaded = time.perf_counter()
    said = {"version": contestant.version(name), "imports": imported - begin, "load": loaded - imported}
    print(json.dumps(said), file=answers)
    for line in sys.stdin:
        given = inputs(*json.loads(line)["shape"], vocab_size, json.loads(line)["seed"])
        begin = time.perf_counter()
        states = run(*given)
        seconds = time.perf_counter() - begin
        sample = None if states is None else np.asarray(states, np.float64)[-1, -2, :SAMPLE].tolist()
        print(json.dumps({"seconds": seconds, "sample": sample, "peak": peak()}), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])

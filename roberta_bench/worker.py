"""Run one implementation in a separate process and environment, which needs only Python and NumPy.

`python worker.py CONTESTANT.py NAME FOLDER` imports the file and calls its `import_libraries(name)` and its
`load(name, folder)`, which returns a function of ids and mask [B, S]. The function runs once for each line of
standard input; the answers are JSON lines on standard output.
"""

import importlib.util
import json
import os
import sys
import time

import numpy as np

SAMPLE = 64  # values that are compared between implementations: of the last word, since </s> is the same in all inputs
FIRST_WORD = 4  # smaller ids are special tokens in every RoBERTa vocabulary


def make_inputs(batch: int, length: int, vocab_size: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return ids [B, S] without padding, between <s> and </s>, and a mask of ones."""
    ids = np.random.default_rng([seed, batch, length]).integers(FIRST_WORD, vocab_size, (batch, length))
    ids[:, 0], ids[:, -1] = 0, 2
    return ids, np.ones_like(ids)


def measure_peak() -> int:
    """Return the peak memory of the process in MiB, or 0 if the system does not report it."""
    try:
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) // 1024 for line in file if line.startswith("VmHWM"))
    except OSError:
        return 0


def main(path: str, name: str, folder: str) -> None:
    """Import, load, report the time of each, then answer every line."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what libraries print is not an answer
    with open(os.path.join(folder, "config.json")) as file:
        vocab_size = json.load(file)["vocab_size"]
    begin = time.perf_counter()
    specification = importlib.util.spec_from_file_location("contestant", path)
    contestant = importlib.util.module_from_spec(specification)
    specification.loader.exec_module(contestant)
    contestant.import_libraries(name)
    imported = time.perf_counter()
    run = contestant.load(name, folder)
    loaded = time.perf_counter()
    facts = {"version": contestant.version(name), "imports": imported - begin, "load": loaded - imported}
    print(json.dumps(facts), file=answers)
    for line in sys.stdin:
        given = make_inputs(*json.loads(line)["shape"], vocab_size, json.loads(line)["seed"])
        begin = time.perf_counter()
        states = run(*given)
        seconds = time.perf_counter() - begin
        sample = None if states is None else np.asarray(states, np.float64)[-1, -2, :SAMPLE].tolist()
        print(json.dumps({"seconds": seconds, "sample": sample, "peak": measure_peak()}), file=answers)


if __name__ == "__main__":
    main(*sys.argv[1:])

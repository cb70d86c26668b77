"""Feed mutated files to every reader of checkpoints: `python tests/core/fuzz_checkpoints.py --inputs 100000`.

A file is a good one with a few bytes set, inserted, removed, copied or cut off. Whatever comes, a reader gives arrays
that lie in the file or raises `CheckpointError`; anything else, a second without an answer and memory that grows are
findings. They are written to a folder, and the exit status is 1. Not a test: it takes minutes.
"""

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, bin_file, formats
from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters

SLOW = 5  # seconds; ordinary files take milliseconds
INTERESTING = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"..", b"/", b'"', b"9" * 12]


def good_files(folder):
    """The good files by reader, made by ourselves: each format, and the older stream if torch is there."""
    config = RobertaConfig(
        vocab_size=11, hidden_size=4, num_attention_heads=2, intermediate_size=6, num_hidden_layers=1,
        max_position_embeddings=9, layer_norm_eps=1e-5, type_vocab_size=1,
    )  # fmt: skip
    tensors = {name: np.ones(row.shape, np.float32) for name, row in parameters(config, "ForMaskedLM").items()}
    found = []
    for row in formats.FORMATS:
        place = folder / row.name
        checkpoints.save(place, config, "ForMaskedLM", tensors, format=row.name)
        found.append((row.name, row.file, row.read, (place / row.file).read_bytes()))
    try:
        import torch
    except ImportError:
        return found
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    torch.save(state, folder / "stream", _use_new_zipfile_serialization=False)
    return [*found, ("bin, old stream", bin_file.FILE, bin_file.read, (folder / "stream").read_bytes())]


def mutated(content, chance):
    """One to six changes, most of them near the beginning, where the structure is."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 6)):
        at = chance.randrange(min(len(content), chance.choice([64, 1024, 8192, 1 << 30]))) if content else 0
        kind = chance.randrange(6)
        piece = chance.choice([chance.randbytes(chance.randint(1, 8)), chance.choice(INTERESTING)])
        if kind <= 1:
            content[at : at + len(piece)] = piece
        elif kind == 2:
            content[at:at] = piece
        elif kind == 3:
            del content[at : at + chance.randint(1, 16)]
        elif kind == 4:
            other = chance.randrange(len(content) + 1)
            content[at:at] = content[other : other + chance.randint(1, 64)]
        elif chance.random() < 0.2:
            del content[at:]
    return bytes(content)


def one(read, folder):
    """Read a folder to the end; "read" or "refused"."""
    try:
        tensors = read(folder)
        for name in tensors:
            tensors[name].sum()
    except CheckpointError as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise ValueError("the refusal is not one short sentence") from error
        return "refused"
    return "read"


def too_slow(*_):
    raise TimeoutError(f"more than {SLOW} seconds")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    options = options.parse_args()
    chance, start, findings = random.Random(options.seed), time.perf_counter(), 0
    counts = {}
    signal.signal(signal.SIGALRM, too_slow)
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        files = good_files(Path(folder))
        for number in range(options.inputs):
            name, file, read, content = files[number % len(files)]
            place = Path(folder) / "input"
            place.mkdir(exist_ok=True)
            (place / file).write_bytes(mutated(content, chance))
            signal.alarm(SLOW)
            try:
                outcome = one(read, place)
            except BaseException as error:
                outcome, findings = type(error).__name__, findings + 1
                options.findings.mkdir(exist_ok=True)
                (options.findings / f"{number}-{outcome}-{file}").write_bytes((place / file).read_bytes())
                if isinstance(error, KeyboardInterrupt):
                    raise
            finally:
                signal.alarm(0)
                (place / file).unlink()
            counts[name, outcome] = counts.get((name, outcome), 0) + 1
    for (name, outcome), count in sorted(counts.items()):
        print(f"{name:18} {outcome:12} {count:8,}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{options.inputs:,} inputs, {findings} findings, {peak} MB at most, {time.perf_counter() - start:.0f} s")
    sys.exit(bool(findings))


if __name__ == "__main__":
    main()

"""Feed mutated files to every reader of checkpoints: `python tests/core/fuzz_checkpoints.py --inputs 100000`.

A mutated file is a valid one in which a few bytes are set, inserted, removed, copied or truncated. A reader must return
arrays inside the file or raise `CheckpointError` (for config.json `ValueError` or `TypeError`); anything else is a
crash, and a few seconds of CPU time without a result are a hang. Both are written to a folder; the exit status is
then 1. The last line has the totals. Not a test: it takes minutes.
"""

import argparse
import random
import resource
import signal
import sys
import tempfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, bin_file, conversion, fairseq_file, formats, safetensors_file
from roberta_core.checkpoints.shards import index_name
from roberta_core.config import CONFIG_NAME, RobertaConfig
from roberta_core.parameters import parameters

SLOW = 5.0  # seconds of CPU time, so a suspended machine is not a hang; usual files take milliseconds
INTERESTING = [b"\0", b"\xff", b"\x7f", b"\x80", b"\xff" * 4, b"\xff" * 8, b"\0" * 8, b"..", b"/", b'"', b"9" * 12]


def build_files(folder):
    """Return (description, folder, file to mutate, function that reads it) for each format, index and configuration.

    Includes the older stream format of torch if torch is installed.
    """
    config = RobertaConfig(
        vocab_size=11, hidden_size=4, num_attention_heads=2, intermediate_size=6, num_hidden_layers=1,
        max_position_embeddings=9, layer_norm_eps=1e-5, type_vocab_size=1,
    )  # fmt: skip
    tensors = {name: np.ones(row.shape, np.float32) for name, row in parameters(config, "ForMaskedLM").items()}
    found = []
    for row in formats.FORMATS:
        checkpoints.save(folder / row.name, config, "ForMaskedLM", tensors, format=row.name)
        found.append((row.name, folder / row.name, row.file, lambda place, read=row.read: touch_values(read(place))))
    shards = folder / "shards"
    checkpoints.save(shards, config, "ForMaskedLM", tensors, max_shard_size="1KB")
    found.append(
        ("index", shards, index_name(safetensors_file.FILE), lambda place: touch_values(safetensors_file.read(place)))
    )
    found.append(("fairseq, settings", folder / "fairseq", fairseq_file.FILE, fairseq_file.read_config))
    found.append(("config.json", folder / "safetensors", CONFIG_NAME, RobertaConfig.from_pretrained))
    whole = folder / "whole"
    checkpoints.save(whole, config, "ForMaskedLM", tensors, format="bin")
    found.append(
        ("bin, as a model", whole, bin_file.FILE, lambda place: touch_values(conversion.open_checkpoint(place).tensors))
    )
    try:
        import torch
    except ImportError:
        return found
    state = {name: torch.from_numpy(array) for name, array in tensors.items()}
    (folder / "stream").mkdir()
    torch.save(state, folder / "stream" / bin_file.FILE, _use_new_zipfile_serialization=False)
    return [
        *found,
        ("bin, old stream", folder / "stream", bin_file.FILE, lambda place: touch_values(bin_file.read(place))),
    ]


def touch_values(tensors):
    """Touch every value."""
    for name in tensors:
        tensors[name].sum()


def mutate(content, chance):
    """Make one to six changes, most of them near the beginning, where the structure is."""
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


def read_once(file, read, folder):
    """Read a folder completely; return "read" or "refused"."""
    refusals = (CheckpointError, ValueError, TypeError) if file == CONFIG_NAME else (CheckpointError,)
    try:
        read(folder)
    except refusals as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise RuntimeError("the refusal is not one short sentence") from error
        return "refused"
    return "read"


def replace(path, content):
    """Delete and write a file, because some file systems sync a file that is overwritten."""
    path.unlink()
    path.write_bytes(content)


def measure_anonymous():
    """Return the megabytes of memory that are not mapped files, or None without /proc."""
    try:
        text = Path("/proc/self/status").read_text()
    except OSError:
        return None
    return next(int(line.split()[1]) // 1024 for line in text.splitlines() if line.startswith("RssAnon"))


class Hang(BaseException):
    """Raised after too much CPU time; no reader catches it, because it is not an `Exception`."""


def raise_hang(*_):
    raise Hang(f"more than {SLOW} seconds of CPU time")


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--inputs", type=int, default=100_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    options = options.parse_args()
    chance, start, peak = random.Random(options.seed), time.perf_counter(), 0
    counts = Counter()
    signal.signal(signal.SIGPROF, raise_hang)
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory() as folder, np.errstate(all="ignore"):
        files = [(*row, (row[1] / row[2]).read_bytes()) for row in build_files(Path(folder))]
        for number in range(options.inputs):
            name, place, file, read, content = files[number % len(files)]
            replace(place / file, mutate(content, chance))
            signal.setitimer(signal.ITIMER_PROF, SLOW)
            try:
                outcome = read_once(file, read, place)
            except Hang:
                outcome = "hang"
            except Exception as error:
                outcome = f"crash: {type(error).__name__}"
            finally:
                signal.setitimer(signal.ITIMER_PROF, 0)
            if outcome not in ("read", "refused"):
                options.findings.mkdir(exist_ok=True)
                (options.findings / f"{number}-{file}").write_bytes((place / file).read_bytes())
            replace(place / file, content)
            counts[name, outcome] += 1
            peak = max(peak, measure_anonymous() or 0) if number % 100 == 0 else peak
    for (name, outcome), count in sorted(counts.items()):
        print(f"{name:18} {outcome:20} {count:8,}")
    crashes = sum(count for (_, outcome), count in counts.items() if outcome.startswith("crash"))
    hangs = sum(count for (_, outcome), count in counts.items() if outcome == "hang")
    whole = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(
        f"{options.inputs:,} inputs, {crashes} crashes, {hangs} hangs, at most {peak} MB of anonymous memory "
        f"({whole} MB with mapped files and libraries), {time.perf_counter() - start:.0f} s"
    )
    sys.exit(bool(crashes or hangs))


if __name__ == "__main__":
    main()

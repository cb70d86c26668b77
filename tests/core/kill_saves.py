"""Kill saves at random moments and look at what is left: `python tests/core/kill_saves.py --kills 200`.

Each save runs in a process of its own, which is killed (SIGKILL); half of them go into a new folder, half over an old
checkpoint, in every format. Afterwards a reader must get nothing at all (where nothing was), the old checkpoint or the
new one, bit for bit, or the sentence that a save was cut off, and then the new one from `finish`. Anything else, and
one file of each mixed together above all, is a finding; the exit status is 1. Also fills a small disk, where one can be
mounted. Not a test: those kill at every step, and fewer times.
"""

import argparse
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, conversion
from roberta_core.checkpoints.formats import FORMATS
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw

SIZES = {"vocab_size": 3001, "hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 80,
         "max_position_embeddings": 39, "type_vocab_size": 1}  # fmt: skip
SHARD = {"old": "300KB", "new": "300KB"}
RIGHT = {
    "new folder": {"nothing", "new", "between, then new"},
    "over an old one": {"old", "new", "between, then new"},
}


def made(name):
    """One of the two checkpoints: its configuration and tensors."""
    number = ("old", "new").index(name)
    config = RobertaConfig(num_hidden_layers=2 + number, hidden_dropout_prob=number / 10, layer_norm_eps=1e-5, **SIZES)
    return config, dict(draw(config, "ForMaskedLM", seed=number))


CASES = {name: made(name) for name in SHARD}


def save(folder, name, format):
    config, tensors = CASES[name]
    checkpoints.save(folder, config, "ForMaskedLM", tensors, format=format, max_shard_size=SHARD[name])


def found(folder):
    """Which checkpoint a reader gets: old, new, nothing or mixed."""
    if not folder.is_dir() or not [name for name in os.listdir(folder) if not name.endswith(".saving")]:
        return "nothing"
    opened = conversion.open_checkpoint(folder)
    for name, (config, tensors) in CASES.items():
        same = opened.config.hidden_dropout_prob == config.hidden_dropout_prob and set(opened.tensors) == set(tensors)
        if same and all(opened.tensors[key].tobytes() == tensors[key].tobytes() for key in tensors):
            return name
    return "mixed"


def outcome(folder):
    """As `found`; where the reader says that a save was cut off, what `finish` makes of it."""
    try:
        return found(folder)
    except CheckpointError as error:
        if "between two checkpoints" not in str(error):
            return f"refused: {error}"
    checkpoints.finish(folder)
    return f"between, then {found(folder)}"


def started(work):
    """A process that works and ends."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def kill(folder, format, moment):
    """Save the new checkpoint and kill it after `moment` seconds; whether it was still at work, and what is left."""
    pid = started(lambda: save(folder, "new", format))
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    left = outcome(folder)
    save(folder, "old", format)  # what is left does not stand in the way of the next save
    return killed, left if found(folder) == "old" else f"{left}, and the next save fails"


def full_disk():
    """Return what is reported and what is left when the disk is full; None if no disk can be mounted."""
    with tempfile.TemporaryDirectory() as place:
        command = ["mount", "-t", "tmpfs", "-o", "size=1500k", "tmpfs", place]
        if subprocess.run(command, capture_output=True).returncode:
            return None
        try:
            folder = Path(place) / "model"
            save(folder, "old", "safetensors")
            try:
                save(folder, "new", "safetensors")
            except CheckpointError as error:
                return str(error).replace(place, "DISK"), found(folder)
            return "nothing", found(folder)
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--kills", type=int, default=200)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--folder", type=Path, help="where to save; otherwise a temporary folder")
    options = options.parse_args()
    chance, counts, at_work, start = random.Random(options.seed), Counter(), 0, time.perf_counter()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        durations = {}
        for row in FORMATS:
            begin = time.perf_counter()
            save(Path(place) / f"old-{row.name}", "old", row.name)
            durations[row.name] = time.perf_counter() - begin
        number = 0
        while at_work < options.kills:
            row, kind = FORMATS[number % len(FORMATS)], list(RIGHT)[number // len(FORMATS) % 2]
            folder = Path(place) / (f"new-{number}" if kind == "new folder" else f"old-{row.name}")
            killed, left = kill(folder, row.name, chance.uniform(0, 1.2 * durations[row.name]))
            number, at_work = number + 1, at_work + killed
            counts[kind, left if killed else f"{left} (it had ended)"] += 1
    wrong = 0
    for (kind, left), count in sorted(counts.items()):
        right = left.removesuffix(" (it had ended)") in RIGHT[kind]
        wrong += 0 if right else count
        print(f"{kind:16} {left:24} {count:5}{'' if right else '  WRONG'}")
    disk = full_disk()
    print("full disk: none could be mounted" if disk is None else f"full disk: {disk[0]}; left is {disk[1]}")
    wrong += disk is not None and not ("No space left" in disk[0] and disk[1] == "old")
    print(f"{at_work} kills in {number} saves, {wrong} wrong, {time.perf_counter() - start:.0f} s")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

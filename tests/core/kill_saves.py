"""Kill saves at random moments and examine what is left: `python tests/core/kill_saves.py --kills 500`.

Every writer is tested: checkpoints in each format, config.json, tokenizers, conversion, models with the tokenizer of
their source, fine-tuned models, training checkpoints, small JSON files, prepared corpora and new folders. Each save
runs in a separate process, which is killed (SIGKILL); half of them write into a new folder, half over an old save.
Afterwards a reader must get nothing (only if nothing was there), the old save or the new one, bit for bit, or the
sentence that a save was interrupted, and then the new one from `finish`. Anything else is a finding; the exit status is
then 1. Also fills a small disk, if one can be mounted. Not a test: that kills fewer times.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import numpy as np

from roberta_core import RobertaTokenizerFast, checkpoints, load_tokenizer
from roberta_core.checkpoints import CheckpointError, conversion
from roberta_core.checkpoints.formats import FORMATS
from roberta_core.config import RobertaConfig
from roberta_core.data import corpus
from roberta_core.parameters import draw
from roberta_core.pretrained import PreTrainedBase
from roberta_core.sentences.folders import save_new_folder
from roberta_core.tasks.settings import TaskSettings
from roberta_core.training import finetune_run, training_checkpoint

SIZES = {"vocab_size": 3001, "hidden_size": 48, "num_attention_heads": 3, "intermediate_size": 80,
         "max_position_embeddings": 39, "type_vocab_size": 1}  # fmt: skip
SHARD = "300KB"
NAMES = ("old", "new")
NEW, OVER = "new folder", "over an old one"
RIGHT = {NEW: {"nothing", "new", "between, then new"}, OVER: {"old", "new", "between, then new"}}
SOURCES = Path(
    tempfile.gettempdir(), f"kill-saves-{os.getpid()}"
)  # the two checkpoints, for writers that read from a folder


class Model(PreTrainedBase):
    """A model without a framework: only its configuration and tensors."""

    architecture = "ForMaskedLM"

    def __init__(self, name):
        self.config, self.tensors = CASES[name][:2]
        self._folder = SOURCES / "old"

    def _get_tensors(self):
        return self.tensors

    has_pooler = False  # pyright: ignore
    _other_format = "bin"

    def _list_parameters(self):
        return {}


def make(number):
    """Return one of the two checkpoints: its configuration, tensors and tokenizer."""
    config = RobertaConfig(num_hidden_layers=2 + number, hidden_dropout_prob=number / 10, layer_norm_eps=1e-5, **SIZES)
    tokenizer = RobertaTokenizerFast.from_pretrained(checkpoints.resolve("roberta-tiny"), model_max_length=20 + number)
    tokenizer.add_tokens([f"<{NAMES[number]}>"])
    return config, dict(draw(config, "ForMaskedLM", seed=number)), tokenizer


CASES = {name: make(number) for number, name in enumerate(NAMES)}


def read_files(name):
    return {path.name: path.read_bytes() for path in (SOURCES / name).iterdir() if path.suffix in (".json", ".txt")}


def save_checkpoint(folder, name, format="safetensors"):
    config, tensors, _ = CASES[name]
    carried = {key: value for key, value in read_files(name).items() if key != "config.json"}
    checkpoints.save(folder, config, "ForMaskedLM", tensors, format=format, max_shard_size=SHARD, carried=carried)


def save_finetuned(folder, name):
    task = SimpleNamespace(name=name, settings=TaskSettings(), architecture="ForMaskedLM")
    finetune_run.save(folder, SimpleNamespace(tensors=lambda model: model.tensors), Model(name), task, SOURCES / "old")


def save_training(folder, name):
    config, tensors, _ = CASES[name]
    state = training_checkpoint.State(tensors, tensors, tensors, NAMES.index(name) + 1)
    training_checkpoint.save(folder, state, config.to_dict(), {"name": name})
    if name == "old":  # over the new one, which is newer
        shutil.rmtree(training_checkpoint.locate(folder, 2), ignore_errors=True)


def save_json(folder, name):
    folder.mkdir(exist_ok=True)
    training_checkpoint.write_json(folder / "result.json", {"name": name, "numbers": [*range(100_000)]})


def save_corpus(folder, name):
    texts = SOURCES / f"{name}.txt"
    texts.write_text("".join(f"{name} {number} {'word ' * (number % 30)}\n\n" for number in range(2000)))
    corpus.build(folder, [texts], checkpoints.resolve("roberta-tiny"), 2)


def save_folder(folder, name):
    save_new_folder(folder, lambda place: save_checkpoint(place, name))


def find_checkpoint(folder, tokenizer=None):
    """Return which checkpoint a reader gets; its tokenizer must be the same one, or the given one."""
    opened = conversion.open_checkpoint(folder)
    for name, (config, tensors, _) in CASES.items():
        same = opened.config.hidden_dropout_prob == config.hidden_dropout_prob and set(opened.tensors) == set(tensors)
        if same and all(opened.tensors[key].tobytes() == tensors[key].tobytes() for key in tensors):
            return name if find_tokenizer(folder) == (tokenizer or name) else "mixed"
    return "mixed"


def find_config(folder):
    found = RobertaConfig.from_pretrained(folder)
    return next((name for name, case in CASES.items() if case[0].num_hidden_layers == found.num_hidden_layers), "mixed")


def find_tokenizer(folder):
    found = load_tokenizer(folder)
    for number, name in enumerate(NAMES):
        if found.model_max_length == 20 + number and found.get_added_vocab().keys() >= {f"<{name}>"}:
            return name
    return "mixed"


def find_finetuned(folder):
    name = find_checkpoint(folder, "old")
    return name if json.loads((folder / finetune_run.TASK).read_text())["task"] == name else "mixed"


def find_training(folder):
    newest = training_checkpoint.find_newest(folder)
    if newest is None:
        return "nothing"
    state, notes = training_checkpoint.load(newest)
    want = CASES[notes["name"]][1]
    parts = (state.tensors, state.first_moments, state.second_moments)
    same = all(part.keys() == want.keys() and all((part[key] == want[key]).all() for key in want) for part in parts)
    return notes["name"] if same and state.steps == NAMES.index(notes["name"]) + 1 else "mixed"


def find_corpus(folder):
    """Return which corpus has a manifest, so that it is opened; without one it is built again."""
    if not corpus.summarize(folder):
        return "nothing"
    tokens = np.load(folder / "tokens.npy", mmap_mode="r")
    text = load_tokenizer("roberta-tiny").decode(tokens[:5].tolist())
    return next((name for name in NAMES if name in text), "mixed") if tokens[-1] == 2 else "mixed"


class Writer(NamedTuple):
    """What saves "old" or "new" into a folder, what tells which one a reader gets, and where it writes."""

    save: Callable[[Path, str], object]
    find: Callable[[Path], str]
    kinds: tuple[str, ...] = (NEW, OVER)
    more: frozenset[str] = frozenset()  # what else may be left


WRITERS = {
    **{row.name: Writer(lambda folder, name, format=row.name: save_checkpoint(folder, name, format), find_checkpoint)
       for row in FORMATS},
    "config": Writer(lambda folder, name: CASES[name][0].save_pretrained(folder), find_config),
    "tokenizer": Writer(lambda folder, name: CASES[name][2].save_pretrained(folder), find_tokenizer),
    "old tokenizer": Writer(lambda folder, name: CASES[name][2].save_pretrained(folder, True), find_tokenizer),
    "conversion": Writer(lambda folder, name: conversion.convert(SOURCES / name, folder, "bin"), find_checkpoint),
    "model": Writer(lambda folder, name: Model(name).save_pretrained(folder), lambda at: find_checkpoint(at, "old")),
    "fine-tuned": Writer(save_finetuned, find_finetuned),
    "training": Writer(save_training, find_training),
    "json": Writer(save_json, lambda folder: json.loads((folder / "result.json").read_text())["name"]),
    "corpus": Writer(save_corpus, find_corpus, more=frozenset({"nothing"})),  # it is built again
    "folder": Writer(save_folder, find_checkpoint, (NEW,)),
}  # fmt: skip


def examine(writer, folder):
    """Return what a reader gets; if the reader reports an interrupted save, what it gets after `finish`."""
    hidden = (".saving", training_checkpoint.UNFINISHED)
    names = os.listdir(folder) if folder.is_dir() else []
    if not [name for name in names if not (name.startswith(".") or name.endswith(hidden))]:
        return "nothing"
    try:
        return writer.find(folder)
    except CheckpointError as error:
        if "between two checkpoints" not in str(error):
            return f"refused: {error}"
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    checkpoints.finish(folder)
    return f"between, then {writer.find(folder)}"


def start(work):
    """Fork a process that works and ends."""
    pid = os.fork()
    if not pid:
        try:
            work()
        finally:
            os._exit(0)
    return pid


def kill(writer, folder, moment):
    """Save "new" and kill it after `moment` seconds; return whether it was still at work, and what is left."""
    pid = start(lambda: writer.save(folder, "new"))
    time.sleep(moment)
    os.kill(pid, signal.SIGKILL)
    killed = os.WIFSIGNALED(os.waitpid(pid, 0)[1])
    left = examine(writer, folder)
    if OVER not in writer.kinds:
        return killed, left
    writer.save(folder, "old")  # what is left does not obstruct the next save
    return killed, left if examine(writer, folder) == "old" else f"{left}, and the next save fails"


def fill_disk():
    """Return what is reported and what is left when the disk is full; None if no disk can be mounted."""
    with tempfile.TemporaryDirectory() as place:
        folder, writer = Path(place) / "model", WRITERS["safetensors"]
        size = sum(path.stat().st_size for path in (SOURCES / "old").iterdir()) * 14 // 10
        command = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", place]
        if subprocess.run(command, capture_output=True).returncode:
            return None
        try:
            writer.save(folder, "old")
            try:
                writer.save(folder, "new")
            except CheckpointError as error:
                return str(error).replace(place, "DISK"), examine(writer, folder)
            return "nothing", examine(writer, folder)
        finally:
            subprocess.run(["umount", "--lazy", place], check=True)


def make_sources():
    """Write the two checkpoints from which some writers read."""
    for name, (config, tensors, tokenizer) in CASES.items():
        checkpoints.save(SOURCES / name, config, "ForMaskedLM", tensors)
        tokenizer.save_pretrained(SOURCES / name)


def run(place, kills, chance):
    """Kill saves and return the counts of (writer, kind, what is left, whether it was killed), and of all saves."""
    counts, at_work, number, durations = Counter(), 0, 0, {}
    for title, writer in WRITERS.items():
        begin = time.perf_counter()
        writer.save(place / f"old {title}", "old")
        durations[title] = time.perf_counter() - begin
        counts[title, OVER, examine(writer, place / f"old {title}"), False] += 1
    while at_work < kills:
        title = list(WRITERS)[number % len(WRITERS)]
        writer = WRITERS[title]
        kind = writer.kinds[number // len(WRITERS) % len(writer.kinds)]
        folder = place / (f"new {number}" if kind == NEW else f"old {title}")
        killed, left = kill(writer, folder, chance.uniform(0, 1.2 * durations[title]))
        number, at_work = number + 1, at_work + killed
        counts[title, kind, left, killed] += 1
        if kind == NEW:
            shutil.rmtree(folder, ignore_errors=True)
    return counts, number


def main():
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--kills", type=int, default=500)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--folder", type=Path, help="where to save; otherwise a temporary folder")
    options = options.parse_args()
    begin = time.perf_counter()
    make_sources()
    with tempfile.TemporaryDirectory(dir=options.folder) as place:
        counts, saves = run(Path(place), options.kills, random.Random(options.seed))
    wrong = 0
    for (title, kind, left, killed), count in sorted(counts.items()):
        right = left in RIGHT[kind] | WRITERS[title].more
        wrong += 0 if right else count
        print(f"{title:17} {kind:16} {left + ('' if killed else ' (ended)'):28} {count:5}{'' if right else '  WRONG'}")
    disk = fill_disk()
    shutil.rmtree(SOURCES)
    print("full disk: none could be mounted" if disk is None else f"full disk: {disk[0]}; left is {disk[1]}")
    wrong += disk is not None and not ("No space left" in disk[0] and disk[1] == "old")
    killed = sum(count for (*_, killed), count in counts.items() if killed)
    print(
        f"{killed} kills in {saves} saves by {len(WRITERS)} writers, {wrong} wrong, {time.perf_counter() - begin:.0f} s"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

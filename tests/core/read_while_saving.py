"""Read a folder while another process saves into it: `python tests/core/read_while_saving.py --seconds 60`.

A writer alternates between two checkpoints (weights, config.json and tokenizer files) in the same folder, in every
format and in one file or in shards. Readers load the model as the frameworks do, open it for conversion, and load the
tokenizer. Every result must be one of the two checkpoints. A mixture, an error or a hang is a finding; the exit status
is then 1. A test runs this script for a second.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

from roberta_core import RobertaTokenizerFast, checkpoints, load_tokenizer
from roberta_core.checkpoints import conversion
from roberta_core.checkpoints.formats import FORMATS
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw
from roberta_core.pretrained import PreTrainedBase

SIZES = {"vocab_size": 301, "hidden_size": 12, "num_attention_heads": 3, "intermediate_size": 20,
         "max_position_embeddings": 39, "num_hidden_layers": 2}  # fmt: skip
WAYS = [(row.name, size) for row in FORMATS for size in ("5GB", "10KB") if (row.name, size) != ("fairseq", "10KB")]


class Model(PreTrainedBase):
    """A model without a framework, which has only a configuration."""

    architecture = "ForMaskedLM"
    has_pooler = False

    def __init__(self, config, **_):
        self.config = config


def make(number):
    """Return a checkpoint whose configuration, tensors and tokenizer depend on its number."""
    config = RobertaConfig(hidden_dropout_prob=number / 10, type_vocab_size=1, layer_norm_eps=1e-5, **SIZES)
    source = checkpoints.resolve("roberta-tiny")
    tokenizer = RobertaTokenizerFast.from_pretrained(source, model_max_length=20 + number)
    tokenizer.add_tokens([f"<checkpoint-{number}>"])
    with tempfile.TemporaryDirectory() as folder:
        tokenizer.save_pretrained(folder)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    return config, dict(draw(config, "ForMaskedLM", seed=number)), files


def identify(config, tensors):
    """Return the number of the checkpoint, or None for a mixture."""
    number = round(config.hidden_dropout_prob * 10)
    want = CASES[number][1]
    same = set(tensors) == set(want) and all(tensors[name].tobytes() == want[name].tobytes() for name in want)
    return number if same else None


def read_model(folder):
    model, found, _, _ = Model._load(folder, None, 0, False, {})
    return identify(model.config, found)


def read_for_conversion(folder):
    opened = conversion.open_checkpoint(folder)
    return identify(opened.config, opened.tensors)


def read_tokenizer(folder):
    tokenizer = load_tokenizer(folder)
    number = tokenizer.model_max_length - 20
    return number if f"<checkpoint-{number}>" in tokenizer.get_vocab() else None


CASES = [make(0), make(1)]
READERS = {"model": read_model, "conversion": read_for_conversion, "tokenizer": read_tokenizer}


def save(folder, number, way):
    config, tensors, files = CASES[number]
    checkpoints.save(folder, config, "ForMaskedLM", tensors, format=way[0], max_shard_size=way[1], carried=files)


def start_writer(folder, way):
    """Fork a process that saves the two checkpoints alternately until it is killed, with short pauses."""
    pid = os.fork()
    if not pid:
        try:
            number = 0
            while True:
                number = 1 - number
                save(folder, number, way)
                time.sleep(random.uniform(0, 0.05))
        finally:
            os._exit(1)
    return pid


def read_for(folder, seconds, counts):
    """Read with each reader in turn and count what it returns."""
    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end or number < len(READERS):
        name = list(READERS)[number % len(READERS)]
        try:
            found = READERS[name](folder)
        except Exception as error:
            counts[name, f"{type(error).__name__}: {error}"[:200]] += 1
        else:
            counts[name, "mixture" if found is None else f"checkpoint {found}"] += 1
        number += 1


def main():
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--seconds", type=float, default=60)
    options.add_argument("--formats", default=",".join(row.name for row in FORMATS))
    options.add_argument("--folder", type=Path, help="where to save; otherwise a temporary folder")
    options = options.parse_args()
    counts, ways = Counter(), [way for way in WAYS if way[0] in options.formats.split(",")]
    for way in ways:
        with tempfile.TemporaryDirectory(dir=options.folder) as folder:
            save(Path(folder), 0, way)
            writer = start_writer(Path(folder), way)
            try:
                read_for(Path(folder), options.seconds / len(ways), counts)
            finally:
                os.kill(writer, signal.SIGKILL)
                os.waitpid(writer, 0)
            checkpoints.finish(folder)
    right = {(name, f"checkpoint {number}") for name in READERS for number in (0, 1)}
    for (name, outcome), count in sorted(counts.items()):
        print(f"{name:12} {outcome:20} {count:6,}{'' if (name, outcome) in right else '  WRONG'}")
    wrong = sum(count for outcome, count in counts.items() if outcome not in right)
    print(f"{sum(counts.values()):,} reads, {wrong} wrong")
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

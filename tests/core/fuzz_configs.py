"""Load mutated configurations in every way: `python tests/core/fuzz_configs.py --inputs 5000`.

A config.json of a classifier, of a decoder or of a model with pruned heads gets one to three changes: another value for
a field, a field that is missing, new, or named like a part of the class. Then it is read as a configuration, as a
checkpoint for conversion, by the tokenizer, and printed and saved again. Each step succeeds or raises `ValueError` or
`CheckpointError` with one short sentence; what is accepted must be equal after saving and reading again. Anything else
is a finding; the exit status is then 1. Not a test: that runs it briefly.
"""

import argparse
import json
import logging
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

from roberta_core import checkpoints, load_tokenizer
from roberta_core.checkpoints import CheckpointError, conversion
from roberta_core.config import INHERITED, RobertaConfig
from roberta_core.parameters import parameters

SLOW = 5.0  # seconds of CPU time
MEMORY = 1 << 30  # bytes that the process may use beyond its start
SIZES = {"vocab_size": 7876, "hidden_size": 4, "num_attention_heads": 2, "intermediate_size": 6, "num_hidden_layers": 2,
         "max_position_embeddings": 40, "type_vocab_size": 1, "layer_norm_eps": 1e-5}  # fmt: skip
KINDS = {
    "ForSequenceClassification": {"num_labels": 3, "id2label": {"0": "a", "1": "b", "2": "c"}},
    "ForCausalLM": {"is_decoder": True, "add_cross_attention": True, "tie_word_embeddings": False},
    "ForMaskedLM": {"pruned_heads": {"0": [1]}, "problem_type": None},
}
NAMES = [
    "self", "cls", "validate", "head_size", "__dict__", "__class__", "to_dict", "num_labels", "use_return_dict", "",
    "torch_dtype", "kwargs", "config_dict", "auto_map", "_attn_implementation_internal", "\ud800", "a.b", "id2label",
    "label2id", "pruned_heads", "architectures", "quantization_config", "_name_or_path", "max_sequence_length",
]  # fmt: skip
DEEP = json.loads("[" * 60 + "]" * 60)
VALUES = [
    None, True, False, 0, 1, -1, 2, 3, 11, 120, 500, 2**31, 2**63, 10**30, 1e6, 1e9, 1e-5, -0.5, 1e400, float("nan"),
    10**9, 10**6, "", "1", "2", "1e-5", "0.1", "x", "gelu", "roberta", "bert", "absolute", "float32", "auto",
    "\ud800", "x" * 10_000, [], [1], [0.1], ["a", "b"], ["RobertaForMaskedLM"], [None], [[0], [1]], {}, {"0": "x"},
    {"0": [0]}, {"0": [0, 1]}, {"9": [0]}, {"x": [0]}, {"a": 0, "b": 1}, {"a": "0"}, {"0": {"a": 1}},
    {"1": "a", "2": "b"}, {"-1": "a"}, {"0": None, "1": 2}, {"0": "a", "00": "b"},
    {"auto_map": {"AutoModel": "evil--x.Y"}}, DEEP,
]  # fmt: skip


def make_good_folders(folder):
    """Return (folder, fields of its config.json) of a checkpoint of each kind, with the embedded tokenizer."""
    found = []
    tokenizer = load_tokenizer("roberta-tiny")
    for architecture, fields in KINDS.items():
        config = RobertaConfig.from_dict({**SIZES, **fields})
        tensors = {name: np.ones(row.shape, np.float32) for name, row in parameters(config, architecture).items()}
        checkpoints.save(folder / architecture, config, architecture, tensors)
        tokenizer.save_pretrained(folder / architecture)
        found.append((folder / architecture, json.loads((folder / architecture / "config.json").read_text())))
    return found


def mutate(fields, chance):
    """Return a copy with one to three changes."""
    fields = dict(fields)
    known = [*fields, *INHERITED, *NAMES]
    for _ in range(chance.randint(1, 3)):
        name = chance.choice(known)
        kind = chance.random()
        if kind < 0.1:
            fields.pop(name, None)
        elif kind < 0.2 and isinstance(fields.get(name), (int, float)):
            fields[name] = chance.choice([str(fields[name]), [fields[name]], -fields[name], fields[name] + 0.5])
        else:
            fields[name] = chance.choice(VALUES)
    return fields


def try_all(folder):
    """Read a folder in every way; return what became of it."""
    config = RobertaConfig.from_pretrained(folder)
    repr(config)
    config.to_json_string(use_diff=False)
    if RobertaConfig.from_dict(json.loads(config.to_json_string())) != config:
        raise RuntimeError("the configuration changes when it is saved and read again")
    if any(name in config.to_json_string() for name in ("evil", "_attn_implementation_internal")):
        raise RuntimeError("a key that loads code is written")
    config.save_pretrained(folder / "saved")
    conversion.open_checkpoint(folder)
    return "accepted"


def run_one(folder):
    """Read a folder with limits; return "accepted", "refused" or the finding."""
    outcomes = set()
    for read in (try_all, load_tokenizer):
        signal.setitimer(signal.ITIMER_PROF, SLOW)
        try:
            read(folder)
            outcomes.add("accepted")
        except (ValueError, CheckpointError) as error:
            if "\n" in str(error) or len(str(error)) > 1000 or isinstance(error, (UnicodeError, json.JSONDecodeError)):
                return f"not one short sentence: {error!r}"[:200]
            outcomes.add("refused")
        except Exception as error:
            return f"{type(error).__name__} in {read.__name__}: {error}"[:200]
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
    return min(outcomes) if len(outcomes) == 1 else "refused"


def stop(*_):
    raise RuntimeError(f"more than {SLOW} seconds of CPU time")


def main():
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--inputs", type=int, default=5000)
    options.add_argument("--seed", type=int, default=0)
    options = options.parse_args()
    chance, start, counts, findings = random.Random(options.seed), time.perf_counter(), Counter(), {}
    signal.signal(signal.SIGPROF, stop)
    warnings.simplefilter("ignore")
    logging.disable(logging.WARNING)  # dropped keys are logged
    with tempfile.TemporaryDirectory() as place:
        good = make_good_folders(Path(place))
        used = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
        for number in range(options.inputs):
            folder, fields = good[number % len(good)]
            text = json.dumps(mutate(fields, chance))
            (folder / "config.json").write_text(text)
            outcome = run_one(folder)
            counts[outcome if outcome in ("accepted", "refused") else "WRONG"] += 1
            if outcome not in ("accepted", "refused"):
                findings.setdefault(outcome, text)
        grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - used
    for outcome, text in findings.items():
        print(f"WRONG {outcome}\n      {text[:500]}")
    wrong = counts["WRONG"] + (grown > MEMORY)
    print(
        f"{options.inputs:,} configurations: {counts['accepted']:,} accepted, {counts['refused']:,} refused, "
        f"{wrong} wrong; {grown >> 20} MB more memory, {time.perf_counter() - start:.0f} s"
    )
    sys.exit(bool(wrong))


if __name__ == "__main__":
    main()

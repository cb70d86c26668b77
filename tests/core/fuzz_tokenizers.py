"""Load damaged tokenizer folders: `python tests/core/fuzz_tokenizers.py --inputs 5000`.

A damaged folder is a valid one in which values of a JSON file have another type, size or place, or bytes of a file are
changed. Each is loaded, used and saved by every tokenizer in a separate process, which may use 2 seconds of CPU time
and 500 MB of memory in addition to its initial memory. The tokenizer works, or raises `ValueError` or `OSError` with
one short sentence; anything else is a finding, written to a folder, and the exit status is 1. The last line has the
totals.
"""

import argparse
import copy
import json
import os
import random
import shutil
import sys
import tempfile
import time
from collections import Counter
from functools import partial
from pathlib import Path

os.environ["TOKENIZERS_PARALLELISM"] = "false"  # set before the import: threads do not survive a fork

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves the folder of the script out

from limited import run_limited

from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, load_tokenizer
from roberta_core.tokenization.byte_level_bpe import BYTE_TO_CHARACTER

os.fsync = lambda handle: None  # waiting for the disk would take most of the time

SECONDS = 2
MEMORY = 500 << 20
MERGES = [("Ġ", "a"), ("h", "e"), ("he", "l")]
TOKENS = ["<s>", "<pad>", "</s>", "<unk>", *BYTE_TO_CHARACTER.values(), *map("".join, MERGES), "<mask>"]
LOADERS = [RobertaTokenizerFast.from_pretrained, RobertaTokenizer.from_pretrained, load_tokenizer]
TEXTS = ["hel a <mask> b<x>", "naïve 日本 <s>\n", ""]
RELATIVES = Path(__file__).parents[1] / "relatives"
NAMES = [
    "##", "<x>", "<s>", "a", "", " ", "\0", "é", "\ud800", "x" * 5000, "BPE", "Unigram", "WordPiece", "WordLevel",
    "ByteLevel", "left", "A", "B",
]  # fmt: skip
VALUES = [
    None, True, False, 0, -1, 1, 2, 4, 2**22, 2**29, 2**31, 2**32, 2**63, 2**64, 10**400, 0.5, -0.5, 1e308,
    float("inf"), float("nan"), [], {}, [[]], [{}], [None], {"a": 1}, {"": {}}, ["a", "b"], *NAMES,
]  # fmt: skip


PIECES = [b"\0", b"\xff", b'"', b"}", b"[", b"9" * 30, b"\n"]


def make_folders(place):
    """Make the good folders: one with every file, one without tokenizer.json, one of each relative."""
    vocabulary = {token: index for index, token in enumerate(TOKENS)}
    tokenizer = RobertaTokenizerFast(vocabulary, MERGES, model_max_length=64)
    tokenizer.add_tokens(["<x>"])
    tokenizer.save_pretrained(place / "whole")
    tokenizer.save_pretrained(place / "legacy", legacy_format=True)
    for name in ("whole", "legacy"):
        (place / name / "config.json").write_text(json.dumps({"max_position_embeddings": 70}))
    for name in ("camembert", "xlm-roberta"):
        shutil.copytree(RELATIVES / name / "tokenizer", place / name)
    return [path for path in sorted(place.iterdir()) if path.is_dir()]


def list_places(content, path=()):
    """Return the paths of all values in JSON content, at most twenty per list or object."""
    found = [path] if path else []
    if isinstance(content, dict | list):
        entries = [*(content.items() if isinstance(content, dict) else enumerate(content))]
        for key, value in entries[:14] + entries[-6:] if len(entries) > 20 else entries:
            found += list_places(value, (*path, key))
    return found


def mutate_json(text, chance):
    """Change one to three values of a JSON text: their type, their name, or how often they occur."""
    content = json.loads(text)
    for _ in range(chance.randint(1, 3)):
        places = list_places(content)
        if not places:
            break
        *path, key = chance.choice(places)
        holder = content
        for step in path:
            holder = holder[step]
        kind = chance.random()
        if kind < 0.6:
            holder[key] = copy.deepcopy(chance.choice(VALUES))
        elif kind < 0.75:
            del holder[key]
        elif kind < 0.85 and isinstance(holder, dict):
            holder[chance.choice(NAMES)] = holder.pop(key)
        elif kind < 0.93 and isinstance(holder, list):
            holder += [holder[key]] * chance.choice([1, 2, 1000])
        else:
            holder[key] = [holder[key]] if chance.random() < 0.5 else {"content": holder[key]}
    return json.dumps(content).encode("utf-8")


def mutate_bytes(content, chance):
    """Set, insert or remove a few bytes, or cut the file off."""
    content = bytearray(content)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(min(len(content), chance.choice([64, 1024, 1 << 30])) or 1) if content else 0
        piece = chance.choice(
            [chance.randbytes(chance.randint(1, 4)), b"\0", b"\xff", b'"', b"}", b"[", b"9" * 30, b"\n"]
        )
        content[at : at + chance.choice([0, 0, len(piece), 9])] = piece
        if chance.random() < 0.05:
            del content[at:]
    return bytes(content)


def use(folder, scratch):
    """Load, use and save; return "read" or "refused". Raises what a caller must never see."""
    outcome = "refused"
    for number, load in enumerate(LOADERS):
        try:
            tokenizer = load(folder)
            tokenizer(TEXTS, padding=tokenizer.pad_token is not None, return_offsets_mapping=True).word_ids(0)
            tokenizer([text.split() for text in TEXTS], is_split_into_words=True)
            ids = tokenizer(TEXTS[0], TEXTS[1], truncation=True, max_length=12, split_special_tokens=True).input_ids
            tokenizer.decode(ids, skip_special_tokens=True)
            repr(tokenizer)
            tokenizer.save_pretrained(scratch / str(number))
            outcome = "read"
        except (ValueError, OSError) as error:
            if isinstance(error, UnicodeError) or "\n" in str(error) or len(str(error)) > 1000:
                raise RuntimeError("the refusal is not one short sentence") from error
    return outcome


def main():
    options = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    options.add_argument("--inputs", type=int, default=5000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    options = options.parse_args()
    chance, start, counts = random.Random(options.seed), time.perf_counter(), Counter()
    with tempfile.TemporaryDirectory() as place:
        report, scratch = Path(place, "report.txt"), Path(place, "scratch")
        folders = make_folders(Path(place))
        for folder in folders:  # imports lazy modules once for all child processes
            assert use(folder, scratch) == "read", folder
        for number in range(options.inputs):
            folder = folders[number % len(folders)]
            path = chance.choice(sorted(folder.iterdir()))
            content = path.read_bytes()
            as_json = path.suffix == ".json" and chance.random() < 0.8
            path.write_bytes(mutate_json(content, chance) if as_json else mutate_bytes(content, chance))
            outcome = run_limited(partial(use, folder, scratch), report, SECONDS, MEMORY)
            if outcome not in ("read", "refused"):
                options.findings.mkdir(exist_ok=True)
                shutil.copytree(folder, options.findings / str(number), dirs_exist_ok=True)
                if report.exists():
                    shutil.move(report, options.findings / str(number) / "report.txt")
                print(f"{options.findings / str(number)}: {path.name}: {outcome}", flush=True)
            counts[outcome] += 1
            path.write_bytes(content)
            shutil.rmtree(scratch, ignore_errors=True)
    for outcome, count in sorted(counts.items()):
        print(f"{outcome:22} {count:8,}")
    killed = sum(count for outcome, count in counts.items() if outcome.startswith("killed"))
    print(
        f"{options.inputs:,} inputs, {counts['traceback']} tracebacks, {killed} killed (over {SECONDS} s or "
        f"{MEMORY >> 20} MB), {time.perf_counter() - start:.0f} s"
    )
    sys.exit(bool(killed or counts["traceback"]))


if __name__ == "__main__":
    main()

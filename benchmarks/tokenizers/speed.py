"""Measure the tokenizers beside the bare library and transformers: `python -m benchmarks.tokenizers.speed`.

Everything is measured in turns on the same batches of novels; for each batch the median of the turns is used. The
tokenizers in Python are made again for each turn, so that they see each text for the first time. transformers is
omitted if it is not installed. Both wall-clock time and the seconds of all processor cores are printed; other work
changes the latter less.
"""

from __future__ import annotations

import argparse
import os
import sys
import tempfile
import time
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from tokenizers import Tokenizer, models, pre_tokenizers, trainers

from benchmarks.tokenizers.texts import DATA, VOCABULARY, files
from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, train_tokenizer
from roberta_core.tokenization.special_tokens import FIRST, LAST

BATCH = 1000
TRAINED = 50_265  # entries, as the published vocabulary has
Work = Callable[[list[str]], Any]


def batches(data: Path, count: int) -> list[list[str]]:
    """Return batches of lines that are not empty, from novels far apart."""
    novels = [texts for collection, _, texts in files(data) if collection == "novels"]
    found = []
    for texts in novels[:: max(1, len(novels) // count)]:
        lines = [line for line in texts if isinstance(line, str) and line.strip()]
        found.append(lines[:BATCH])
    return list(islice(found, count))


def measure(make: Callable[[], dict[str, Work]], texts: list[list[str]], rounds: int) -> dict[str, tuple[float, float]]:
    """Return name -> (seconds, processor seconds): the sums over batches of the median of some rounds, in turns.

    What is measured is made again in each round.
    """
    took: dict[str, list[list[tuple[float, float]]]] = {}
    for _ in range(rounds):
        works = make()
        for at, batch in enumerate(texts):
            for name, work in works.items():
                clock, processor = time.perf_counter(), time.process_time()
                work(batch)
                times = time.perf_counter() - clock, time.process_time() - processor
                took.setdefault(name, [[] for _ in texts])[at].append(times)
    return {name: (sum_medians(batches, 0), sum_medians(batches, 1)) for name, batches in took.items()}


def sum_medians(took: list[list[tuple[float, float]]], which: int) -> float:
    """Return the sum over batches of the medians of one of the two times."""
    return sum(median(times[which] for times in rounds) for rounds in took)


def show(title: str, times: dict[str, tuple[float, float]], base: str, unit: str, amount: float) -> None:
    """Print a line for each: its rate, and its speed compared with the first, by clock and by processor."""
    print(f"\n{title}")
    for name, (clock, processor) in times.items():
        ratios = f"{times[base][0] / clock:6.2f}x {times[base][1] / processor:6.2f}x"
        print(f"  {name:32}{amount / clock:12,.1f} {unit}/s {ratios}   ({clock:.3f} s, {processor:.3f} s of processor)")


def load_reference() -> tuple[Any, Any] | None:
    """Return the slow and the fast tokenizer of transformers, None if it is not installed."""
    try:
        import transformers
    except ImportError:
        return None
    print(f"transformers {transformers.__version__}")
    return transformers.RobertaTokenizer, transformers.RobertaTokenizerFast


def encoding(data: Path, rounds: int) -> None:
    """Measure batches as arrays of ids and masks, and as lists of the tokenizers in Python."""
    vocabulary = [data / name for name in VOCABULARY]
    fast, peers = RobertaTokenizerFast(*vocabulary), load_reference()
    bare = fast.backend_tokenizer
    works: dict[str, Work] = {
        "bare encode_batch": lambda batch: bare.encode_batch(batch),
        "RobertaTokenizerFast, arrays": lambda batch: fast(batch, padding=True, return_tensors="np"),
    }
    if peers:
        peer = peers[1](*map(str, vocabulary))
        works["transformers fast, arrays"] = lambda batch: peer(batch, padding=True, return_tensors="np")

    def slow() -> dict[str, Work]:
        made = {"transformers slow": peers[0](*map(str, vocabulary))} if peers else {}
        return {**made, "RobertaTokenizer": RobertaTokenizer(*vocabulary)}

    texts = batches(data, 12)
    lines = sum(map(len, texts))
    show(f"{lines:,} lines in batches", measure(lambda: works, texts, rounds), "bare encode_batch", "lines", lines)
    texts = batches(data, 6)
    lines = sum(map(len, texts))
    times = measure(slow, texts, max(3, rounds // 2))
    show(f"{lines:,} lines, in Python, seen for the first time", times, next(iter(times)), "lines", lines)


def loading(data: Path, rounds: int) -> None:
    """Measure the time from files to the first ids."""
    with tempfile.TemporaryDirectory() as folder:
        RobertaTokenizerFast(*(data / name for name in VOCABULARY)).save_pretrained(folder)
        file = Path(folder) / "tokenizer.json"
        works: dict[str, Work] = {
            "bare from_file": lambda _: Tokenizer.from_file(str(file)).encode("a"),
            "from_pretrained, tokenizer.json": lambda _: RobertaTokenizerFast.from_pretrained(folder)("a"),
            "tokenizer_file=...": lambda _: RobertaTokenizerFast(tokenizer_file=file)("a"),
            "RobertaTokenizer": lambda _: RobertaTokenizer(*(data / name for name in VOCABULARY))("a"),
        }
        show("loading", measure(lambda: works, [[]], rounds), "bare from_file", "times", 1)


def training(data: Path) -> None:
    """Measure training a vocabulary on all novels; once each, ours twice to compare the bytes."""
    paths = sorted(path for collection, path, _ in files(data) if collection == "novels")
    size = sum(path.stat().st_size for path in paths) / 1e6

    def bare(folder: Path) -> None:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.train([str(path) for path in paths], trainers.BpeTrainer(
            vocab_size=TRAINED, min_frequency=2, special_tokens=[*FIRST, LAST], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ))  # fmt: skip
        tokenizer.save(str(folder / "tokenizer.json"))

    times = {}
    with tempfile.TemporaryDirectory() as scratch:
        made = [Path(scratch, name) for name in ("bare", "ours", "again")]
        for folder, name in zip(made, ("bare train", "train_tokenizer", "train_tokenizer again"), strict=True):
            folder.mkdir()
            clock, processor = time.perf_counter(), time.process_time()
            bare(folder) if folder.name == "bare" else train_tokenizer(paths, TRAINED, folder)
            times[name] = time.perf_counter() - clock, time.process_time() - processor
        equal = all(path.read_bytes() == (made[2] / path.name).read_bytes() for path in made[1].iterdir())
    show(f"training {TRAINED:,} entries on {size:.0f} MB", times, "bare train", "MB", size)
    print(f"  twice the same bytes: {equal}")


def main() -> int:
    """Run the requested parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("parts", nargs="*", default=["encoding", "loading", "training"])
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--rounds", type=int, default=6)
    given = parser.parse_args()
    print(f"{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.1f}")
    if "encoding" in given.parts:
        encoding(given.data, given.rounds)
    if "loading" in given.parts:
        loading(given.data, given.rounds)
    if "training" in given.parts:
        training(given.data)
    print(f"\nload after: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Compare the speed of tokenizers with other libraries: `python -m benchmarks.tokenizers.speed`.

Ours, the tokenizer library and transformers take turns on the same batches of novels; the result is the median for
each batch. Tokenizers in pure Python are constructed for each turn, so that their caches are empty. transformers is
omitted if it is not installed. Prints the wall-clock time and the CPU time of all cores, which depends less on other
load.
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

from benchmarks.tokenizers.texts import DATA, VOCABULARY, iterate_files
from roberta_core.tokenization import RobertaTokenizer, RobertaTokenizerFast, train_tokenizer
from roberta_core.tokenization.special_tokens import FIRST, LAST

BATCH = 1000
TRAINED = 50_265  # entries, as in the published vocabulary
Work = Callable[[list[str]], Any]


def build_batches(data: Path, count: int) -> list[list[str]]:
    """Return batches of non-empty lines, each from a different novel."""
    novels = [texts for collection, _, texts in iterate_files(data) if collection == "novels"]
    found = []
    for texts in novels[:: max(1, len(novels) // count)]:
        lines = [line for line in texts if isinstance(line, str) and line.strip()]
        found.append(lines[:BATCH])
    return list(islice(found, count))


def measure(make: Callable[[], dict[str, Work]], texts: list[list[str]], rounds: int) -> dict[str, tuple[float, float]]:
    """Time functions in turns.

    Args:
        make: Called in each round; returns the functions by name.
        texts: The batches.
        rounds: The number of rounds.

    Returns:
        By name: seconds of wall-clock time and of CPU time, summed over the medians of all batches.
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
    """Return the sum over all batches of the median over rounds of one of the two times."""
    return sum(median(times[which] for times in rounds) for rounds in took)


def print_rates(title: str, times: dict[str, tuple[float, float]], base: str, unit: str, amount: float) -> None:
    """Print the rate of each function, and its speed relative to `base` by wall-clock time and by CPU time."""
    print(f"\n{title}")
    for name, (clock, processor) in times.items():
        ratios = f"{times[base][0] / clock:6.2f}x {times[base][1] / processor:6.2f}x"
        print(f"  {name:32}{amount / clock:12,.1f} {unit}/s {ratios}   ({clock:.3f} s, {processor:.3f} s of CPU time)")


def load_reference() -> tuple[Any, Any] | None:
    """Return the slow and the fast tokenizer class of transformers, or None if it is not installed."""
    try:
        import transformers
    except ImportError:
        return None
    print(f"transformers {transformers.__version__}")
    return transformers.RobertaTokenizer, transformers.RobertaTokenizerFast


def measure_encoding(data: Path, rounds: int) -> None:
    """Measure batches to arrays of ids and masks with fast tokenizers, and to lists with tokenizers in pure Python."""
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

    def load_slow() -> dict[str, Work]:
        works = {"transformers slow": peers[0](*map(str, vocabulary))} if peers else {}
        return {**works, "RobertaTokenizer": RobertaTokenizer(*vocabulary)}

    texts = build_batches(data, 12)
    lines = sum(map(len, texts))
    print_rates(
        f"{lines:,} lines in batches", measure(lambda: works, texts, rounds), "bare encode_batch", "lines", lines
    )
    texts = build_batches(data, 6)
    lines = sum(map(len, texts))
    times = measure(load_slow, texts, max(3, rounds // 2))
    print_rates(f"{lines:,} lines, pure Python, empty caches", times, next(iter(times)), "lines", lines)


def measure_loading(data: Path, rounds: int) -> None:
    """Measure loading from files and encoding one text."""
    with tempfile.TemporaryDirectory() as folder:
        RobertaTokenizerFast(*(data / name for name in VOCABULARY)).save_pretrained(folder)
        file = Path(folder) / "tokenizer.json"
        works: dict[str, Work] = {
            "bare from_file": lambda _: Tokenizer.from_file(str(file)).encode("a"),
            "from_pretrained, tokenizer.json": lambda _: RobertaTokenizerFast.from_pretrained(folder)("a"),
            "tokenizer_file=...": lambda _: RobertaTokenizerFast(tokenizer_file=file)("a"),
            "RobertaTokenizer": lambda _: RobertaTokenizer(*(data / name for name in VOCABULARY))("a"),
        }
        print_rates("loading", measure(lambda: works, [[]], rounds), "bare from_file", "times", 1)


def measure_training(data: Path) -> None:
    """Measure training a vocabulary on all novels, once with the library and twice with ours to compare the bytes."""
    paths = sorted(path for collection, path, _ in iterate_files(data) if collection == "novels")
    size = sum(path.stat().st_size for path in paths) / 1e6

    def train_bare(folder: Path) -> None:
        tokenizer = Tokenizer(models.BPE())
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.train([str(path) for path in paths], trainers.BpeTrainer(
            vocab_size=TRAINED, min_frequency=2, special_tokens=[*FIRST, LAST], show_progress=False,
            initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        ))  # fmt: skip
        tokenizer.save(str(folder / "tokenizer.json"))

    times = {}
    with tempfile.TemporaryDirectory() as scratch:
        folders = [Path(scratch, name) for name in ("bare", "ours", "again")]
        for folder, name in zip(folders, ("bare train", "train_tokenizer", "train_tokenizer again"), strict=True):
            folder.mkdir()
            clock, processor = time.perf_counter(), time.process_time()
            train_bare(folder) if folder.name == "bare" else train_tokenizer(paths, TRAINED, folder)
            times[name] = time.perf_counter() - clock, time.process_time() - processor
        equal = all(path.read_bytes() == (folders[2] / path.name).read_bytes() for path in folders[1].iterdir())
    print_rates(f"training {TRAINED:,} entries on {size:.0f} MB", times, "bare train", "MB", size)
    print(f"  both runs wrote the same bytes: {equal}")


def main() -> int:
    """Measure the requested parts."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "parts",
        nargs="*",
        default=["encoding", "loading", "training"],
        help="encoding, loading, training; all by default",
    )
    parser.add_argument("--data", type=Path, default=DATA, help="folder with the texts (%(default)s)")
    parser.add_argument("--rounds", type=int, default=6, help="rounds (%(default)s)")
    options = parser.parse_args()
    print(f"{os.cpu_count()} cores; load before: {os.getloadavg()[0]:.1f}")
    if "encoding" in options.parts:
        measure_encoding(options.data, options.rounds)
    if "loading" in options.parts:
        measure_loading(options.data, options.rounds)
    if "training" in options.parts:
        measure_training(options.data)
    print(f"\nload after: {os.getloadavg()[0]:.1f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

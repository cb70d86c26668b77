"""Read hostile pickles: `python tests/core/fuzz_pickles.py --inputs 20000`.

A pickle of `pytorch_model.bin`, of the stream that torch.save wrote before 2020, or of fairseq's `model.pt` is changed
by instructions: some are repeated up to 200,000 times, moved, dropped or given extreme arguments. Pieces are inserted
that make a small file expensive (long lists passed to many calls, huge integers, keys whose hashes collide). Each is
read in a separate process, which may take 2 seconds of processor time and 500 MB of memory more than it starts with.
The reader returns arrays or raises `CheckpointError` with one short sentence; anything else is a finding, written to a
folder, and the exit status is 1. The last line has the totals. Not a test: that runs it briefly.
"""

import argparse
import itertools
import os
import pickletools
import random
import struct
import sys
import tempfile
import time
import warnings
import zipfile
from collections import Counter
from functools import partial
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))  # PYTHONSAFEPATH leaves the folder of the script out

from limited import run_limited

from roberta_core import checkpoints
from roberta_core.checkpoints import CheckpointError, bin_file, fairseq_file
from roberta_core.checkpoints.torch_file import LEGACY_MAGIC, LEGACY_VERSION
from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters

SECONDS = 2
MEMORY = 500 << 20
LARGEST = 8 << 20  # bytes of a pickle
TIMES = [2] * 8 + [3, 50] * 5 + [5_000] * 2 + [200_000]  # large ones are rare: they take most of the time
ORDERED, NAMESPACE = b"ccollections\nOrderedDict\n", b"cargparse\nNamespace\n"
PARAMETER, REBUILD = b"ctorch._utils\n_rebuild_parameter\n", b"ctorch._utils\n_rebuild_tensor_v2\n"
NUMBERS = [b"K\0", b"K\xff", b"J\xff\xff\xff\x7f", b"J\0\0\0\x80", b"G\x7f\xf0" + b"\0" * 6, b"G\x7f\xf8" + b"\0" * 6,
           b"\x8a\x08" + b"\xff" * 7 + b"\x7f", b"\x8a\x09" + b"\xff" * 8 + b"\0", b"N", b"\x88", b")", b"]", b"}",
           b"U\x01a", b"C\x01a", b"("]  # fmt: skip


def make_good_files(place):
    """Return (title, file, how it is read, its pickle, how a pickle becomes the file) for each kind of file."""
    config = RobertaConfig(
        vocab_size=11, hidden_size=4, num_attention_heads=2, intermediate_size=6, num_hidden_layers=1,
        max_position_embeddings=9, layer_norm_eps=1e-5, type_vocab_size=1,
    )  # fmt: skip
    tensors = {name: np.ones(row.shape, np.float32) for name, row in parameters(config, "ForMaskedLM").items()}
    found = []
    for title, module, reads in (
        ("bin", bin_file, (bin_file.read,)),
        ("fairseq", fairseq_file, (fairseq_file.read_config, fairseq_file.read)),
    ):
        folder = place / title
        checkpoints.save(folder, config, "ForMaskedLM", tensors, format=title)
        with zipfile.ZipFile(folder / module.FILE) as archive:
            records = {name: archive.read(name) for name in archive.namelist()}
        name = next(name for name in records if name.endswith("data.pkl"))
        write = partial(write_archive, folder / module.FILE, records, name)
        found.append((title, folder, reads, records[name], write))
    folder = place / "stream"
    folder.mkdir()
    keys = sorted(key for key in records if "/data/" in key)
    found.append(("stream", folder, (bin_file.read,), found[0][3], partial(write_stream, folder / bin_file.FILE, keys)))
    return found


def write_archive(path, records, name, pickle):
    """Write a zip archive with another pickle."""
    path.unlink(missing_ok=True)
    with zipfile.ZipFile(path, "w") as archive:
        for key, content in records.items():
            archive.writestr(key, pickle if key == name else content)


def write_stream(path, keys, pickle):
    """Write the stream of before 2020 around a pickle; its storages are missing."""
    magic = b"\x80\x02\x8a\x0a" + LEGACY_MAGIC.to_bytes(10, "little") + b"."
    system = b"\x80\x02}X\x0d\0\0\0little_endian\x88s."
    names = b"\x80\x02](" + b"".join(b"X" + struct.pack("<I", len(key)) + key.encode() for key in keys) + b"e."
    path.write_bytes(magic + b"\x80\x02M" + struct.pack("<H", LEGACY_VERSION) + b"." + system + pickle + names)


def split(pickle):
    """Return the instructions of a pickle."""
    places = [at for _, _, at in pickletools.genops(pickle) if at is not None] + [len(pickle)]
    return [pickle[begin:end] for begin, end in itertools.pairwise(places)]


def draw_piece(chance):
    """Draw instructions that make a small file expensive, or that no honest file has."""
    many = chance.choice([10] * 8 + [1_000] * 6 + [150_000])
    times = chance.choice([1] * 6 + [20] * 6 + [4_000] * 3 + [100_000])
    long = b"(" + chance.choice([b"N", b"K\1", b"X\1\0\0\0aK\1\x86", b"h\0"]) * many + chance.choice([b"t", b"l"])
    call = (
        chance.choice([ORDERED, NAMESPACE, PARAMETER, REBUILD]) + b"h\0" + chance.choice([b"R0", b"\x81R", b"\x85R0"])
    )
    size = chance.choice([1, 60, 65, 5_000] * 4 + [2_000_000])
    integer = b"\x8b" + struct.pack("<i", size) + chance.choice([b"\x7f", b"\xff", b"\1"]) * size
    pairs = b"}(" + b"".join(
        b"\x8a\x10" + ((2**61 - 1) * (row + 1)).to_bytes(16, "little") + b"N" for row in range(min(many, 20_000))
    )
    return chance.choice([
        long + b"q\0" + chance.choice([b"0", b""]) + call * times,
        integer + b"q\0" + b"0}h\0Ns0" * min(times, 5_000),
        pairs + b"u0",
        b"]" * many + b"a" * (many - 1),
        b")" + b"\x85" * many + chance.choice([b"", b"}", b"Q", b"b"]),
        b"(" * many,
        b"X" + struct.pack("<I", 10 * many) + b"a" * (10 * many) + b"q\0" + chance.choice([b"h\0", b"}h\0Ns0"]) * times,
        b"c" + b"a" * chance.choice([1, 255, 300, many]) + b"\n" + b"b" * 10 + b"\n",
        b"(" + b"h\0" * times + b"t" * chance.choice([1, 3]),
        chance.choice(NUMBERS) + chance.choice([b"R", b"b", b"Q", b"s", b"u", b"e", b"a", b"\x93", b"0", b"t"]),
    ])  # fmt: skip


def mutate(pickle, chance):
    """Return a pickle with one to four changes."""
    steps = split(pickle)
    for _ in range(chance.choice([1, 1, 1, 2, 3, 4])):
        at, kind = chance.randrange(len(steps)), chance.random()
        stop = at + chance.choice([1, 1, 2, 10, 40])
        if kind < 0.2:
            part = b"".join(steps[at:stop])
            steps[at:stop] = [part * min(chance.choice(TIMES), LARGEST // max(1, len(part)))]
        elif kind < 0.35:
            steps[at] = chance.choice(NUMBERS)
        elif kind < 0.45:
            del steps[at:stop]
        elif kind < 0.55:
            steps[at:at] = steps[chance.randrange(len(steps)) :][: stop - at]
        elif kind < 0.65:
            content = bytearray(b"".join(steps))
            content[chance.randrange(len(content))] = chance.randrange(256)
            steps = [bytes(content)]
        else:
            steps.insert(at, draw_piece(chance))
        steps = steps or [b"."]
    return b"".join(steps)[:LARGEST]


def use(folder, reads):
    """Read a folder to the end; return "read" or "refused"."""
    try:
        for read in reads:
            found = read(folder)
            if not isinstance(found, RobertaConfig):
                for name in found:
                    found[name].sum()
    except CheckpointError as error:
        if "\n" in str(error) or len(str(error)) > 1000:
            raise RuntimeError("the refusal is not one short sentence") from error
        return "refused"
    return "read"


def main():
    options = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    options.add_argument("--inputs", type=int, default=20_000)
    options.add_argument("--seed", type=int, default=0)
    options.add_argument("--findings", type=Path, default=Path("fuzz-findings"))
    options = options.parse_args()
    chance, start, counts = random.Random(options.seed), time.perf_counter(), Counter()
    warnings.simplefilter("ignore")
    np.seterr(all="ignore")
    with tempfile.TemporaryDirectory() as place:
        report, files = Path(place, "report.txt"), make_good_files(Path(place))
        for title, folder, reads, pickle, write in files:
            write(pickle)
            assert use(folder, reads) == ("refused" if title == "stream" else "read"), title  # it has no storages
        for number in range(options.inputs):
            title, folder, reads, pickle, write = files[number % len(files)]
            changed = mutate(pickle, chance)
            write(changed)
            outcome = run_limited(partial(use, folder, reads), report, SECONDS, MEMORY)
            counts[title, outcome] += 1
            if outcome not in ("read", "refused"):
                options.findings.mkdir(exist_ok=True)
                (options.findings / f"{number}-{title}.pkl").write_bytes(changed)
                if report.exists():
                    os.replace(report, options.findings / f"{number}-{title}.txt")
                print(f"{options.findings / str(number)}-{title}: {outcome}", flush=True)
    for (title, outcome), count in sorted(counts.items()):
        print(f"{title:10} {outcome:22} {count:8,}")
    tracebacks = sum(count for (_, outcome), count in counts.items() if outcome == "traceback")
    killed = sum(count for (_, outcome), count in counts.items() if outcome.startswith("killed"))
    print(
        f"{options.inputs:,} inputs, {tracebacks} tracebacks, {killed} killed (over {SECONDS} s or "
        f"{MEMORY >> 20} MB), {time.perf_counter() - start:.0f} s"
    )
    sys.exit(bool(killed or tracebacks))


if __name__ == "__main__":
    main()

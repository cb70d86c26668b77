"""Training on a corpus ten times larger than the memory limit of the process."""

import subprocess
import sys

import pytest

LIMIT = 16 << 20  # bytes in addition to the memory used after all imports
TIMES = 10
LENGTH = 512

CODE = f"""
import resource, sys
from pathlib import Path
import numpy as np
from roberta_core.data.batches import MaskedBlocks
from roberta_core.data.corpus_parts import Growing
from roberta_core.data.masking import Masking
from roberta_core.data.packing import pack

def taken():
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmData"))

np.random.default_rng([1, 2, 3]).choice(10, 2, replace=False)
resource.setrlimit(resource.RLIMIT_DATA, (taken() + {LIMIT}, taken() + {LIMIT}))
folder, count = Path(sys.argv[1]), {LIMIT} * {TIMES} // 2
with Growing(folder / "tokens.npy", np.dtype(np.uint16)) as tokens:
    while tokens.count < count:
        tokens.add(np.arange(tokens.count, tokens.count + 400_000) % 8000 + 4)
with Growing(folder / "sentences.npy", np.dtype(np.int64)) as sentences:
    for start in range(0, tokens.count + 1, 400_000):
        sentences.add(np.arange(start, min(start + 400_000, tokens.count + 1), 20))
tokens, sentences = (np.load(folder / name, mmap_mode="r") for name in ("tokens.npy", "sentences.npy"))
assert tokens.nbytes >= {LIMIT} * {TIMES}
if sys.argv[2] == "whole":
    tokens = np.array(tokens)
data = MaskedBlocks(tokens, pack(tokens, sentences, {LENGTH}, 2), Masking(8100, 8099), {LENGTH}, seed=0)
print(len(data), sum(int(data.batch(number, 8)["attention_mask"].sum()) for number in range(20)))
"""


def train(folder, how):
    return subprocess.run([sys.executable, "-c", CODE, str(folder), how], capture_output=True, text=True)


@pytest.mark.skipif(sys.platform != "linux", reason="the limit and its measure are Linux's")
def test_a_corpus_ten_times_the_memory_is_packed_and_masked(tmp_path):
    done = train(tmp_path, "mapped")
    assert done.returncode == 0, done.stderr[-2000:]
    blocks, tokens = map(int, done.stdout.split())
    assert blocks >= LIMIT * TIMES // 2 // LENGTH
    assert tokens > 19 * 8 * 400
    assert "MemoryError" in train(tmp_path, "whole").stderr  # check that the limit is effective

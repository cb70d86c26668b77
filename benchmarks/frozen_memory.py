"""Memory of a frozen model over random shapes: `python -m benchmarks.frozen_memory [--shapes 1000] [--framework pt]`.

Prints the resident memory after the first calls and after all, and exits with 1 if it grew by more than 100 MiB. The
model has the width of roberta-base and two layers, so that a thousand shapes take minutes, not an hour.
"""

import argparse
import gc
import sys
from pathlib import Path

import numpy as np

from roberta_core import backend
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw

LIMIT = 100  # MiB
FIRST = 50  # calls, after which buffers of the usual sizes exist
TOKENS = 1024  # at most in a batch
PAGE = 4096 / 2**20  # MiB


def main() -> int:
    """Run the model on random shapes and compare the memory; return the exit status."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--shapes", type=int, default=1000)
    parser.add_argument("--framework", default="pt")
    options = parser.parse_args()
    config = RobertaConfig.base(num_hidden_layers=2)
    framework = backend.load(options.framework)
    model = framework.freeze(framework.from_tensors("Model", config, dict(draw(config, "Model", 0))))
    generator = np.random.default_rng(0)
    before = 0.0
    for number in range(options.shapes):
        length = int(generator.integers(1, 513))
        rows = int(generator.integers(1, max(2, min(16, TOKENS // length) + 1)))
        run(framework, model, generator, rows, length)
        if number + 1 == min(FIRST, options.shapes - 1):
            before = read_memory()
            print(f"after {number + 1} shapes: {before:.0f} MiB ({framework.describe_runtime()})", flush=True)
    after = read_memory()
    print(f"after {options.shapes} shapes: {after:.0f} MiB, grown by {after - before:.0f} (limit {LIMIT})")
    return int(after - before > LIMIT)


def run(framework: backend.Backend, model: object, generator: np.random.Generator, rows: int, length: int) -> None:
    """Run one batch; every second one has padding."""
    ids = generator.integers(4, 50000, (rows, length))
    mask = np.ones_like(ids)
    if generator.integers(2):
        shown = np.arange(length) < generator.integers(1, length + 1, (rows, 1))
        ids, mask = np.where(shown, ids, 1), shown.astype(np.int64)
    framework.run(model, {"input_ids": ids, "attention_mask": mask})


def read_memory() -> float:
    """Return the resident memory of this process in MiB."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * PAGE


if __name__ == "__main__":
    sys.exit(main())

"""The proof that a converted checkpoint is the same model: `roberta convert --verify` finds it by its entry point.

The float64 model runs on the tensors of both sides, then each framework that is installed loads what was written and is
measured against it.

Shapes: B batch, C choices, S sequence.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from conformance.adapters import find
from conformance.compare import Verdict, compare_all, first_failure, worst
from conformance.oracle import run
from roberta_core import backend
from roberta_core.checkpoints import formats
from roberta_core.checkpoints.conversion import Check, Summary, written
from roberta_core.cli.frameworks import hold_back_stderr
from roberta_core.config import CONFIG_NAME, RobertaConfig

RTOL = 1e-5  # of float32, as for any checkpoint
# How far rounding the tensors may move the outputs of a model: about a hundred times its unit of rounding.
SAME = 1e-12  # the same tensors, which lie in another order in memory
ROUNDED = {"float64": 0.0, "float32": 1e-5, "float16": 5e-2, "bfloat16": 4e-1}
LENGTH = 13


def verify(summary: Summary) -> Iterator[Check]:
    """What each side and each framework gives, in the order in which it is found; the first is the float64 model."""
    config, architecture = summary.source.config, summary.source.architecture
    inputs = sample(config, architecture)
    want = run(config, architecture, written(summary), inputs)
    before = run(config, architecture, summary.source.tensors, inputs)
    tolerance = max(SAME, ROUNDED[summary.dtype]) if summary.cast else SAME
    yield judged("NumPy float64, both sides", compare_all(want, before, tolerance))
    shown = {name: value for name, value in want.items() if "attentions" not in name}
    with alone(summary) as folder:
        for name in backend.available():
            with hold_back_stderr():
                adapter = find(name)
                got = adapter.run(adapter.load(architecture, folder), inputs, attentions=False)
            yield judged(f"{adapter.title} {adapter.version}", compare_all(got, shown, RTOL))


def judged(name: str, verdicts: list[Verdict]) -> Check:
    """The first stage that differs, else the worst."""
    shown = first_failure(verdicts) or worst(verdicts)
    return Check(name, shown.max_rel, shown.rtol, shown.complaint)


def sample(config: RobertaConfig, architecture: str) -> dict[str, np.ndarray]:
    """Ids and mask [2, S], the second row padded; [1, 2, S] for multiple choice."""
    length = min(LENGTH, config.max_sequence_length)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (2, length))
    ids[ids == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    mask = np.ones_like(ids)
    mask[1, (length + 1) // 2 :] = 0
    ids[mask == 0] = config.pad_token_id
    inputs = {"input_ids": ids, "attention_mask": mask}
    return {name: value[None] for name, value in inputs.items()} if architecture == "ForMultipleChoice" else inputs


@contextmanager
def alone(summary: Summary) -> Iterator[Path]:
    """A folder in which what was written stands alone: in its own, another format may be read in its place."""
    kind = formats.named(summary.format)
    with tempfile.TemporaryDirectory() as folder:
        for name in (CONFIG_NAME, *formats.files(summary.folder, kind)):
            (Path(folder) / name).symlink_to((summary.folder / name).resolve())
        yield Path(folder)

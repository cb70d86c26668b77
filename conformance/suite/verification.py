"""Verify that a converted checkpoint is the same model; `roberta convert --verify` finds this by its entry point.

The float64 model runs on the tensors of both checkpoints. Then each installed framework loads the written checkpoint
and is compared with it.

Shapes: B batch, C choices, S sequence.
"""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from roberta_core import backend
from roberta_core.checkpoints import formats
from roberta_core.checkpoints.conversion import Check, Summary, read_result
from roberta_core.cli.frameworks import hold_back_stderr
from roberta_core.config import CONFIG_NAME, RobertaConfig

from ..adapters import find_adapter
from ..oracle import run
from .judge import Verdict, compare_all, first_failure, worst

RTOL = 1e-5  # for float32, as for any checkpoint
# How much rounding the tensors may change the outputs of a model: about a hundred times its unit of rounding.
SAME = 1e-12  # for the same tensors in another memory order
ROUNDED = {"float64": 0.0, "float32": 1e-5, "float16": 5e-2, "bfloat16": 4e-1}
LENGTH = 13


def verify(summary: Summary) -> Iterator[Check]:
    """Yield a check of the float64 model on both checkpoints, then one for each framework."""
    config, architecture = summary.source.config, summary.source.architecture
    inputs = make_inputs(config, architecture)
    want = run(config, architecture, read_result(summary), inputs)
    before = run(config, architecture, summary.source.tensors, inputs)
    tolerance = max(SAME, ROUNDED[summary.dtype]) if summary.cast else SAME
    yield make_check("NumPy float64, both checkpoints", compare_all(want, before, tolerance))
    shown = {name: value for name, value in want.items() if "attentions" not in name}
    with isolate_written(summary) as folder:
        for name in backend.available():
            with hold_back_stderr():
                adapter = find_adapter(name)
                got = adapter.run(adapter.load(architecture, folder), inputs, attentions=False)
            yield make_check(f"{adapter.title} {adapter.version}", compare_all(got, shown, RTOL))


def make_check(name: str, verdicts: list[Verdict]) -> Check:
    """Return a check of the first stage that differs, or of the worst one."""
    shown = first_failure(verdicts) or worst(verdicts)
    return Check(name, shown.max_rel, shown.rtol, shown.complaint)


def make_inputs(config: RobertaConfig, architecture: str) -> dict[str, np.ndarray]:
    """Return ids and mask [2, S], with the second row padded; [1, 2, S] for multiple choice."""
    length = min(LENGTH, config.max_sequence_length)
    ids = np.random.default_rng(0).integers(0, config.vocab_size, (2, length))
    ids[ids == config.pad_token_id] = (config.pad_token_id + 1) % config.vocab_size
    mask = np.ones_like(ids)
    mask[1, (length + 1) // 2 :] = 0
    ids[mask == 0] = config.pad_token_id
    inputs = {"input_ids": ids, "attention_mask": mask}
    return {name: value[None] for name, value in inputs.items()} if architecture == "ForMultipleChoice" else inputs


@contextmanager
def isolate_written(summary: Summary) -> Iterator[Path]:
    """Link the written files into a temporary folder: their own may hold another format that takes precedence."""
    kind = formats.get_format(summary.format)
    with tempfile.TemporaryDirectory() as folder:
        for name in (CONFIG_NAME, *formats.list_files(summary.folder, kind)):
            (Path(folder) / name).symlink_to((summary.folder / name).resolve())
        yield Path(folder)

"""Measure implementations on a checkpoint: the verdicts, warnings about its files, and a suggested cause."""

import os
from collections.abc import Sequence

from roberta_core import backend
from roberta_core.checkpoints import resolve

from .adapters import Adapter, find_adapter
from .adapters.onnx import PREFIX, Onnx
from .adapters.port import Load, Port
from .adapters.server import Server, is_address
from .faults.diagnosis import diagnose_checkpoint
from .suite.comparison import find_differing_weights
from .suite.run import TEXTS, Progress, Report, run_checkpoint


def measure_checkpoint(
    adapters: Sequence[Adapter],
    checkpoint: str | os.PathLike[str],
    texts: Sequence[str] = TEXTS,
    progress: Progress = lambda name: None,
    tolerance: float | None = None,
    precision: str = "float32",
) -> Report:
    """Compare implementations with float64 on a checkpoint, and look for the cause if one fails.

    Args:
        adapters: The implementations.
        checkpoint: A folder, an embedded model or a Hub id.
        texts: The texts to run.
        progress: Called with a description of each step.
        tolerance: The tolerance of every stage; by default 10 times its expected rounding.
        precision: The type in which the implementations compute.
    """
    report = run_checkpoint(adapters, checkpoint, texts, progress, tolerance, precision)
    report.warnings += find_differing_weights(resolve(checkpoint))
    for adapter, result in zip(adapters, report.frameworks, strict=True):
        if not result.ok and precision == "float32" and not isinstance(adapter, Server):
            progress(f"looking for the cause in {result.title}")
            result.cause = diagnose_checkpoint(adapter, checkpoint, texts)
    return report


def select_adapters(
    frameworks: Sequence[str] | None = None, against: str | Load | None = None, precision: str = "float32"
) -> list[Adapter]:
    """Return the adapters of a user's implementation and of frameworks.

    Args:
        frameworks: Names of implementations; by default every installed framework, or none with `against`.
        against: A user's implementation: a callable, `module:callable`, `onnx:FILE` or the address of a server.
        precision: The type in which the frameworks compute.

    Raises:
        KeyError: If a name is unknown.
        BackendError: If a framework is not installed, or none is.
        ValueError: If the implementation cannot be imported.
    """
    own = [] if against is None else [_make_own(against)]
    if frameworks is None:
        frameworks = [] if own else backend.list_installed()
    if not own and not frameworks:
        raise backend.BackendError("no framework is installed: pip install 'triberta[all]'")
    return [*own, *(find_adapter(name, precision) for name in frameworks)]


def _make_own(against: str | Load) -> Adapter:
    if isinstance(against, str) and against.startswith(PREFIX):
        return Onnx(against.removeprefix(PREFIX))
    return Server(against) if is_address(against) else Port(against)

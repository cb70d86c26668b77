"""Which known faults the comparison of a checkpoint catches: each is given to an implementation and judged.

`roberta parity CHECKPOINT --faults` shows them. Not every fault is visible in every checkpoint: one is if it moves a
float64 stage by ten times the tolerance, and then every implementation that has it must fail.
"""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from ..adapters import Adapter
from ..oracle.rounding import MULTIPLE
from ..suite.judge import compare_all, first_failure
from .diagnosis import Hypotheses, load_subject, run_stages
from .forward import FAULTS

VISIBLE = 10.0  # times the tolerance
RANDOM = "dropout active"  # faults whose values differ from run to run


@dataclass(frozen=True)
class Judgement:
    """What a fault does to a checkpoint.

    Args:
        fault: The fault.
        stage: The stage that it moves most.
        moved: How far it moves that stage in float64, divided by the tolerance; None if it changes nothing here.
        caught: Whether each implementation that has the fault fails, by title.
    """

    fault: str
    stage: str
    moved: float | None
    caught: Mapping[str, bool]

    @property
    def visible(self) -> bool:
        """Whether every implementation must fail."""
        return self.moved is not None and self.moved >= VISIBLE

    @property
    def ok(self) -> bool:
        """Whether every implementation fails that must."""
        return not self.visible or all(self.caught.values())


def judge_faults(
    adapters: Sequence[Adapter], checkpoint: str | os.PathLike[str], texts: Sequence[str]
) -> Iterator[Judgement]:
    """Yield what each known fault does to a checkpoint on the two shortest of some texts.

    Args:
        adapters: The implementations. They run the faults of configuration, weights and inputs; one in the code of a
            model runs in NumPy in float32.
        checkpoint: A folder, an embedded model or a Hub id.
        texts: The texts.
    """
    subject = load_subject(checkpoint, texts)
    hypotheses = Hypotheses(subject)
    limits = {name: MULTIPLE * error for name, error in hypotheses.expected.items()}
    for fault, change in FAULTS.items():
        if fault.startswith(RANDOM):
            continue
        stages, changed = hypotheses.run(fault, change), change(subject)
        stage, moved = ("", None) if stages is None else _find_largest(stages, hypotheses.right, limits)
        if moved is None or changed is None or moved <= 1.0:
            yield Judgement(fault, stage, moved, {})
            continue
        caught = {}
        for adapter in adapters:
            got = run_stages(changed, adapter)
            known = {name: value for name, value in hypotheses.right.items() if name in got}
            caught[adapter.title] = first_failure(compare_all(got, known, limits)) is not None
        yield Judgement(fault, stage, moved, caught)


def _find_largest(
    got: Mapping[str, np.ndarray], want: Mapping[str, np.ndarray], limits: Mapping[str, float]
) -> tuple[str, float | None]:
    """Return the stage that differs most, with its difference divided by the tolerance."""
    known = {name: value for name, value in want.items() if name in got and name in limits}
    if not known:
        return "", None
    verdicts = compare_all({name: got[name] for name in known}, known, 0.0)
    most = max(verdicts, key=lambda verdict: verdict.max_rel / limits[verdict.stage])
    moved = float(most.max_rel / limits[most.stage])
    return most.stage, moved if moved > 0 else None

"""Judge another implementation: the cases that it fails, and how it fails them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any

import numpy as np

from ..oracle import Stages
from ..suite.case import Case, load_cases
from ..suite.generation import ARCHITECTURE, GenerationCase, load_generation_cases
from ..suite.judge import Verdict, compare_all, worst
from ..suite.run import judge_both_paths

RTOL = 1e-5  # the least tolerance: stock PyTorch differs from published float64 outputs by 5.2e-6
NEW_TOKENS = 16
# The cases in which peers generate text, and the generation cases that have their models and prompts.
TEXTS = {"generate": "greedy", "generate_beams": "beams", "generate_padded": "greedy_padded"}


@dataclass(frozen=True)
class Failure:
    """How an implementation fails a case.

    Args:
        observed: The first stage that differs, or the type of the exception; without figures.
        error: The largest error, if the values of a stage differ.
        detail: The message.
    """

    observed: str
    error: float | None
    detail: str


def judge_all(adapter: Any) -> dict[str, Failure | None]:
    """Run every case, and the generation of text if the implementation has it; a case that passes gives None."""
    found = {name: describe_failure(judge_peer(adapter, case)) for name, case in load_cases().items()}
    if hasattr(adapter, "generate"):
        cases = load_generation_cases()
        found |= {name: describe_failure(judge_text(adapter, cases[source])) for name, source in TEXTS.items()}
    return found


def judge_peer(adapter: Any, case: Case) -> list[Verdict]:
    """Compare the stages that an implementation returns, at a tolerance that allows any float32 rounding."""
    stages, want, rtol = case.stages, case.expected, max(case.rtol, RTOL)
    if (offers := getattr(adapter, "offers", None)) is not None:
        stages = tuple(name for name in want if any(fnmatchcase(name, offer) for offer in offers))
        if not stages:
            return [_report_error(NotImplementedError("none of the stages is available"))]
    if getattr(adapter, "skips_padding", False):
        want = _clear_padding(want, case.arrays)
    try:
        model = adapter.build(case.architecture, case.configuration, case.tensors)
        return judge_both_paths(adapter, model, case.arrays, want, rtol, stages)
    except Exception as error:  # the other cases are still run
        return [_report_error(error)]


def judge_text(adapter: Any, case: GenerationCase) -> list[Verdict]:
    """Compare the tokens that an implementation generates: greedily or by beams, each token once per row."""
    beams = case.arguments.get("num_beams", 1)
    arguments = {
        "max_new_tokens": NEW_TOKENS,
        "min_new_tokens": NEW_TOKENS,
        "no_repeat_ngram_size": 1,  # a small model would repeat its last token whatever the positions are
        "num_beams": beams,
    }
    case = replace(case, arguments=arguments)
    try:
        model = adapter.build(ARCHITECTURE, case.configuration, case.tensors)
        got = adapter.generate(model, case.ids, case.mask, NEW_TOKENS, beams)
        return compare_all({"sequences": got}, {"sequences": case.expected["sequences"]}, 0.0)
    except Exception as error:  # the other cases are still run
        return [_report_error(error)]


def describe_failure(verdicts: Sequence[Verdict]) -> Failure | None:
    """Return None if a case passes, else the exception, or what is missing and the first stage that differs."""
    failed = [verdict for verdict in verdicts if not verdict.ok]
    if not failed:
        return None
    details = {verdict.stage: (verdict.complaint or "").removeprefix(f"{verdict.stage}: ") for verdict in failed}
    if "run" in details:
        return Failure(f"`{details['run'].partition(':')[0]}`", None, details["run"])
    missing = [stage for stage, detail in details.items() if detail == "missing"]
    observed = [f"no `{missing[0]}`"] if missing else []
    different = next((verdict for verdict in failed if verdict.stage not in missing), None)
    error = None
    if different is not None:
        detail = details[different.stage]
        if different.stage == "sequences" and np.isfinite(different.max_rel):
            observed.append("other tokens")
        elif detail.startswith("error"):
            observed.append(f"`{different.stage}` first")
            error = worst([verdict for verdict in failed if np.isfinite(verdict.max_rel)]).max_rel
        else:
            observed.append(f"`{different.stage}`: {detail}")
    return Failure("; ".join(observed), error, "; ".join(details.values()))


def count_passed(found: Iterable[Failure | None]) -> int:
    """Return the number of cases that pass."""
    return sum(failure is None for failure in found)


def _report_error(error: Exception) -> Verdict:
    return Verdict("run", np.inf, np.inf, RTOL, f"{type(error).__name__}: {error}")


def _clear_padding(stages: Stages, inputs: Mapping[str, np.ndarray]) -> Stages:
    """Return the stages with zeros for padding, which an implementation that packs texts does not compute."""
    mask = inputs.get("attention_mask")
    if mask is None or mask.ndim != 2:
        return stages
    return {
        name: value * (mask != 0)[:, :, None] if value.ndim == 3 and value.shape[:2] == mask.shape else value
        for name, value in stages.items()
    }

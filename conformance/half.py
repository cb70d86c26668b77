"""Half precision under judgement: bfloat16 and float16 in each framework's own way, against the float64 model.

The cases are those of the suite that have `halves`, each type with a tolerance of its own. The weights are the case's
float32 ones: PyTorch rounds them, TensorFlow and Flax compute with rounded copies. `python -m conformance.half` prints
the errors.
"""

import sys
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from conformance.adapters.framework import Framework
from conformance.case import Case, load_cases
from conformance.compare import Verdict, worst
from conformance.suite import both_paths
from roberta_core.backend import available

TYPES: dict[str, Any] = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


def pairs() -> list[tuple[Case, str]]:
    """Every case with every type that it is judged in."""
    return [(case, precision) for case in load_cases().values() for precision in case.halves or ()]


def judge_half(framework: Framework, case: Case, precision: str) -> list[Verdict]:
    """The verdict on each stage of a case computed in half precision."""
    if case.halves is None:
        raise ValueError(f"{case.name} says nothing of half precision")
    model = framework.backend.from_tensors(case.architecture, case.configuration, case.tensors, precision=precision)
    inputs = rounded(case.arrays, precision)
    return both_paths(framework, model, inputs, case.expected, case.halves[precision]["rtol"], case.stages)


def rounded(inputs: Mapping[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """The inputs with their float32 numbers, those of a cache, in the type of the model."""
    kinds = {name: TYPES[precision] if value.dtype == np.float32 else value.dtype for name, value in inputs.items()}
    return {name: value.astype(kinds[name]) for name, value in inputs.items()}


def table(frameworks: list[Framework]) -> str:
    """The worst error of each case, type and framework, as a table in Markdown."""
    rows = [["case", "type", "tolerance", *(framework.title for framework in frameworks)]]
    rows.append(["---"] * len(rows[0]))
    for case, precision in pairs():
        errors = [f"{worst(judge_half(framework, case, precision)).max_rel:.1e}" for framework in frameworks]
        rows.append([case.name, precision, f"{(case.halves or {})[precision]['rtol']:.0e}", *errors])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(table([Framework(name) for name in sys.argv[1:] or available()]))

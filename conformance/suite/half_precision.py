"""Compare bfloat16 and float16 in each framework with the float64 model.

The cases are those with `half_precision`, which gives a tolerance for each type. The weights are the case's float32
weights: PyTorch rounds them, TensorFlow and Flax compute with rounded copies.
`python -m conformance.suite.half_precision` prints the errors.
"""

import sys
from collections.abc import Mapping
from typing import Any

import ml_dtypes
import numpy as np

from roberta_core.backend import INFERENCE_ONLY, available

from ..adapters.framework import Framework
from .case import Case, load_cases
from .judge import Verdict, worst
from .run import judge_both_paths

TYPES: dict[str, Any] = {"bfloat16": ml_dtypes.bfloat16, "float16": np.float16}


def list_pairs() -> list[tuple[Case, str]]:
    """List every case with each type that it is compared in."""
    return [(case, precision) for case in load_cases().values() for precision in case.half_precision or ()]


def judge_half_precision(framework: Framework, case: Case, precision: str) -> list[Verdict]:
    """Compare each stage of a case in half precision. Raises `ValueError` if the case has no tolerance for it."""
    if case.half_precision is None:
        raise ValueError(f"case {case.name} has no tolerance for half precision")
    model = framework.backend.from_tensors(case.architecture, case.configuration, case.tensors, precision=precision)
    inputs = round_inputs(case.arrays, precision)
    return judge_both_paths(
        framework, model, inputs, case.expected, case.half_precision[precision]["rtol"], case.stages
    )


def round_inputs(inputs: Mapping[str, np.ndarray], precision: str) -> dict[str, np.ndarray]:
    """Return the inputs with their float32 values, such as a cache, rounded to the type of the model."""
    kinds = {name: TYPES[precision] if value.dtype == np.float32 else value.dtype for name, value in inputs.items()}
    return {name: value.astype(kinds[name]) for name, value in inputs.items()}


def make_table(frameworks: list[Framework]) -> str:
    """Return the worst error of each case, type and framework as a Markdown table."""
    rows = [["case", "type", "tolerance", *(framework.title for framework in frameworks)]]
    rows.append(["---"] * len(rows[0]))
    for case, precision in list_pairs():
        errors = [f"{worst(judge_half_precision(framework, case, precision)).max_rel:.1e}" for framework in frameworks]
        rows.append([case.name, precision, f"{(case.half_precision or {})[precision]['rtol']:.0e}", *errors])
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


if __name__ == "__main__":
    print(
        make_table(
            [Framework(name) for name in sys.argv[1:] or [one for one in available() if one not in INFERENCE_ONLY]]
        )
    )

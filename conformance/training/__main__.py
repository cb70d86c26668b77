"""`python -m conformance.training`: compare the losses of 100 steps in every installed framework."""

import sys

from rich.console import Console
from rich.table import Table

from roberta_core import backend

from .training_runs import compare_losses, load_training_runs


def main() -> int:
    """Print a table. Returns 1 if a loss exceeds its tolerance, else 0."""
    table, ok = Table("training run", "losses of", "steps", "largest relative difference", "tolerance"), True
    backends = [backend.load(name) for name in backend.available() if name not in backend.INFERENCE_ONLY]
    for run in load_training_runs().values():
        if run.blocks is None:
            continue
        for compared, verdict in compare_losses(backends, run):
            steps = run.float64_steps if compared.endswith("float64") else run.settings.steps
            table.add_row(run.name, compared, str(steps), f"{verdict.max_rel:.1e}", f"{verdict.rtol:.0e}")
            ok &= verdict.ok
    Console().print(table)
    return 0 if ok else 1


if __name__ == "__main__":
    sys.exit(main())

"""Learning-rate schedule: linear warm-up, linear decay (Liu et al. 2019, section 3.1)."""

from dataclasses import dataclass


@dataclass(frozen=True)
class LinearSchedule:
    """Rises from 0 to `peak` over `warmup` steps, then falls to 0, which it would reach right after the last step."""

    peak: float
    warmup: int
    steps: int

    def __post_init__(self) -> None:
        if not self.peak > 0:
            raise ValueError(f"the peak learning rate is {self.peak}; it must be positive")
        if not 0 <= self.warmup < self.steps:
            raise ValueError(f"{self.warmup} steps of warm-up do not fit into {self.steps} steps")

    def __call__(self, step: int) -> float:
        """Return the learning rate of a step, counted from 0."""
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        return self.peak * max(self.steps - step, 0) / (self.steps - self.warmup)

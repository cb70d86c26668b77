"""The settings of a task: the table `[task]` of a recipe, and what a prediction depends on."""

from dataclasses import dataclass

PROBLEMS = ("classification", "regression")


@dataclass(frozen=True)
class TaskSettings:
    """How a model is fine-tuned for a task.

    `epochs` (0: as many as `optimizer.steps` say) with warm-up for `warmup_ratio` of their steps; `evaluations` in
    each (0: one at the end) and an end after `patience` of them without a better score (0: never). `metric` says which
    score is meant (the task's own if empty), `problem` whether labels are classes or numbers ("classification" or
    "regression"; as the data looks if empty). Rows have at most `max_length` tokens, questions `longest_question` (0:
    as many as fit). For question answering: windows of a context share `overlap` tokens; answers have at most
    `longest_answer` tokens and are chosen among the `candidates` best first and last ones; there is none if that scores
    better by `null_threshold`.
    """

    epochs: float = 0.0
    warmup_ratio: float = 0.06
    evaluations: int = 1
    patience: int = 0
    metric: str = ""
    problem: str = ""
    max_length: int = 0
    longest_question: int = 0
    overlap: int = 128
    longest_answer: int = 30
    candidates: int = 20
    null_threshold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "evaluations", "patience", "max_length", "longest_question", "overlap"):
            self._check_least(name, 0)
        for name in ("longest_answer", "candidates"):
            self._check_least(name, 1)
        if not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"warmup_ratio is {self.warmup_ratio}; it must be at least 0 and below 1")
        if self.problem not in ("", *PROBLEMS):
            raise ValueError(f"problem is {self.problem!r}; known are {', '.join(PROBLEMS)}")

    def _check_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")

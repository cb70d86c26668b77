"""The settings of a task: the table `[task]` of a recipe, and what a prediction depends on."""

from dataclasses import dataclass

PROBLEMS = ("classification", "multi-label", "regression")
NO_ANSWER = ("allowed", "never")


@dataclass(frozen=True)
class TaskSettings:
    """How a model is fine-tuned for a task, and how it is asked afterwards.

    Args:
        epochs: passes over the training data; 0 trains for `optimizer.steps`.
        warmup_ratio: share of the steps in which the learning rate rises.
        evaluations: evaluations per epoch; 0 evaluates once, at the end.
        patience: evaluations without a better score after which training stops; 0 never stops early.
        metric: the score that selects the best model; empty for the task's own.
        problem: what labels are, "classification", "multi-label" or "regression"; empty to decide it by the training
            data.
        threshold: the probability from which on a label of a multi-label model counts as predicted.
        balance: whether each label has the same weight in the loss, however frequent it is.
        class_weights: the weights of labels in the loss, such as "spam=5,ham=1"; those that are not listed have 1.
        max_length: the most tokens of a row; 0 for as many as the model accepts.
        longest_question: the most tokens of a question; 0 for as many as fit.
        overlap: tokens that two windows of a context share, at most half of a window.
        longest_answer: the most tokens of an answer.
        candidates: the best first and last tokens among which answers are searched.
        no_answer: whether a question may have no answer, "allowed" or "never"; empty to decide it by the training data.
        first_label: what the labels of multiple choice are counted from, 0 or 1; -1 to decide it by the data.
        null_threshold: how much better "no answer" must score than the best answer.
    """

    epochs: float = 0.0
    warmup_ratio: float = 0.06
    evaluations: int = 1
    patience: int = 0
    metric: str = ""
    problem: str = ""
    threshold: float = 0.5
    balance: bool = False
    class_weights: str = ""
    max_length: int = 0
    longest_question: int = 0
    overlap: int = 128
    longest_answer: int = 30
    candidates: int = 20
    no_answer: str = ""
    first_label: int = -1
    null_threshold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("epochs", "evaluations", "patience", "max_length", "longest_question", "overlap"):
            self._check_least(name, 0)
        for name in ("longest_answer", "candidates"):
            self._check_least(name, 1)
        if not 0 <= self.warmup_ratio < 1:
            raise ValueError(f"warmup_ratio is {self.warmup_ratio}; it must be at least 0 and below 1")
        if self.problem not in ("", *PROBLEMS):
            raise ValueError(f"problem is {self.problem!r}; expected one of {', '.join(PROBLEMS)}")
        if not 0 < self.threshold < 1:
            raise ValueError(f"threshold is {self.threshold}; it must be between 0 and 1")
        self.parse_class_weights()
        if self.balance and self.class_weights:
            raise ValueError("balance computes the weights of labels: specify it or class_weights, not both")
        if self.first_label not in (-1, 0, 1):
            raise ValueError(f"first_label is {self.first_label}; it must be 0, 1, or -1 to decide it by the data")
        if self.no_answer not in ("", *NO_ANSWER):
            raise ValueError(f"no_answer is {self.no_answer!r}; expected one of {', '.join(NO_ANSWER)}")

    def parse_class_weights(self) -> dict[str, float]:
        """Return the weight of each label in `class_weights`.

        Raises:
            ValueError: the text is not LABEL=WEIGHT, separated by commas, or a weight is not positive.
        """
        found = {}
        for part in self.class_weights.split(",") if self.class_weights else []:
            label, equals, number = part.rpartition("=")
            try:
                weight = float(number)
            except ValueError:
                weight = -1.0
            if not equals or not label or not 0 < weight < float("inf"):
                raise ValueError(f"class_weights has {part!r}; write LABEL=WEIGHT, separated by commas, above 0")
            found[label.strip()] = weight
        return found

    def _check_least(self, name: str, least: int) -> None:
        if getattr(self, name) < least:
            raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")

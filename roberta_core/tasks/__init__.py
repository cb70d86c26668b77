"""Every task: from records to features, from a model's outputs to predictions and scores, in NumPy."""

from roberta_core.tasks.answering import QuestionAnswering
from roberta_core.tasks.base import Example, Feature, Task
from roberta_core.tasks.choice import MultipleChoice
from roberta_core.tasks.classification import Classification
from roberta_core.tasks.tagging import Tagging

TASKS: dict[str, type[Task]] = {
    kind.name: kind for kind in (Classification, Tagging, MultipleChoice, QuestionAnswering)
}

__all__ = ["TASKS", "Example", "Feature", "Task"]

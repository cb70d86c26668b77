"""Tasks, one module each: record -> example -> features -> decode -> score -> predict, in NumPy, for any framework."""

from roberta_core.tasks.answering import QuestionAnswering
from roberta_core.tasks.base import Example, Task
from roberta_core.tasks.choice import MultipleChoice
from roberta_core.tasks.classification import Classification
from roberta_core.tasks.features import Feature
from roberta_core.tasks.fill_mask import FillMask
from roberta_core.tasks.tagging import Tagging

# The tasks that a model can be fine-tuned for and scored on.
TASKS: dict[str, type[Task]] = {
    kind.name: kind for kind in (Classification, Tagging, MultipleChoice, QuestionAnswering)
}

__all__ = ["TASKS", "Example", "Feature", "FillMask", "Task"]

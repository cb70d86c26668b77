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

# What pipelines, and transformers, call them.
TASK_ALIASES = {
    "text-classification": "classification",
    "sentiment-analysis": "classification",
    "token-classification": "tagging",
    "ner": "tagging",
}


def find_task(name: str) -> type[Task]:
    """Return the task of a name or an alias.

    Raises:
        ValueError: there is no such task; the message lists the known names.
    """
    found = TASKS.get(TASK_ALIASES.get(name, name))
    if found is None:
        known = [" or ".join([one, *(alias for alias, task in TASK_ALIASES.items() if task == one)]) for one in TASKS]
        raise ValueError(f"there is no task {name!r}; expected one of {', '.join(known)}")
    return found


__all__ = ["TASKS", "TASK_ALIASES", "Example", "Feature", "FillMask", "Task", "find_task"]

"""Methods of the published classes that are not available here: each raises an error that says what to do instead."""

from typing import Any, NoReturn

ADAPTERS = "load and train adapters with PEFT, such as peft.get_peft_model(model, config), which accepts this model"
AUTO_CLASSES = "it is for code that is loaded with trust_remote_code, which is never run here; import the class itself"
CHAT = "RoBERTa is no chat model: format the conversation as a text, then call the tokenizer with it"


class Refusal:
    """A method that only raises an error. `isinstance(vars(kind)[name], Refused)` finds it."""

    def __init__(self, name: str, advice: str):
        self.name, self.advice = name, advice

    def __call__(self, *args: Any, **kwargs: Any) -> NoReturn:
        """Raise `NotImplementedError` with the advice."""
        raise NotImplementedError(f"{self.name} is not available: {self.advice}.")


class Refused:
    """A class attribute in the place of a published method, whose calls raise `NotImplementedError`.

    Args:
        advice: What to do instead.

    Example:
        >>> class Model:
        ...     add_adapter = Refused("use PEFT")
        >>> Model().add_adapter("a")
        Traceback (most recent call last):
        NotImplementedError: Model.add_adapter is not available: use PEFT.
    """

    def __init__(self, advice: str):
        self.advice = advice

    def __set_name__(self, owner: type, name: str) -> None:
        self.name = name

    def __get__(self, instance: Any, owner: type) -> Refusal:
        return Refusal(f"{owner.__name__}.{self.name}", self.advice)


def list_refused(kind: type) -> list[str]:
    """Return the names of the methods of a class that only raise an error."""
    found: dict[str, Any] = {}
    for one in reversed(kind.__mro__):
        found |= vars(one)
    return sorted(name for name, value in found.items() if isinstance(value, Refused))

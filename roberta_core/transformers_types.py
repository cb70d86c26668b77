"""Objects that pass the `isinstance` tests of transformers, which is never imported.

Trainer saves a config.json only of a `transformers.PreTrainedModel`, and pads examples by default only with a
`transformers.PreTrainedTokenizerBase`. So `__class__` names a subclass of it as soon as transformers is loaded.
"""

import sys
from functools import cache
from typing import Any


class TransformersType:
    """Mixin of classes whose objects are, for `isinstance`, also of a class of transformers."""

    _transformers_type: tuple[str, str]  # the module and the name of the class

    def _get_class(self) -> type:
        module, name = self._transformers_type
        base = getattr(sys.modules.get(module), name, None)
        return type(self) if base is None else _derive(type(self), base)

    def _set_class(self, kind: type) -> None:
        vars(object)["__class__"].__set__(self, kind)

    # Python reads it for `isinstance`; `type(self)` stays as it is.
    __class__ = property(_get_class, _set_class)  # pyright: ignore

    def __reduce_ex__(self, protocol: Any) -> Any:
        """Return how to pickle and copy the object: pickle refuses one whose `__class__` is not its type."""
        return _new, (type(self),), self.__getstate__()


def _new(kind: Any) -> Any:
    return kind.__new__(kind)


@cache
def _derive(kind: type, base: type) -> type:
    """Return a subclass of `kind` that is one of `base` too, under the same name. It is never instantiated."""
    names = {"__module__": kind.__module__, "__qualname__": kind.__qualname__, "__doc__": kind.__doc__}
    return type(kind.__name__, (kind, base), names)

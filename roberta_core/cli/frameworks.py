"""The frameworks of a command: the options that name them, and loading one without its greetings."""

import os
import sys
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from roberta_core.backend import Backend

PREFERRED = ("pt", "tf", "flax")  # which one answers where none is named
# What TensorFlow and Keras import if it is installed, for parts that no command uses: half the time of their import.
UNUSED = {"tf": ("jax", "matplotlib", "scipy", "sklearn")}

# For a command's signature: `frameworks: FRAMEWORKS = None, framework: FRAMEWORK = None`, then `chosen(...)`.
FRAMEWORKS = Annotated[str | None, typer.Option(help="Which frameworks, with commas between: pt,tf,flax.")]
FRAMEWORK = Annotated[str | None, typer.Option(help="Which one framework: pt, tf or flax.")]


def chosen(frameworks: str | None, framework: str | None = None) -> list[str]:
    """The names that the options give, in order; without them the first framework that is installed.

    A wrong use of the options raises `typer.BadParameter`, having no framework at all `ValueError`.
    """
    from roberta_core import backend

    if frameworks is not None and framework is not None:
        raise typer.BadParameter("give --frameworks or --framework, not both")
    given = frameworks if frameworks is not None else framework
    if given is None:
        return default()
    names = [name.strip() for name in given.split(",")]
    unknown = [name for name in names if name not in backend.registered()]
    if unknown:
        known = ", ".join(backend.registered())
        raise typer.BadParameter(f"there is no framework {', '.join(map(repr, unknown))}; known are {known}")
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"{given} names a framework twice")
    if framework is not None and len(names) > 1:
        raise typer.BadParameter(f"--framework takes one name; for several, --frameworks {framework}")
    return names


def default() -> list[str]:
    """The first of the preferred frameworks that is installed."""
    from roberta_core import backend

    installed = sorted(backend.available(), key=(*PREFERRED, *backend.registered()).index)
    if not installed:
        extras = " or ".join(f"'triberta[{name}]'" for name in PREFERRED)
        raise backend.BackendError(f"no framework is installed: pip install {extras}")
    return [installed[0]]


def load(name: str) -> "Backend":
    """A framework's backend, loaded without what its library says on stderr, and what it has no use for here."""
    from roberta_core import backend

    with quiet(), absent(UNUSED.get(name, ())):
        return backend.load(name)


@contextmanager
def absent(modules: Iterable[str]) -> Iterator[None]:
    """Let modules that are not imported yet be as if they were not installed; afterwards they can be imported.

    This is for the command's own process: whoever imports a framework's package gets its libraries whole.
    """
    hidden = [module for module in modules if module not in sys.modules]
    for module in hidden:
        sys.modules[module] = None  # type: ignore[assignment]  # so Python marks what must not be imported
    try:
        yield
    finally:
        for module in hidden:
            del sys.modules[module]


@contextmanager
def quiet() -> Iterator[None]:
    """Keep back what libraries write to stderr past Python; tell it all if it ends in an error."""
    sys.stderr.flush()
    kept, shown = os.dup(2), sys.stderr
    with tempfile.TemporaryFile() as file, open(os.dup(kept), "w", buffering=1) as direct:
        os.dup2(file.fileno(), 2)
        if shown is sys.__stderr__:
            sys.stderr = direct  # what Python says, such as a warning about a head that is new, is said
        try:
            yield
        except BaseException:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            sys.stderr = shown
            os.dup2(kept, 2)
            os.close(kept)

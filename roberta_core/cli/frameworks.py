"""The framework options of a command, and loading a framework without its start-up messages."""

import os
import platform
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from roberta_core.backend import Backend

# Packages that TensorFlow and Keras import if they are installed, but no command uses: half of the import time.
UNUSED = {"tf": ("jax", "matplotlib", "scipy", "sklearn")}

# Environment variables for inference that a framework reads when it is imported. By default TensorFlow multiplies with
# oneDNN only on CPUs with AVX-512; with AVX2 it is faster too.
SETTINGS = {"tf": {"TF_ENABLE_ONEDNN_OPTS": "1"}} if platform.machine() in ("x86_64", "AMD64") else {}

# In a command's signature: `frameworks: FRAMEWORKS = None, framework: FRAMEWORK = None`; see `resolve_frameworks`.
FRAMEWORKS = Annotated[
    str | None, typer.Option(help="Several frameworks to compare, separated by commas: pt,tf,flax,onnx,openvino.")
]
FRAMEWORK = Annotated[
    str | None,
    typer.Option(help="Framework to use: pt, tf, flax, onnx or openvino; by default the first that is installed."),
]
TRAINING_FRAMEWORK = Annotated[
    str | None, typer.Option(help="Framework to train with: pt, tf or flax; by default the first that is installed.")
]

# In a command's signature: `device: DEVICE = "auto"`; see `load_backend`.
DEVICE = Annotated[
    str, typer.Option(help="Device to run on: auto (an accelerator if there is one), cpu, cuda, cuda:N or mps.")
]


def resolve_frameworks(
    frameworks: str | None, framework: str | None = None, *, need_installed: bool = True
) -> list[str]:
    """Return the names that the options give, in order; by default the first framework that is installed.

    Args:
        frameworks: names with commas between them.
        framework: one name.
        need_installed: whether the frameworks must be installed here, not only known.

    Raises:
        typer.BadParameter: the options are used wrongly.
        ValueError: no framework is installed, or not the requested one.
    """
    from roberta_core import backend

    if frameworks is not None and framework is not None:
        raise typer.BadParameter("specify --frameworks or --framework, not both")
    given = frameworks if frameworks is not None else framework
    if given is None:
        return [backend.find_default()]
    names = [name.strip() for name in given.split(",")]
    unknown = [name for name in names if name not in backend.registered()]
    if unknown:
        raise typer.BadParameter(backend.describe_unknown(*unknown))
    if len(set(names)) < len(names):
        raise typer.BadParameter(f"{given} names a framework twice")
    if framework is not None and len(names) > 1:
        raise typer.BadParameter(f"--framework takes one name; for several use --frameworks {framework}")
    for name in names if need_installed else ():
        backend.require(name)  # before anything is read
    return names


def load_backend(name: str, device: str = "auto", join: bool = False, train: bool = False) -> "Backend":
    """Load a framework's backend, with its models on a device.

    Its start-up messages are not shown, and packages that no command uses are not imported. `SETTINGS` apply unless the
    environment has others, but not to training, which gives the same bits when it is resumed elsewhere.

    Args:
        name: the framework.
        device: the device.
        join: whether to join the other processes or devices that share training.
        train: whether models are trained.

    Raises:
        ValueError: the framework does not see the device, or the processes cannot be joined.
    """
    from roberta_core import backend

    for variable, value in () if join or train else SETTINGS.get(name, {}).items():
        os.environ.setdefault(variable, value)
    with hold_back_stderr(), backend.hide_modules(UNUSED.get(name, ())):
        found = backend.load(name)
        if not join:
            return found.on(device)
        if not hasattr(found, "join"):
            raise ValueError(f"{found.title} trains in one process: start it once, without --distributed")
        return found.join(device)


def announce_device(backend: "Backend") -> None:
    """Print on stderr which accelerator a command runs on, if any: its results on stdout have no place for it."""
    if backend.device != "cpu":
        print(f"roberta: running {describe_backend(backend)}", file=sys.stderr)


def describe_backend(backend: "Backend") -> str:
    """Return a framework with its version and the device of its models."""
    return f"{backend.title} {backend.version} on {backend.device}"


@contextmanager
def hold_back_stderr() -> Iterator[Callable[[], None]]:
    """Discard what native libraries write to file descriptor 2, such as TensorFlow's start-up messages.

    What Python itself writes to `sys.stderr`, such as a warning, is shown. If the block fails with an error that is not
    one of ours (a `ValueError`, whose message is complete), everything that was held back is written.

    Yields:
        A function that ends the holding back before the end of the block: what a long run writes before the process
        dies must not be lost.
    """
    sys.stderr.flush()
    kept, shown = os.dup(2), sys.stderr
    ended = False

    def end() -> None:
        nonlocal ended
        if not ended:
            ended = True
            sys.stderr = shown
            os.dup2(kept, 2)

    with tempfile.TemporaryFile() as file, open(os.dup(kept), "w", buffering=1) as direct:
        os.dup2(file.fileno(), 2)
        if shown is sys.__stderr__:
            sys.stderr = direct
        try:
            yield end
        except ValueError:
            raise
        except Exception:
            file.seek(0)
            os.write(kept, file.read())
            raise
        finally:
            end()
            os.close(kept)

"""Load the objects that entry points name.

A module of this distribution is always loaded from the distribution's own files. If a user's package on the path has
the same name, such as `conformance`, the module is imported under a private name.
"""

import sys
from functools import reduce
from importlib import import_module
from importlib.metadata import EntryPoint
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]  # the folder that contains the packages of this distribution
DISTRIBUTION = "triberta"
PRIVATE = "_triberta_{}"


def load_entry_point(point: EntryPoint) -> Any:
    """Return the object of an entry point.

    Raises:
        ImportError: If its module cannot be imported.
        AttributeError: If its module does not have the object.
    """
    package, dot, rest = point.module.partition(".")
    file = ROOT / package / "__init__.py"
    if file.is_file() and not _is_importable(package, file) and _is_own(point):
        package = _import_privately(package, file)
    return reduce(getattr, point.attr.split("."), import_module(package + dot + rest))


def _is_importable(package: str, file: Path) -> bool:
    """Return whether `import package` gives the package of that file, and not another one on the path."""
    if package in sys.modules:
        origin = getattr(sys.modules[package], "__file__", None)
    else:
        spec = find_spec(package)
        origin = spec.origin if spec else None
    return origin is not None and Path(origin).resolve() == file


def _is_own(point: EntryPoint) -> bool:
    """Return whether an entry point belongs to this distribution."""
    return point.dist is None or point.dist.name == DISTRIBUTION


def _import_privately(package: str, file: Path) -> str:
    """Import the package of a file under a private name, and return that name."""
    name = PRIVATE.format(package)
    if name not in sys.modules:
        spec = spec_from_file_location(name, file, submodule_search_locations=[str(file.parent)])
        if spec is None or spec.loader is None:
            raise ImportError(f"{file} cannot be loaded")
        sys.modules[name] = module_from_spec(spec)
        try:
            spec.loader.exec_module(sys.modules[name])
        except BaseException:
            del sys.modules[name]
            raise
    return name

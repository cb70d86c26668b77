"""`python -m conformance.peers`: run the suite on other implementations and update their part of docs/differences.md.

Run it in an environment that has these libraries; each library's section replaces the one between its two markers.
`deviations.json` lists the cases that are expected to fail, with the reasons.
"""

import argparse
from collections.abc import Sequence
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from .deviations import find_disagreements, load_deviations
from .judging import judge_all
from .page import is_same_apart_from_figures, make_section, replace_section

PAGE = Path("docs/differences.md")

# The implementations of each release of a library, by title: the module and class of the adapter, and its arguments.
PEERS: dict[str, dict[str, tuple[str, ...]]] = {
    "transformers 4": {
        "PyTorch": ("transformers", "PyTorch"),
        "TensorFlow": ("transformers", "TensorFlow"),
        "Flax": ("transformers", "Flax"),
    },
    "transformers 5": {"PyTorch": ("transformers", "PyTorch")},
    "sentence-transformers 6": {"packed texts": ("sentence_transformers", "PackedTexts")},
    "keras-hub 0": {"TensorFlow": ("keras_hub", "KerasHub")},
    "onnxruntime 1": {
        "graph of each call": ("framework", "Framework", "onnx"),
        "`roberta export`": ("exported", "Exported", "onnx"),
    },
    "openvino 2026": {
        "graph of each call": ("framework", "Framework", "openvino"),
        "`roberta export`": ("exported", "Exported", "openvino"),
    },
}


def find_installed() -> list[str]:
    """Return the installed releases of `PEERS`."""
    found = []
    for release in PEERS:
        library, major = release.rsplit(" ", 1)
        try:
            found += [release] if version(library).split(".")[0] == major else []
        except PackageNotFoundError:
            continue
    return found


def make_adapter(module: str, name: str, *arguments: str) -> Any:
    """Return an adapter."""
    return getattr(import_module(f"..adapters.{module}", __package__), name)(*arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the suite. Returns 1 if nothing is installed, a deviation is not listed or the checked page differs."""
    parser = argparse.ArgumentParser(prog="python -m conformance.peers", description=__doc__)
    parser.add_argument("--page", type=Path, default=PAGE, help="the page to update (%(default)s)")
    parser.add_argument(
        "--only", choices=[*PEERS], nargs="+", help="the releases to run; by default all that are there"
    )
    how = parser.add_mutually_exclusive_group()
    how.add_argument("--show", action="store_true", help="print the sections without writing the page")
    how.add_argument("--check", action="store_true", help="write nothing and exit with 1 if the page differs")
    given = parser.parse_args(arguments)
    releases = [release for release in find_installed() if given.only is None or release in given.only]
    if not releases:
        print(f"none of {', '.join(given.only or PEERS)} is installed")
        return 1
    page = given.page.read_text(encoding="utf-8")
    made, disagreements = page, []
    for release in releases:
        known = load_deviations().get(release, {})
        found = {title: judge_all(make_adapter(*place)) for title, place in PEERS[release].items()}
        part = make_section(release, version(release.rsplit(" ", 1)[0]), found, known)
        made = replace_section(made, release, part)
        if given.show or given.check:
            print(part)
        for title, cases in found.items():
            sentences = find_disagreements(cases, known.get(title, ()))
            disagreements += [f"{release}, {title}: {sentence}" for sentence in sentences]
    for sentence in disagreements:
        print(sentence)
    if not (given.show or given.check):
        given.page.write_text(made, encoding="utf-8", newline="\n")
    differs = given.check and not is_same_apart_from_figures(page, made)
    if differs:
        print(f"{given.page} differs from the sections above")
    return 1 if disagreements or differs else 0


if __name__ == "__main__":
    raise SystemExit(main())

"""Convert a script for transformers 4.57.6."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from roberta_core.safe_files import read_bytes

EXTRA = "pip install 'triberta[migrate]'"


@dataclass(frozen=True)
class Note:
    """What has to be changed by hand: the line in the script, that in the converted script, and the sentence."""

    line: int
    new_line: int
    text: str


@dataclass(frozen=True)
class Migration:
    """A converted script.

    Attributes:
        before: The script.
        after: The converted script.
        notes: What has to be changed by hand, by line.
        stays: The names that are still imported from transformers.
    """

    before: str
    after: str
    notes: tuple[Note, ...]
    stays: tuple[str, ...]

    def build_diff(self, name: str) -> str:
        """Return the unified diff of a file of that name, "" if nothing changed."""
        lines = difflib.unified_diff(
            self.before.splitlines(keepends=True), self.after.splitlines(keepends=True), name, name
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def read_script(path: Path) -> str:
    """Return the text of a Python file, its line ends as they are.

    Raises:
        OSError: The file cannot be read.
        ValueError: It is not a Python file in UTF-8.
    """
    if path.is_dir():
        raise ValueError(f"{path} is a folder: give Python files, such as {path / '*.py'}")
    if path.suffix == ".ipynb":
        raise ValueError(f"{path} is a notebook: convert it first, jupyter nbconvert --to script {path}")
    try:
        return read_bytes(path).decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not a Python file in UTF-8: byte {error.start} cannot be decoded") from None


def migrate(text: str, name: str = "script", assume_roberta: bool = False) -> Migration:
    """Replace the imports of a script for transformers 4.57.6.

    Args:
        text: The script.
        name: The name of the file in error messages.
        assume_roberta: Replace the Auto classes also where the names of their checkpoints are not RoBERTa's.

    Raises:
        ValueError: The script is not valid Python, or libcst is not installed.
    """
    if find_spec("libcst") is None:
        raise ValueError(f"converting scripts needs libcst: {EXTRA}")
    import libcst as cst
    from libcst.metadata import MetadataWrapper

    from roberta_core.migration.decisions import decide
    from roberta_core.migration.names import REMOVED
    from roberta_core.migration.rewrite import ModuleReplacer, Rewriter
    from roberta_core.migration.survey import survey

    try:
        wrapper = MetadataWrapper(cst.parse_module(text), unsafe_skip_copy=True)
    except (cst.ParserSyntaxError, RecursionError) as error:
        place = f" (line {error.raw_line})" if isinstance(error, cst.ParserSyntaxError) else ""
        raise ValueError(f"{name} is not valid Python{place}: it was not converted") from None
    found = survey(wrapper)
    decisions = decide(found, assume_roberta)
    rewriter = Rewriter(decisions)
    modules = ModuleReplacer(rewriter.roots)
    after = wrapper.visit(rewriter).visit(modules).code
    lines = _map_lines(text, after)
    notes = (Note(line, lines[line - 1], text) for line, text in sorted(rewriter.notes))
    gone = decisions.chosen.keys() | (REMOVED if decisions.chosen else ())
    stays = [*sorted(found.imported.keys() - gone), *dict.fromkeys(modules.stays)]
    return Migration(text, after, tuple(notes), tuple(stays))


def _map_lines(before: str, after: str) -> list[int]:
    """Return the line of the converted script for each line of the script."""
    old, new = before.splitlines(), after.splitlines()
    mapped = [1] * (len(old) + 1)
    for _, start, end, new_start, new_end in difflib.SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        for number in range(start, end):
            mapped[number] = min(new_start + number - start, max(new_start, new_end - 1)) + 1
    return mapped

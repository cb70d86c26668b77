"""`roberta migrate`: convert scripts that use transformers' RoBERTa classes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from roberta_core.migration import Migration


def migrate(
    scripts: Annotated[list[Path], typer.Argument(metavar="SCRIPT...", help="Python files.")],
    write: Annotated[
        bool, typer.Option("--write", help="Write the converted scripts instead of printing a diff.")
    ] = False,
    assume_roberta: Annotated[
        bool,
        typer.Option(
            "--assume-roberta", help="Replace Auto classes even where no name shows that the checkpoint is a RoBERTa."
        ),
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert scripts for transformers 4.57.6: replace their imports, and list by line what else has to change.

    Prints a unified diff, or writes the files with --write. Needs the extra `migrate` of the package.
    """
    from roberta_core.checkpoints.atomic import transaction
    from roberta_core.migration import migrate as convert
    from roberta_core.migration.script import read_script

    done = {path: convert(read_script(path), str(path), assume_roberta) for path in scripts}
    for path, migration in done.items():
        if write and migration.after != migration.before:
            with transaction(path.resolve().parent) as files:
                files.write(path.resolve().name, migration.after.encode())
    if as_json:
        print(json.dumps([describe(path, migration, write) for path, migration in done.items()], indent=2))
        return
    for path, migration in done.items():
        show(path, migration, write)


def describe(path: Path, migration: Migration, written: bool) -> dict[str, Any]:
    """Return the facts about a converted script, for JSON. Lines are those of the file as it is now."""
    return {
        "file": str(path),
        "changed": migration.after != migration.before,
        "written": written and migration.after != migration.before,
        "diff": migration.build_diff(str(path)),
        "by_hand": [{"line": note.new_line if written else note.line, "text": note.text} for note in migration.notes],
        "still_from_transformers": list(migration.stays),
    }


def show(path: Path, migration: Migration, written: bool) -> None:
    """Print the diff, or that the file was written, and what is left to do."""
    facts = describe(path, migration, written)
    if not facts["changed"]:
        print(f"{path}: no import to replace")
    elif written:
        print(f"{path}: written")
    else:
        print(facts["diff"])
    for note in facts["by_hand"]:
        print(f"{path}:{note['line']}: {note['text']}")
    if facts["still_from_transformers"]:
        names = ", ".join(facts["still_from_transformers"])
        print(f"{path}: still imported from transformers, which has to stay installed: {names}")

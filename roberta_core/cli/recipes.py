"""`roberta recipes`: list the built-in recipes, or print one."""

import json
from typing import Annotated

import typer


def recipes(
    name: Annotated[str | None, typer.Argument(help="A built-in recipe to print.", show_default=False)] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the built-in recipes, or print one: a TOML file to change and pass to --recipe."""
    from roberta_core.training import recipe

    if name is not None:
        text = recipe.read_text(name)
        print(
            json.dumps(recipe.Recipe.load(name).to_dict(), indent=2) if as_json else text, end="\n" if as_json else ""
        )
        return
    found = {
        one: {"command": find_command(one), "summary": recipe.read_summary(one)} for one in recipe.built_in_names()
    }
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        show(found)


def find_command(name: str) -> str:
    """Return the command that a recipe is for, with its tasks."""
    from roberta_core.training import recipe

    return recipe.describe_purposes(recipe.find_purposes(name)).strip("`").removeprefix("roberta ")


def show(found: dict[str, dict[str, str]]) -> None:
    """Print a row for each recipe."""
    from rich.table import Table

    from roberta_core.cli.terminal import make_console

    table = Table("recipe", "for `roberta ...`", "what it is")
    for name, facts in found.items():
        table.add_row(name, facts["command"], facts["summary"])
    make_console().print(table)

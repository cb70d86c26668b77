"""`roberta tasks`: list the tasks with their fields, recipes and commands."""

import json
from typing import Annotated, Any

import typer


def tasks(
    name: Annotated[
        str | None,
        typer.Argument(
            help="The task to show, such as text-classification, or a task of `roberta finetune`, such as "
            "classification, whose models have several; with the column names that are recognised for each field.",
            show_default=False,
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """List the tasks, with the command, the input fields and the recipes of each."""
    found = collect_tasks()
    if name is not None:
        chosen = [one for one, facts in found.items() if name in (one, facts["finetune"], *facts["aliases"])]
        if not chosen:
            known = ", ".join(_title(one, facts) for one, facts in found.items())
            raise ValueError(f"there is no task {name!r}; expected one of {known}")
        found = {one: found[one] for one in chosen}
    if as_json:
        print(json.dumps(found, indent=2))
    else:
        if name is not None and len(found) > 1:
            print(f"Models that `roberta finetune {name}` trains are used for {len(found)} tasks:")
        show(found, with_columns=name is not None)


def collect_tasks() -> dict[str, dict[str, Any]]:
    """Return the facts about each task by the name of its pipeline."""
    from roberta_core.cli.predict_inputs import TASKS as COMMANDS
    from roberta_core.pipelines import ALIASES, PIPELINES
    from roberta_core.tasks import TASKS
    from roberta_core.tasks.heads import TRAINED_BY

    commands = {fields.pipeline: name for name, fields in reversed(COMMANDS.items())}
    found = {}
    for name, kind in PIPELINES.items():
        command, trained = commands.get(name), TRAINED_BY.get(kind.architecture)
        task = TASKS[trained] if trained else None
        found[name] = {
            "aliases": [alias for alias, pipeline in ALIASES.items() if pipeline == name],
            "class": kind.architecture,
            "command": command,
            "input": {field: list(columns) for field, columns in COMMANDS[command].fields.items()} if command else {},
            "finetune": trained,
            "training": {field: list(columns) for field, columns in task.fields.items()} if task else {},
            "recipes": list(task.recipes) if task else [],
        }
    return found


def show(found: dict[str, dict[str, Any]], with_columns: bool) -> None:
    """Print the commands of tasks with their fields, or also the columns that hold these by default."""
    for name, facts in found.items():
        print(_title(name, facts))
        if facts["command"] is None:
            print(f"  predict: in Python, with roberta_core.pipeline({name!r}, model=...)")
        for verb, command, fields in (
            ("predict", facts["command"], facts["input"]),
            ("train", f"finetune {facts['finetune']}" if facts["finetune"] else None, facts["training"]),
        ):
            if command is not None:
                print(f"  {verb}: roberta {command}, fields {', '.join(fields)}")
                for field, columns in fields.items() if with_columns else ():
                    print(f"    {field}: in the column {' or '.join(columns)}")
        if facts["recipes"]:
            print(f"  recipes: {', '.join(facts['recipes'])}")


def _title(name: str, facts: dict[str, Any]) -> str:
    """Return the name of a task with its aliases."""
    return f"{name} (also {', '.join(facts['aliases'])})" if facts["aliases"] else name

"""`roberta fill-mask`: what stands behind each mask, by one framework or by several side by side."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from roberta_core.cli.frameworks import FRAMEWORK, FRAMEWORKS, chosen, load, quiet

if TYPE_CHECKING:
    from roberta_core.tasks.fill_mask import Filled

Answers = dict[str, list["Filled"]]  # of each framework


def fill_mask(
    texts: Annotated[list[str], typer.Argument(metavar="TEXT...", help="Each with a <mask>.", show_default=False)],
    model: Annotated[str, typer.Option(help="A folder with a checkpoint, or an embedded model.")] = "roberta-tiny",
    frameworks: FRAMEWORKS = None,
    framework: FRAMEWORK = None,
    top_k: Annotated[int, typer.Option(min=1, help="How many tokens for each mask.")] = 5,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Fill the masks of texts, with probabilities; several frameworks answer side by side."""
    from roberta_core import RobertaConfig, RobertaTokenizerFast
    from roberta_core.tasks import fill_mask as task

    names = chosen(frameworks, framework)
    tokenizer = RobertaTokenizerFast.from_pretrained(model)
    task.check(tokenizer, texts, RobertaConfig.from_pretrained(model), top_k)
    backends = {}
    answers: Answers = {}
    for name in names:
        backends[name] = load(name)
        with quiet():  # its first computations have greetings too
            network = backends[name].from_pretrained(task.ARCHITECTURE, model)
            answers[name] = task.fill_mask(backends[name], network, tokenizer, texts, top_k)
    if as_json:
        versions = {name: {"title": one.title, "version": one.version} for name, one in backends.items()}
        print(json.dumps({"model": model, "frameworks": versions, "texts": as_data(texts, answers)}, indent=2))
    else:
        show(texts, answers, {name: f"{one.title} {one.version}" for name, one in backends.items()})


def as_data(texts: list[str], answers: Answers) -> list[dict[str, Any]]:
    """For machines: each text with its masks, each with every framework's candidates."""
    data: list[dict[str, Any]] = [{"text": text, "masks": []} for text in texts]
    for same in zip(*answers.values(), strict=True):
        candidates = {
            name: [vars(candidate) for candidate in one.candidates] for name, one in zip(answers, same, strict=True)
        }
        data[same[0].text]["masks"].append({"position": same[0].position, "candidates": candidates})
    return data


def show(texts: list[str], answers: Answers, titles: dict[str, str]) -> None:
    """For people: a table for each mask, a column for each framework."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    for same in zip(*answers.values(), strict=True):
        table = Table()
        for title in titles.values():
            table.add_column(Text(title))
        for row in zip(*(one.candidates for one in same), strict=True):
            table.add_row(*(Text(f"{one.probability:7.2%}  {quoted(one.token)}") for one in row))
        console.print(Text(texts[same[0].text]), table)
        if len(same) > 1:
            console.print(agreement(list(same)))


def quoted(token: str) -> str:
    """A token with what the eye would not see: blanks and line ends."""
    return json.dumps(token, ensure_ascii=False)


def agreement(same: list[Filled]) -> str:
    """How well several frameworks agree on a mask."""
    rows = list(zip(*(one.candidates for one in same), strict=True))
    if any(len({candidate.token_id for candidate in row}) > 1 for row in rows):
        return "The frameworks do not agree on the tokens."
    spread = [[candidate.probability for candidate in row] for row in rows]
    worst = max(max(values) - min(values) for values in spread)
    return f"The same tokens; their probabilities differ by at most {worst:.0e}."

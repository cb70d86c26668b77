"""`roberta classify`: the label of each line of files or of standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import tee
from typing import TYPE_CHECKING, Annotated

import typer

from roberta_core.cli.frameworks import FRAMEWORK, chosen, load, quiet

if TYPE_CHECKING:
    from roberta_core.tasks.classification import Classified, Text

STDIN = "-"


def classify(
    model: Annotated[str, typer.Option(help="A folder with a classifier.")],
    files: Annotated[
        list[str] | None, typer.Argument(metavar="[FILE]...", help="A text a line; - is standard input, the default.")
    ] = None,
    framework: FRAMEWORK = None,
    pairs: Annotated[bool, typer.Option("--pairs", help="A line has two texts, with a tab between.")] = False,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Tokens a batch; otherwise measured.", show_default=False)
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print a line of JSON for each text, with every score.")
    ] = False,
) -> None:
    """Classify texts, a line each, as they come: a line with the label, its score and the text, tabs between them."""
    from roberta_core import RobertaTokenizerFast
    from roberta_core.tasks import classification as task

    (name,) = chosen(None, framework)
    backend, tokenizer = load(name), RobertaTokenizerFast.from_pretrained(model)
    with quiet():
        network, report = backend.from_pretrained(task.ARCHITECTURE, model, output_loading_info=True)
    if report["missing_keys"]:
        raise ValueError(f"{model} has no classifier: {', '.join(sorted(report['missing_keys']))} are not in it")
    told, texts = tee(read(files or [STDIN], pairs))
    cut = 0
    for text, answer in zip(told, task.classify(backend, network, tokenizer, texts, budget), strict=True):
        print(as_line(text, answer, as_json))
        cut += answer.cut
    if cut:
        longest = network.config.max_sequence_length
        told = f"{cut} {'text was' if cut == 1 else 'texts were'} cut to the {longest} tokens that the model takes"
        print(f"roberta: {told}", file=sys.stderr)


def read(files: Iterable[str], pairs: bool) -> Iterator[Text]:
    """The lines of the files, as pairs if asked; an empty line is an empty text.

    `ValueError` names the file and line of what is not UTF-8 or no pair.
    """
    for name in files:
        with nullcontext(sys.stdin.buffer) if name == STDIN else open(name, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise ValueError(f"{name}, line {number}: not UTF-8, {error.reason}") from None
                yield as_pair(text, f"{name}, line {number}") if pairs else text


def as_pair(text: str, place: str) -> tuple[str, str]:
    """The two texts of a line."""
    parts = text.split("\t")
    if len(parts) != 2:
        raise ValueError(f"{place}: {len(parts) - 1} tabs, where --pairs wants one")
    return parts[0], parts[1]


def as_line(text: Text, answer: Classified, as_json: bool) -> str:
    """For people a label, a score and the text; for machines everything."""
    if as_json:
        data = {"text": text, "label": answer.label, "score": answer.score, "scores": answer.scores, "cut": answer.cut}
        return json.dumps(data, ensure_ascii=False)
    parts = text if isinstance(text, tuple) else (text,)
    return "\t".join((answer.label, f"{answer.score:.4f}", *parts))

"""`roberta classify`: label each line of files or of standard input."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import nullcontext
from itertools import tee
from typing import TYPE_CHECKING, Annotated

import typer

from roberta_core.cli.frameworks import (
    DEVICE,
    FRAMEWORK,
    announce_device,
    hold_back_stderr,
    load_backend,
    resolve_frameworks,
)
from roberta_core.cli.terminal import escape_controls

if TYPE_CHECKING:
    from roberta_core.tasks.classification import Classified, Text

STDIN = "-"


def classify(
    model: Annotated[str, typer.Option(help="A folder with a fine-tuned classifier.")],
    files: Annotated[
        list[str] | None,
        typer.Argument(metavar="[FILE]...", help="Files with one text per line; - is standard input, the default."),
    ] = None,
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    pairs: Annotated[bool, typer.Option("--pairs", help="Each line holds two texts, separated by a tab.")] = False,
    budget: Annotated[
        int | None, typer.Option(min=1, help="Tokens per batch; measured by default.", show_default=False)
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one line of JSON per text, with all scores.")] = False,
) -> None:
    """Classify texts, one per line, as they arrive. Prints the label, its score and the text, separated by tabs."""
    from roberta_core import load_tokenizer
    from roberta_core.tasks import classification as task

    (name,) = resolve_frameworks(None, framework)
    backend, tokenizer = load_backend(name, device), load_tokenizer(model)
    with hold_back_stderr():
        network, report = backend.from_pretrained(task.ARCHITECTURE, model, output_loading_info=True)
    if report["missing_keys"]:
        raise ValueError(f"{model} has no classifier: it lacks {', '.join(sorted(report['missing_keys']))}")
    announce_device(backend)
    shown, texts = tee(read_lines(files or [STDIN], pairs))
    truncated = 0
    with hold_back_stderr():
        for text, answer in zip(shown, task.classify(backend, network, tokenizer, texts, budget), strict=True):
            line = format_line(text, answer, as_json)
            print(escape_controls(line) if sys.stdout.isatty() else line)
            truncated += answer.truncated
    if truncated:
        longest = network.config.max_sequence_length
        noun = "text was" if truncated == 1 else "texts were"
        print(
            f"roberta: {truncated} {noun} truncated to {longest} tokens, the most that the model accepts",
            file=sys.stderr,
        )


def read_lines(files: Iterable[str], pairs: bool) -> Iterator[Text]:
    """Yield the lines of the files, as pairs if requested; an empty line is an empty text.

    Raises:
        ValueError: a line is not UTF-8, or not a pair; the message names file and line.
    """
    for name in files:
        with nullcontext(sys.stdin.buffer) if name == STDIN else open(name, "rb") as file:
            for number, line in enumerate(file, 1):
                try:
                    text = line.decode("utf-8").rstrip("\r\n")
                except UnicodeDecodeError as error:
                    raise ValueError(f"{name}, line {number}: not UTF-8, {error.reason}") from None
                yield split_pair(text, f"{name}, line {number}") if pairs else text


def split_pair(text: str, place: str) -> tuple[str, str]:
    """Split a line into its two texts."""
    parts = text.split("\t")
    if len(parts) != 2:
        raise ValueError(f"{place}: {len(parts) - 1} tabs; --pairs needs exactly one")
    return parts[0], parts[1]


def format_line(text: Text, answer: Classified, as_json: bool) -> str:
    """Format one answer: label, score and text, or everything as JSON."""
    if as_json:
        return json.dumps({"text": text, **vars(answer)}, ensure_ascii=False)
    parts = text if isinstance(text, tuple) else (text,)
    return "\t".join((answer.label, f"{answer.score:.4f}", *parts))

"""`roberta tokenizer`: train a vocabulary, and exchange one with fairseq."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

tokenizer = typer.Typer(add_completion=False)


@tokenizer.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Train a tokenizer, and exchange one with fairseq."""
    if context.invoked_subcommand is None:
        from roberta_core.cli import USAGE

        print(context.get_help())
        raise typer.Exit(USAGE)


@tokenizer.command()
def train(
    files: Annotated[list[Path], typer.Argument(help="Texts in UTF-8, of any size.")],
    vocab_size: Annotated[int, typer.Option(help="Entries, the five special tokens among them.")],
    output: Annotated[Path, typer.Option(help="A folder for the tokenizer's files.")],
    min_frequency: Annotated[int, typer.Option(help="How often a pair must occur to be joined.")] = 2,
    max_length: Annotated[int | None, typer.Option(help="The longest row in tokens, for the settings.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON; no progress.")] = False,
) -> None:
    """Train a byte-level BPE vocabulary on texts.

    <s> <pad> </s> <unk> have the ids 0 to 3, and <mask> the last. The same files, in any order, give the same bytes.
    """
    from rich.console import Console

    from roberta_core.tokenization.training import train_tokenizer

    console = Console(stderr=True, quiet=as_json)
    with _Display(console) as display:
        size = train_tokenizer(
            files,
            vocab_size,
            output,
            min_frequency=min_frequency,
            model_max_length=max_length,
            progress=display.reading,
        )
    facts = {"entries": size, "folder": str(output)}
    less = "" if size == vocab_size else f": no more pairs occur {min_frequency} times"
    _tell(facts, f"{size:,} entries{less}; the tokenizer is in {output}", as_json)


@tokenizer.command("from-fairseq")
def from_fairseq(
    dictionary: Annotated[Path, typer.Argument(help="fairseq's dict.txt, or the folder that holds it.")],
    output: Annotated[Path, typer.Option(help="A folder for the tokenizer's files.")],
    encoder: Annotated[Path | None, typer.Option(help="GPT-2's encoder.json; without it the one beside.")] = None,
    merges: Annotated[Path | None, typer.Option(help="GPT-2's vocab.bpe; without it the one beside.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Make a tokenizer of fairseq's dict.txt with the BPE that its numbers stand for."""
    from roberta_core.tokenization.fairseq import read_fairseq

    made = read_fairseq(dictionary, encoder, merges)
    made.save_pretrained(output)
    _tell({"entries": len(made), "folder": str(output)}, f"{len(made):,} entries; it is in {output}", as_json)


@tokenizer.command("to-fairseq")
def to_fairseq(
    checkpoint: Annotated[str, typer.Argument(help="A folder with a tokenizer, or an embedded model.")],
    output: Annotated[Path, typer.Option(help="A folder for dict.txt, encoder.json and vocab.bpe.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a tokenizer as fairseq has it: dict.txt, with encoder.json and vocab.bpe for its numbers."""
    from roberta_core.tokenization import RobertaTokenizerFast
    from roberta_core.tokenization.fairseq import write_fairseq

    paths = write_fairseq(RobertaTokenizerFast.from_pretrained(checkpoint), output)
    _tell({"files": list(paths)}, f"Wrote {', '.join(paths)}", as_json)


def _tell(facts: dict[str, Any], sentence: str, as_json: bool) -> None:
    print(json.dumps(facts) if as_json else sentence)


class _Display:
    """A bar while texts are read, then a sign of life while pairs are joined."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

        self.bar = Progress(
            TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TimeElapsedColumn(), console=console,
            transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("reading", total=None)

    def __enter__(self) -> "_Display":
        self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.bar.stop()

    def reading(self, done: int, total: int) -> None:
        """Told in bytes; when all are read the pairs are joined, of which nobody tells how far it is."""
        if done < total:
            self.bar.update(self.task, completed=done, total=total)
        else:
            self.bar.update(self.task, description="joining pairs", completed=None, total=None)

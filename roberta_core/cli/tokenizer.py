"""`roberta tokenizer`: train a vocabulary, and convert one from and to fairseq."""

import json
from pathlib import Path
from typing import Annotated, Any

import typer

tokenizer = typer.Typer(add_completion=False)


@tokenizer.callback(invoke_without_command=True)
def group(context: typer.Context) -> None:
    """Train a tokenizer, and convert one from and to fairseq."""
    if context.invoked_subcommand is None:
        from roberta_core.cli.program import USAGE

        print(context.get_help())
        raise typer.Exit(USAGE)


@tokenizer.command()
def train(
    files: Annotated[list[Path], typer.Argument(help="Text files in UTF-8, of any size.")],
    vocab_size: Annotated[int, typer.Option(help="Number of entries, including the five special tokens.")],
    output: Annotated[Path, typer.Option(help="Output folder.")],
    min_frequency: Annotated[int, typer.Option(help="Merge only pairs that occur at least this often.")] = 2,
    max_length: Annotated[
        int | None, typer.Option(help="Maximum sequence length to store in tokenizer_config.json.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, without a progress bar.")] = False,
) -> None:
    """Train a byte-level BPE vocabulary on texts.

    <s> <pad> </s> <unk> get the ids 0 to 3, and <mask> the last id. The order of the files does not matter.
    """
    from roberta_core.cli.terminal import make_console
    from roberta_core.tokenization.training import train_tokenizer

    console = make_console(stderr=True, quiet=as_json)
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
    less = "" if size == vocab_size else f" (no further pair occurs {min_frequency} times)"
    _print_result(facts, f"Trained {size:,} entries{less}; the tokenizer is in {output}", as_json)


@tokenizer.command("from-fairseq")
def from_fairseq(
    dictionary: Annotated[Path, typer.Argument(help="fairseq's dict.txt, or its folder.")],
    output: Annotated[Path, typer.Option(help="Output folder.")],
    encoder: Annotated[
        Path | None, typer.Option(help="GPT-2's encoder.json; by default in the folder of dict.txt.")
    ] = None,
    merges: Annotated[
        Path | None, typer.Option(help="GPT-2's vocab.bpe; by default in the folder of dict.txt.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Convert fairseq's dict.txt and GPT-2's BPE files into a tokenizer."""
    from roberta_core.tokenization.fairseq import read_fairseq

    made = read_fairseq(dictionary, encoder, merges)
    made.save_pretrained(output)
    facts = {"entries": len(made), "folder": str(output)}
    _print_result(facts, f"Converted {len(made):,} entries; the tokenizer is in {output}", as_json)


@tokenizer.command("to-fairseq")
def to_fairseq(
    checkpoint: Annotated[str, typer.Argument(help="A folder with a tokenizer, or a built-in model.")],
    output: Annotated[Path, typer.Option(help="Output folder for dict.txt, encoder.json and vocab.bpe.")],
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Write a tokenizer as fairseq's dict.txt with GPT-2's encoder.json and vocab.bpe."""
    from roberta_core.tokenization import RobertaTokenizerFast
    from roberta_core.tokenization.fairseq import write_fairseq

    paths = write_fairseq(RobertaTokenizerFast.from_pretrained(checkpoint), output)
    _print_result({"files": list(paths)}, f"Wrote {', '.join(paths)}", as_json)


def _print_result(facts: dict[str, Any], sentence: str, as_json: bool) -> None:
    print(json.dumps(facts) if as_json else sentence)


class _Display:
    """Progress: a bar while texts are read, then a spinner while pairs are merged."""

    def __init__(self, console: Any) -> None:
        from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TimeElapsedColumn

        self.bar = Progress(
            TextColumn("{task.description}", markup=False), BarColumn(), DownloadColumn(), TimeElapsedColumn(),
            console=console, transient=True, disable=not console.is_terminal,
        )  # fmt: skip
        self.task = self.bar.add_task("reading", total=None)

    def __enter__(self) -> "_Display":
        if not self.bar.disable:
            self.bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if not self.bar.disable:  # older versions of rich print an empty line even for a bar that was never shown
            self.bar.stop()

    def reading(self, done: int, total: int) -> None:
        """Show how many bytes are read; how far the merging that follows has come is not known."""
        if done < total:
            self.bar.update(self.task, completed=done, total=total)
        else:
            self.bar.update(self.task, description="merging pairs", completed=None, total=None)

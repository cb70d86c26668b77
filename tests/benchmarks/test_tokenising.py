import re

import pytest
from tokenizers import Tokenizer
from typer.testing import CliRunner

from benchmarks.training import tokenising
from roberta_core import checkpoints
from roberta_core.data import corpus


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("texts")
    for name in ("a.txt", "b.txt"):
        (folder / name).write_text("The old man came\nto the sea. He saw it.\n\nIt was late. " * 40)
    (folder / "recipe.toml").write_text("[model]\nmax_position_embeddings = 66\n[data]\nsequence_length = 64\n")
    return folder


def test_the_sentences_are_those_of_the_command(texts, tmp_path):
    tokenizer = checkpoints.resolve("roberta-tiny")
    files = sorted(texts.glob("*.txt"))
    found = corpus.build(tmp_path, files, tokenizer, 2)
    reader = Tokenizer.from_file(str(tokenizer / "tokenizer.json"))
    rows = reader.encode_batch_fast(tokenising.split_documents(files), add_special_tokens=False)
    assert len(rows) == len(found.sentences) - 1
    assert sum(len(row.ids) for row in rows) == len(found.tokens) - len(files)  # each file has a separator


def test_the_command_is_compared_with_the_library(texts):
    arguments = ["--texts", str(texts / "*.txt"), "--recipe", str(texts / "recipe.toml"), "--rounds", "1"]
    arguments += ["--tokenizer", str(checkpoints.resolve("roberta-tiny"))]
    app = tokenising.typer.Typer()
    app.command()(tokenising.main)
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    assert re.search(r"MB, [\d,]+ tokens, \d+ cores", result.output)
    assert len(re.findall(r"[\d.]+x\b", result.output)) == 2


def test_a_command_that_fails_is_an_error_with_the_reason(texts, tmp_path):
    with pytest.raises(ChildProcessError, match=r"prepare exited with status 1: .*has no tokenizer\.json"):
        tokenising.time_command([str(texts / "*.txt")], tmp_path, str(texts / "recipe.toml"))

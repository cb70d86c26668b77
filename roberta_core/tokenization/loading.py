"""From a checkpoint to the fast tokenizer that its files describe."""

from __future__ import annotations

import os
from typing import Any

from tokenizers import pre_tokenizers

from roberta_core.tokenization import files
from roberta_core.tokenization.assembly import is_published, open_whole
from roberta_core.tokenization.fast import RobertaTokenizerFast
from roberta_core.tokenization.whole import TokenizerFast


def load_tokenizer(source: str | os.PathLike[str], **settings: Any) -> RobertaTokenizerFast | TokenizerFast:
    """The fast tokenizer of a checkpoint, whatever its kind; both kinds have the same call surface.

    `source` and `settings` are those of `RobertaTokenizerFast.from_pretrained`. A tokenizer.json of RoBERTa's kind, or
    a vocab.json with its merges.txt, becomes a `RobertaTokenizerFast`, any other tokenizer.json a `TokenizerFast`.
    Raises FileNotFoundError if there is no tokenizer, ValueError if a file is broken.
    """
    found = files.read_settings(files.folder_of(source, settings))
    asked = {"name_or_path": os.fspath(source), **settings}
    if "tokenizer_file" not in found:
        return RobertaTokenizerFast(**{**RobertaTokenizerFast._taken(found), **asked})
    whole = open_whole(found["tokenizer_file"])
    if not is_published(whole):
        return TokenizerFast(**{**TokenizerFast._taken(found), "tokenizer_file": whole, **asked})
    splitter = whole.pre_tokenizer
    assert isinstance(splitter, pre_tokenizers.ByteLevel)
    own = {"add_prefix_space": splitter.add_prefix_space}  # where tokenizer_config.json is silent
    return RobertaTokenizerFast(**{**own, **RobertaTokenizerFast._taken(found), "tokenizer_file": whole, **asked})

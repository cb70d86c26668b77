"""From a vocabulary to a working `tokenizers.Tokenizer`, and to the files that publish it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from roberta_core.tokenization.special_tokens import ROLES, as_added_token, describe
from roberta_core.tokenization.vocabulary import Merge, json_text, merges_text, vocab_text, write_text


def published_tokens() -> dict[str, AddedToken]:
    """Role -> special token, spelt as published."""
    return {role: as_added_token(role, token) for role, token in ROLES.items()}


def assemble(
    vocab: Mapping[str, int],
    merges: Iterable[Merge],
    tokens: Mapping[str, AddedToken] | None = None,
    *,
    add_prefix_space: bool = False,
    trim_offsets: bool = True,
) -> Tokenizer:
    """A byte-level BPE tokenizer with `<s> A </s>` and `<s> A </s></s> B </s>`, without normaliser."""
    tokens = tokens or published_tokens()
    model = models.BPE(vocab=dict(vocab), merges=list(merges), continuing_subword_prefix="", end_of_word_suffix="")
    tokenizer = Tokenizer(model)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens(in_id_order(vocab, tokens.values()))
    set_spacing(tokenizer, tokens, add_prefix_space=add_prefix_space, trim_offsets=trim_offsets)
    return tokenizer


def set_spacing(
    tokenizer: Tokenizer, tokens: Mapping[str, AddedToken], *, add_prefix_space: bool, trim_offsets: bool
) -> None:
    """Put in the two parts that depend on the treatment of blanks: pre-tokenizer and post-processor."""
    ends = [(tokens[role].content, tokenizer.token_to_id(tokens[role].content)) for role in ("sep_token", "cls_token")]
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, trim_offsets=trim_offsets)
    tokenizer.post_processor = processors.RobertaProcessing(
        *ends, trim_offsets=trim_offsets, add_prefix_space=add_prefix_space
    )


def in_id_order(vocab: Mapping[str, int], tokens: Iterable[AddedToken]) -> list[AddedToken]:
    """Each token once, by id; those that the vocabulary lacks come last and get the next free ids."""
    once = {token.content: token for token in tokens}
    return sorted(once.values(), key=lambda token: vocab.get(token.content, len(vocab)))


def tokenizer_config(tokenizer: Tokenizer, tokens: Mapping[str, AddedToken], **settings: object) -> dict[str, object]:
    """The content of tokenizer_config.json."""
    added = tokenizer.get_added_tokens_decoder()
    return {
        "added_tokens_decoder": {
            str(index): {**describe(token), "special": token.special} for index, token in sorted(added.items())
        },
        **{role: token.content for role, token in tokens.items()},
        **settings,
        "clean_up_tokenization_spaces": False,
        "tokenizer_class": "RobertaTokenizer",
    }


def special_tokens_map(tokens: Mapping[str, AddedToken]) -> dict[str, object]:
    """The content of special_tokens_map.json: plain text, but all the flags of a token that eats blanks."""
    return {role: describe(token) if token.lstrip or token.rstrip else token.content for role, token in tokens.items()}


def write_files(folder: Path, files: Mapping[str, str]) -> tuple[str, ...]:
    """Write each text file into the folder, made if need be; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        write_text(folder / name, text)
    return tuple(str(folder / name) for name in files)


def vocabulary_files(vocab: Mapping[str, int], merges: Iterable[Merge]) -> dict[str, str]:
    """File name -> text of the two files that every reader of byte-level BPE knows."""
    return {"vocab.json": vocab_text(vocab), "merges.txt": merges_text(merges)}


def config_files(tokenizer: Tokenizer, tokens: Mapping[str, AddedToken], **settings: object) -> dict[str, str]:
    """File name -> text of tokenizer.json and the two files of settings beside it."""
    return {
        "tokenizer.json": tokenizer.to_str(pretty=True),
        "tokenizer_config.json": json_text(tokenizer_config(tokenizer, tokens, **settings)),
        "special_tokens_map.json": json_text(special_tokens_map(tokens)),
    }

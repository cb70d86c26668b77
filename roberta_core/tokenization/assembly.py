"""From a vocabulary to the `tokenizers` library's own objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, processors

from roberta_core.tokenization.vocabulary import Merge


def make_model(vocab: Mapping[str, int], merges: Iterable[Merge]) -> models.BPE:
    """The byte-level BPE model. Raises ValueError when a merge is of tokens that the vocabulary lacks."""
    try:
        return models.BPE(vocab=dict(vocab), merges=list(merges), continuing_subword_prefix="", end_of_word_suffix="")
    except Exception as error:  # the library raises a bare Exception
        raise ValueError(f"the merges do not fit the vocabulary: {error}") from None


def make_engine(model: models.BPE, added: Mapping[int, AddedToken]) -> Tokenizer:
    """A tokenizer that shares the model and splits texts, nothing else: no special tokens around them, no trimming."""
    engine = Tokenizer(model)
    engine.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    for index, token in sorted(added.items()):
        (engine.add_special_tokens if token.special else engine.add_tokens)([token])
        if engine.token_to_id(token.content) != index:
            raise ValueError(f"{token.content!r} cannot have the id {index}: the ids before it have holes")
    return engine


def make_whole(
    model: models.BPE,
    added: Mapping[int, AddedToken],
    cls: tuple[str, int],
    sep: tuple[str, int],
    *,
    add_prefix_space: bool,
    trim_offsets: bool,
) -> Tokenizer:
    """The tokenizer as published: `<s> A </s>` and `<s> A </s></s> B </s>`, without normaliser."""
    whole = make_engine(model, added)
    whole.decoder = decoders.ByteLevel()
    whole.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space, trim_offsets=trim_offsets)
    whole.post_processor = processors.RobertaProcessing(
        sep, cls, trim_offsets=trim_offsets, add_prefix_space=add_prefix_space
    )
    return whole

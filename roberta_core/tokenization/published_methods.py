"""Methods of the published tokenizers that RoBERTa's own code does not need."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, ClassVar

from tokenizers import AddedToken

from roberta_core.checkpoints import hub
from roberta_core.checkpoints.save_options import read_upload_options
from roberta_core.refusals import AUTO_CLASSES, CHAT, Refused
from roberta_core.tokenization.call_arguments import TRUNCATION, choose
from roberta_core.tokenization.rows import Pieces, truncate_pair

if TYPE_CHECKING:
    from roberta_core.tokenization.batch_encoding import BatchEncoding

MESSAGE = "Upload the tokenizer"
ONLY = ("only_first", "only_second")


class TokenizerMethods:
    """Mixin of `TokenizerBase`."""

    truncation_side: str
    add_prefix_space: Any
    vocab_files_names: ClassVar[dict[str, str]] = {"vocab_file": "vocab.json", "merges_file": "merges.txt"}
    pretrained_vocab_files_map: ClassVar[dict[str, Any]] = {}  # the Hub's files are found by their names
    slow_tokenizer_class: ClassVar[type | None] = None

    apply_chat_template = Refused(CHAT)
    encode_message_with_chat_template = Refused(CHAT)
    get_chat_template = Refused(CHAT)
    save_chat_templates = Refused(CHAT)
    register_for_auto_class = Refused(AUTO_CLASSES)

    def push_to_hub(self, repo_id: str, **options: Any) -> str:
        """Upload the tokenizer's files to a repository, which is created if it does not exist.

        Args:
            repo_id: The repository, such as "name/model".
            **options: `token`, `private`, `revision`, `commit_message`, `commit_description` and `create_pr`, as for
                `hub.push`; further options of the published method have no effect.

        Returns:
            The address of the commit.
        """
        save: Any = self.save_pretrained  # pyright: ignore[reportAttributeAccessIssue]
        return hub.push_files(repo_id, save, **read_upload_options(options, MESSAGE))

    def sanitize_special_tokens(self) -> int:
        """Add the special tokens that the vocabulary lacks; return their number."""
        tokens: Any = self
        return tokens.add_tokens(tokens.all_special_tokens_extended, special_tokens=True)

    def truncate_sequences(
        self,
        ids: list[int],
        pair_ids: list[int] | None = None,
        num_tokens_to_remove: int = 0,
        truncation_strategy: bool | str | None = "longest_first",
        stride: int = 0,
    ) -> tuple[list[int], list[int] | None, list[int]]:
        """Remove tokens from the ids of one or two texts, on the `truncation_side`.

        Args:
            ids: The ids of the first text, without special tokens.
            pair_ids: The ids of the second text.
            num_tokens_to_remove: The number of tokens to remove.
            truncation_strategy: "longest_first", "only_first", "only_second" or "do_not_truncate".
            stride: The number of remaining tokens that the removed ones are returned with.

        Returns:
            The ids that remain of both texts, and the removed ones with `stride` remaining ones beside them; none for
            "longest_first" of two texts.

        Raises:
            ValueError: The text is too short.
        """
        strategy = TRUNCATION[choose("truncation_strategy", truncation_strategy, TRUNCATION)]
        if num_tokens_to_remove <= 0 or strategy is None or (strategy == "only_second" and pair_ids is None):
            return ids, pair_ids, []
        room = len(ids) + len(pair_ids or ()) - num_tokens_to_remove
        strategy = "only_first" if pair_ids is None else strategy
        left = self.truncation_side == "left"
        texts = Pieces(ids), None if pair_ids is None else Pieces(pair_ids)
        first, second = truncate_pair(texts, strategy, room, 0, left=left, overflow=False)[0]
        removed: list[int] = []
        if strategy in ONLY:
            whole = ids if strategy == "only_first" else pair_ids or []
            size = min(len(whole), stride + num_tokens_to_remove)
            removed = whole[:size] if left else whole[-size:]
        return first.ids, None if second is None else second.ids, removed

    @classmethod
    def convert_added_tokens(cls, obj: Any, save: bool = False, add_type_field: bool = True) -> Any:
        """Return data with its added tokens as dicts, or its dicts of added tokens as `AddedToken`.

        Args:
            obj: An added token, a dict that describes one (`"__type": "AddedToken"`), or lists and dicts of them.
            save: Whether to turn added tokens into dicts.
            add_type_field: Whether these dicts have `__type`; without it they lack `special` too.
        """
        if isinstance(obj, Mapping) and obj.get("__type") == "AddedToken":
            return AddedToken(**{name: value for name, value in obj.items() if name != "__type"})
        if isinstance(obj, AddedToken) and save:
            fields = obj.__getstate__()
            if add_type_field:
                return {**fields, "__type": "AddedToken"}
            return {name: value for name, value in fields.items() if name != "special"}
        if isinstance(obj, list | tuple):
            return [cls.convert_added_tokens(one, save, add_type_field) for one in obj]
        if isinstance(obj, Mapping):
            return {name: cls.convert_added_tokens(one, save, add_type_field) for name, one in obj.items()}
        return obj

    @contextmanager
    def as_target_tokenizer(self) -> Iterator[None]:
        """Encode targets inside this context: RoBERTa's tokenizers encode them as every text."""
        yield

    def prepare_seq2seq_batch(
        self,
        src_texts: Sequence[str],
        tgt_texts: Sequence[str] | None = None,
        max_length: int | None = None,
        max_target_length: int | None = None,
        padding: bool | str = "longest",
        return_tensors: str | None = None,
        truncation: bool | str = True,
        **options: Any,
    ) -> BatchEncoding:
        """Encode texts and their targets, as `labels`; a call with `text_target` is the present form of it.

        Args:
            src_texts: The texts.
            tgt_texts: Their targets.
            max_length: As in a call.
            max_target_length: The maximum length of a target; None for `max_length`.
            padding: As in a call.
            return_tensors: As in a call.
            truncation: As in a call.
            **options: Further arguments of a call.
        """
        call: Any = self
        shared = {"padding": padding, "return_tensors": return_tensors, "truncation": truncation, **options}
        found = call(list(src_texts), max_length=max_length, **shared)
        if tgt_texts is not None:
            limit = max_length if max_target_length is None else max_target_length
            found["labels"] = call(list(tgt_texts), max_length=limit, **shared)["input_ids"]
        return found


class PlainTokenizerMethods:
    """Mixin of `RobertaTokenizer`: what the published pure-Python tokenizer has in addition."""

    add_prefix_space: Any

    def bpe(self, token: str) -> str:
        """Return the pieces of a word in byte letters, separated by spaces.

        Args:
            token: A word as the vocabulary writes it, such as "Ġopened".
        """
        return " ".join(self._merge_word(token))

    def _merge_word(self, letters: str) -> Sequence[str]:
        raise NotImplementedError

    def prepare_for_tokenization(
        self, text: str, is_split_into_words: bool = False, **options: Any
    ) -> tuple[str, dict[str, Any]]:
        """Return a text with the space that is put before it, and the other options.

        Args:
            text: The text.
            is_split_into_words: Whether the text is a word: it then gets a space.
            **options: `add_prefix_space`, which replaces the tokenizer's own setting, and others.
        """
        prefix = is_split_into_words or options.pop("add_prefix_space", self.add_prefix_space)
        options.pop("add_prefix_space", None)
        return (f" {text}" if prefix and text and not text[0].isspace() else text), options


class FastTokenizerMethods:
    """Mixin of the fast tokenizers: what the published ones have in addition."""

    can_save_slow_tokenizer = True  # vocab.json and merges.txt are always written
    set_truncation_and_padding = Refused("pass padding and truncation to the call, which leave the tokenizer unchanged")

    @property
    def decoder(self) -> Any:
        """The decoder of the `tokenizers` library."""
        engine: Any = self
        return engine.backend_tokenizer.decoder

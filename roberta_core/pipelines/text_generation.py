"""Text generation: continuations of prompts by a causal model."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from roberta_core.pipelines.base import Options, Pipeline, RowError, require_str
from roberta_core.tasks.base import BUDGET
from roberta_core.tasks.features import Feature, Output

NEW_TOKENS = 256  # by default, as published; fewer where the model has no room


# Defaults of this pipeline that a stored generation_config.json does not change, as published.
OWN_DEFAULTS = ("max_new_tokens", "max_length", "do_sample", "temperature")


class TextGenerationPipeline(Pipeline):
    """Continuations of prompts. An input is a text.

    Call options:
        return_full_text: whether the prompt is part of the text.
        return_tensors: return token ids instead of text.
        add_special_tokens: whether the prompt is framed by `<s>` and `</s>`, as the tokenizer does.
        clean_up_tokenization_spaces: whether spaces before punctuation are removed from the continuation, as published.
        Others are those of `generate`, such as `max_new_tokens`, `do_sample`, `temperature`, `top_k`, `num_beams`,
        `num_return_sequences` and `seed`. By default they are those of the model's
        `generation_config`, except that at most 256 tokens are sampled at temperature 0.7, as published.

    Returns:
        For each input a list of `{"generated_text"}`, or of `{"generated_token_ids"}`.
    """

    task = "text-generation"
    architecture = "ForCausalLM"
    defaults = {  # noqa: RUF012  # declared once, never written
        "return_full_text": True, "return_tensors": False, "add_special_tokens": True,
        "clean_up_tokenization_spaces": True, "max_new_tokens": None,
        "max_length": None, "min_new_tokens": 0, "do_sample": True, "temperature": 0.7, "top_k": 50, "top_p": 1.0,
        "num_beams": 1, "length_penalty": 1.0, "early_stopping": False, "num_return_sequences": 1,
        "repetition_penalty": 1.0, "no_repeat_ngram_size": 0, "seed": 0,
    }  # fmt: skip

    def __init__(self, *arguments: Any, budget: int | None = BUDGET, **settings: Any):
        super().__init__(*arguments, budget=budget, **settings)
        stored = getattr(self.model, "generation_config", None)
        if stored is not None:
            found = stored.to_diff_dict().items()
            own = {name: value for name, value in found if name in self.defaults and name not in OWN_DEFAULTS}
            self.settings = self._resolve_options({**self.defaults, **own}, settings)
        if not self.config.is_decoder:
            raise ValueError(
                "text-generation needs a causal language model, but this one reads texts in both directions "
                "(is_decoder is false in its configuration): use fill-mask; if it was trained to continue texts, set "
                "is_decoder to true in its config.json"
            )

    def stream(self, inputs: Iterable[Any], options: Options, keep_errors: bool = False) -> Iterator[Any]:
        """Yield the continuations of each prompt, one prompt after the other."""
        for item in inputs:
            try:
                yield item if isinstance(item, RowError) else self._continue(item, options)
            except ValueError as error:
                if not keep_errors:
                    raise
                yield RowError(str(error))

    def _continue(self, item: Any, options: Options) -> list[dict[str, Any]]:
        prompt = require_str(item, "an input")
        ids = self.tokenizer(prompt, add_special_tokens=options["add_special_tokens"])["input_ids"]
        ids = ids or [self.tokenizer.bos_token_id]
        return [self._record(prompt, ids, row, options) for row in self._generate(ids, options)]

    def _generate(self, ids: list[int], options: Options) -> list[list[int]]:
        own = ("return_full_text", "return_tensors", "add_special_tokens", "clean_up_tokenization_spaces")
        arguments = {name: value for name, value in options.items() if name not in own}
        if arguments["max_new_tokens"] is None and arguments["max_length"] is None:
            room = self.config.max_sequence_length - len(ids)
            if room < 1:
                raise ValueError(f"a prompt has {len(ids)} tokens, which leaves no room to generate")
            arguments["max_new_tokens"] = min(NEW_TOKENS, room)
        arguments["do_sample"] = arguments["do_sample"] and arguments["num_beams"] == 1
        prompt = np.array([ids], np.int64)
        output = self.model.generate(
            self.backend.tensor(prompt), attention_mask=self.backend.tensor(np.ones_like(prompt)), **arguments
        )
        return np.asarray(getattr(output, "sequences", output)).tolist()

    def _record(self, prompt: str, ids: list[int], row: list[int], options: Options) -> dict[str, Any]:
        if options["return_tensors"]:
            return {"generated_token_ids": row}
        clean = options["clean_up_tokenization_spaces"]
        before, text = (self.tokenizer.decode(tokens, True, clean) for tokens in (ids, row))
        added = text[len(before) :]
        return {"generated_text": prompt + added if options["return_full_text"] else added}

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Not used: `generate` plans its own steps."""
        return []

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> Any:
        """Not used: `generate` plans its own steps."""
        return None

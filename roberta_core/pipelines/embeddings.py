"""Features of texts: the hidden states of each token, or one vector for each text.

Shapes: S sequence, D hidden.
"""

import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from roberta_core.pipelines.base import Options, Pipeline, advise_truncation, encode_rows, require_str
from roberta_core.sentences import (
    SIMILARITIES,
    Normalize,
    SentenceModules,
    find_encoder,
    lower,
    read_modules,
    save_modules,
)
from roberta_core.tasks.features import Feature, Output


class FeatureExtractionPipeline(Pipeline):
    """Hidden states of the last layer. An input is a text.

    Call options:
        return_tensors: return a tensor of the framework instead of nested lists.
        truncation: truncate a text that is longer than the model accepts; otherwise it is refused.
        tokenize_kwargs: further arguments of the tokenizer.

    Returns:
        [1, S, D] for each input.
    """

    task = "feature-extraction"
    architecture = "Model"
    defaults = {"return_tensors": None, "truncation": False, "tokenize_kwargs": None}  # noqa: RUF012

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row for each text."""
        arguments = dict(options["tokenize_kwargs"] or {})
        if options["truncation"]:
            arguments |= {"truncation": options["truncation"], "max_length": arguments.get("max_length", self.length)}
        texts = [require_str(item, "an input") for item in inputs]
        rows = encode_rows(self.tokenizer, texts, arguments)
        for ids in rows:
            if len(ids) > self.length:
                raise ValueError(
                    f"a text has {len(ids)} tokens, but the model accepts at most {self.length}: "
                    f"shorten it, or {advise_truncation()}"
                )
        return [Feature(ids, {}, number) for number, ids in enumerate(rows)]

    def keep(self, feature: Feature, output: Output, options: Options) -> Output:
        """Return the hidden states [S, D] without padding."""
        return {"states": output["last_hidden_state"][: len(feature.ids)]}

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> Any:
        """Return the hidden states of a text."""
        states = rows[0][1]["states"][None]
        return self.backend.tensor(states) if options["return_tensors"] else states.tolist()


class SentenceEmbeddingPipeline(FeatureExtractionPipeline):
    """One vector for each text. An input is a text.

    The folder of a sentence-transformers model sets the pooling, the layers after it, the longest text and the prompts.

    Call options:
        pooling: "mean" of all tokens, the first token ("cls"), the "max" of each dimension, "mean_sqrt_len" (the sum
            divided by the square root of the number of tokens), "weightedmean" (by position) or "lasttoken"; several
            in a list, or with + between them, are concatenated. By default as the folder says, or "mean".
        normalize: scale vectors to length 1, so that a dot product is a cosine similarity. By default as the folder
            says.
        prompt_name: the prompt of the folder to put before each text; by default the folder's default prompt, if any.
        prompt: a text to put before each text, instead of a prompt of the folder; an empty one means none.
        truncation: truncate a text that is longer than the model accepts; otherwise it is refused.

    Returns:
        A float32 array [D] for each input.
    """

    task = "sentence-embedding"
    defaults = {  # noqa: RUF012
        "pooling": None, "normalize": None, "prompt_name": None, "prompt": None, "truncation": False,
        "tokenize_kwargs": None,
    }  # fmt: skip

    def __init__(self, *arguments: Any, modules: SentenceModules | None = None, **settings: Any):
        self.modules = modules or SentenceModules()
        super().__init__(*arguments, **settings)
        self._select(self.settings).check_size(self.config.hidden_size)
        self.length = min(self.length, self.modules.max_length or self.length)

    @classmethod
    def read_folder(cls, folder: Path) -> tuple[Path, dict[str, Any]]:
        """Return the folder of the encoder, and the modules after it."""
        return find_encoder(folder), {"modules": read_modules(folder)}

    def check_options(self, options: Options) -> None:
        """Refuse unknown poolings and prompts."""
        self._select(options)
        self._find_prompt(options)

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row for each text with its prompt, `notes` being the number of tokens of the prompt."""
        prompt = self._find_prompt(options)
        texts = [prompt + require_str(item, "an input") for item in inputs]
        if self.modules.lower_case:
            texts = [lower(text) for text in texts]
        features, skip = super().build_features(texts, options), 0
        if prompt and not self.modules.pooling.include_prompt:
            skip = len(self.tokenizer(prompt)["input_ids"]) - 1  # without `</s>`
        return [replace(feature, notes=skip) for feature in features]

    def keep(self, feature: Feature, output: Output, options: Options) -> Output:
        """Return the vector [D] of a text."""
        states = output["last_hidden_state"][: len(feature.ids)]
        return {"vector": self._select(options).embed(states, feature.notes)}

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> np.ndarray:
        """Return the vector of a text."""
        return rows[0][1]["vector"]

    def similarity(self, first: Any, second: Any) -> np.ndarray:
        """Return the similarities [N, M] of vectors [N, D] and [M, D], by the similarity function of the model."""
        wide = [np.atleast_2d(np.asarray(vectors, np.float64)) for vectors in (first, second)]
        return SIMILARITIES[self.modules.similarity](*wide)

    def save_pretrained(self, folder: str | os.PathLike[str]) -> None:
        """Save a folder that sentence-transformers opens, with the settings of this pipeline.

        Args:
            folder: a folder that does not exist or is empty.

        Raises:
            CheckpointError: the folder is not empty, or a file cannot be written.
        """
        modules = self._select(self.settings)
        if self.settings["prompt_name"] is not None:
            modules = replace(modules, default_prompt_name=self.settings["prompt_name"])
        save_modules(folder, replace(modules, max_length=self.length), self.config.hidden_size, self._save_model)

    def _select(self, options: Options) -> SentenceModules:
        """Return the modules with the pooling and normalisation of a call."""
        pooling, layers = self.modules.pooling, self.modules.layers
        modes = options["pooling"]
        if modes is not None:
            modes = tuple(modes.split("+")) if isinstance(modes, str) else tuple(modes)
            pooling = replace(pooling, modes=modes)
        if options["normalize"] is not None:
            layers = layers[:-1] if layers and isinstance(layers[-1], Normalize) else layers
            layers = (*layers, Normalize()) if options["normalize"] else layers
        return replace(self.modules, pooling=pooling, layers=layers)

    def _find_prompt(self, options: Options) -> str:
        if options["prompt"] is not None:
            return require_str(options["prompt"], "prompt")
        return self.modules.find_prompt(options["prompt_name"])

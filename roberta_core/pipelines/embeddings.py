"""Features of texts: the hidden states of each token, or one vector for each text.

Shapes: S sequence, D hidden.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from roberta_core.pipelines.base import Options, Pipeline, require_str
from roberta_core.tasks.features import Feature, Output

POOLINGS = ("mean", "cls", "max")


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
        rows = self.tokenizer(texts, **arguments)["input_ids"] if texts else []
        for ids in rows:
            if len(ids) > self.length:
                raise ValueError(
                    f"a text has {len(ids)} tokens, but the model accepts at most {self.length}: "
                    "shorten it, or pass truncation=True"
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

    Call options:
        pooling: "mean" of all tokens, the first token ("cls"), or the "max" of each dimension.
        normalize: scale vectors to length 1, so that a dot product is a cosine similarity.
        truncation: truncate a text that is longer than the model accepts; otherwise it is refused.

    Returns:
        A float32 array [D] for each input.
    """

    task = "sentence-embedding"
    defaults = {"pooling": "mean", "normalize": False, "truncation": False, "tokenize_kwargs": None}  # noqa: RUF012

    def check_options(self, options: Options) -> None:
        """Refuse unknown poolings."""
        if options["pooling"] not in POOLINGS:
            raise ValueError(f"pooling is {options['pooling']!r}; known are {', '.join(POOLINGS)}")

    def keep(self, feature: Feature, output: Output, options: Options) -> Output:
        """Return the vector [D] of a text."""
        states = output["last_hidden_state"][: len(feature.ids)].astype(np.float64)
        vector = {"mean": states.mean(axis=0), "cls": states[0], "max": states.max(axis=0)}[options["pooling"]]
        if options["normalize"]:
            vector = vector / max(float(np.linalg.norm(vector)), 1e-12)
        return {"vector": vector.astype(np.float32)}

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> np.ndarray:
        """Return the vector of a text."""
        return rows[0][1]["vector"]

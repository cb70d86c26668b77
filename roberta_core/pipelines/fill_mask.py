"""Fill-mask: predictions for each `<mask>` of a text.

Shapes: M masks of a text, V vocabulary.
"""

import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from roberta_core.interface import choose_advice
from roberta_core.pipelines.base import Options, Pipeline, encode_rows, require_str
from roberta_core.tasks.base import softmax
from roberta_core.tasks.features import Feature, Output

logger = logging.getLogger(__name__)

SHOWN = 60  # characters of a text that an error shows
BEAMS = 5  # joint fillings that are held while masks are filled one after the other


class FillMaskPipeline(Pipeline):
    """Predictions for masks. An input is a text with at least one mask token.

    Call options:
        top_k: the number of predictions for each mask.
        targets: a token or a list of tokens that alone are considered; the first token of a word that is not in the
            vocabulary.
        joint: fill several masks together: the most likely combinations, each mask given those filled before it.
        tokenizer_kwargs: arguments of the tokenizer, such as `truncation=True`.

    Returns:
        For each text with one mask a list of `{"score", "token", "token_str", "sequence"}`, best first; with several
        a list of such lists. With `joint` a list of `{"score", "tokens", "token_strs", "sequence"}`.
    """

    task = "fill-mask"
    architecture = "ForMaskedLM"
    defaults = {"top_k": 5, "targets": None, "joint": False, "tokenizer_kwargs": None}  # noqa: RUF012

    def __call__(self, inputs: Any, **options: Any) -> Any:
        """Return predictions; a list of one text gives the result of that text, as published."""
        result = super().__call__(inputs, **options)
        return result[0] if isinstance(inputs, list) and len(inputs) == 1 else result

    def check_options(self, options: Options) -> None:
        """Refuse a `top_k` that the vocabulary cannot give, and joint filling of given targets."""
        known = min(len(self.tokenizer), self.config.vocab_size)
        if not 1 <= options["top_k"] <= known:
            raise ValueError(f"top_k is {options['top_k']}, but the vocabulary has {known} tokens to choose from")
        if options["joint"] and options["targets"] is not None:
            raise ValueError("joint=True does not take targets")

    def stream(self, inputs: Iterable[Any], options: Options, keep_errors: bool = False) -> Iterator[Any]:
        """Yield the predictions of each text."""
        if options["targets"] is not None:
            options = {**options, "targets": self._target_ids(options["targets"])}
        if not options["joint"]:
            yield from super().stream(inputs, options, keep_errors)
            return
        for item in inputs:
            features, errors = self._build([item], options, keep_errors)
            yield errors[0] if errors else self._fill_jointly(features[0], options["top_k"])

    def build_features(self, inputs: Sequence[Any], options: Options) -> list[Feature]:
        """Return a row for each text, its `notes` being the positions of the masks."""
        texts = [require_str(item, "an input") for item in inputs]
        rows = encode_rows(self.tokenizer, texts, options["tokenizer_kwargs"] or {})
        return [self._feature(number, text, ids) for number, (text, ids) in enumerate(zip(texts, rows, strict=True))]

    def _feature(self, number: int, text: str, ids: list[int]) -> Feature:
        shown = repr(text if len(text) <= SHOWN else f"{text[:SHOWN]}...")
        masks = [position for position, token in enumerate(ids) if token == self.tokenizer.mask_token_id]
        if not masks:
            mask = self.tokenizer.mask_token
            raise ValueError(f"No mask_token ({mask}) found on the input {shown}: write {mask} where a word is missing")
        if len(ids) > self.length:
            advice = choose_advice(
                python='shorten it, or pass tokenizer_kwargs={"truncation": True}',
                command="shorten it",
                request="shorten it",
            )
            raise ValueError(f"{shown} has {len(ids)} tokens, but the model accepts at most {self.length}: {advice}")
        return Feature(ids, {}, number, masks, predicted=masks)

    def keep(self, feature: Feature, output: Output, options: Options) -> Output:
        """Return the best ids and their probabilities [M, top_k]."""
        logits = output["logits"]  # [M, V]
        targets = options["targets"]
        scores = softmax(logits)
        scores = scores[:, : len(self.tokenizer)] if targets is None else scores[:, targets]
        best = np.argsort(-scores, axis=-1, kind="stable")[:, : options["top_k"]]
        ids = best if targets is None else np.asarray(targets)[best]
        return {"ids": ids, "scores": np.take_along_axis(scores, best, axis=-1)}

    def decode(self, item: Any, rows: Sequence[tuple[Feature, Output]], options: Options) -> Any:
        """Return the predictions for each mask of a text."""
        ((feature, output),) = rows
        masks = [
            [
                {
                    "score": score,
                    "token": token,
                    "token_str": self.tokenizer.decode([token]),
                    "sequence": self._fill(feature, {position: token}),
                }
                for token, score in zip(ids, scores, strict=True)
            ]
            for position, ids, scores in zip(
                feature.notes, output["ids"].tolist(), output["scores"].tolist(), strict=True
            )
        ]
        return masks[0] if len(masks) == 1 else masks

    def _fill(self, feature: Feature, tokens: dict[int, int]) -> str:
        """Return the text with masks replaced; special tokens are dropped unless other masks would be too."""
        ids = [tokens.get(position, token) for position, token in enumerate(feature.ids)]
        ids = [token for token in ids if token != self.tokenizer.pad_token_id]
        return self.tokenizer.decode(ids, skip_special_tokens=len(tokens) == len(feature.notes))

    def _fill_jointly(self, feature: Feature, top_k: int) -> list[dict[str, Any]]:
        """Return the best fillings of all masks, searched from left to right with a beam."""
        beams: list[tuple[float, dict[int, int]]] = [(0.0, {})]
        width = max(top_k, BEAMS)
        for position in feature.notes:
            rows = [
                replace(
                    feature,
                    ids=[tokens.get(place, token) for place, token in enumerate(feature.ids)],
                    notes=[position],
                    predicted=[position],
                )
                for _, tokens in beams
            ]
            outputs = self.run(rows, {"targets": None, "top_k": width})
            grown = [
                (score + float(np.log(probability)), {**tokens, position: token})
                for (score, tokens), output in zip(beams, outputs, strict=True)
                for token, probability in zip(output["ids"][0].tolist(), output["scores"][0], strict=True)
            ]
            beams = sorted(grown, key=lambda beam: -beam[0])[:width]
        return [
            {
                "score": float(np.exp(score)),
                "tokens": list(tokens.values()),
                "token_strs": [self.tokenizer.decode([token]) for token in tokens.values()],
                "sequence": self._fill(feature, tokens),
            }
            for score, tokens in beams[:top_k]
        ]

    def _target_ids(self, targets: Any) -> list[int]:
        vocabulary = self.tokenizer.get_vocab()
        found: list[int] = []
        for target in [targets] if isinstance(targets, str) else targets:
            token = vocabulary.get(target)
            if token is None:
                ids = self.tokenizer(target, add_special_tokens=False)["input_ids"]
                if not ids:
                    raise ValueError(f"the target {target!r} has no token")
                token = ids[0]
                shown = self.tokenizer.convert_ids_to_tokens(token)
                logger.warning("The target %r is not in the vocabulary: its first token %r is used.", target, shown)
            if token not in found:
                found.append(token)
        if not found:
            raise ValueError("targets is empty: pass at least one token")
        return found

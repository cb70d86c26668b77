"""Running implementations: on the suite's cases, or on a checkpoint with real text.

Shapes: B batch, S sequence, C choices, V vocabulary.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from conformance.adapters import Adapter
from conformance.adapters.oracle import Reference
from conformance.case import Case
from conformance.compare import Verdict, compare_all, first_failure, merge, worst
from conformance.oracle import Stages
from roberta_core.config import RobertaConfig
from roberta_core.parameters import ARCHITECTURES
from roberta_core.tasks.fill_mask import softmax
from roberta_core.tokenization import RobertaTokenizerFast

BATCH = 8  # texts a call
TOP_K = 5
CHECKPOINT_RTOL = 1e-5  # float32 over real text in a trained model: the project's own bar
LM_HEADS = ("ForMaskedLM", "ForCausalLM")
TEXTS = (
    "He shook his <mask> and said nothing.",
    "She opened the door and walked into the <mask>.",
    "If the argument is not a string, the function raises a <mask>.",
    "It was the best of times, it was the <mask> of times, it was the age of wisdom, it was the age of foolishness.",
    "No.",
    "This document describes a proposal, its rationale and its reference implementation; it also lists the ideas that "
    "were rejected, with the reasons, so that whoever reads it in ten years' time need not <mask> them again.",
)

Progress = Callable[[str], None]


@dataclass
class Judged:
    """What the judge says of one implementation, by group: a case, or the one group of a checkpoint."""

    name: str
    title: str
    version: str
    groups: dict[str, list[Verdict]] = field(default_factory=dict)

    @property
    def ok(self) -> bool:
        """Whether everything was judged and is within its tolerance."""
        return bool(self.groups) and all(verdict.ok for verdict in self.verdicts)

    @property
    def verdicts(self) -> list[Verdict]:
        """All of them."""
        return [verdict for group in self.groups.values() for verdict in group]

    @property
    def worst(self) -> Verdict:
        """The verdict with the largest error."""
        return worst(self.verdicts)

    @property
    def failures(self) -> dict[str, Verdict]:
        """Of each group that fails, the first stage that differs."""
        firsts = {name: first_failure(group) for name, group in self.groups.items()}
        return {name: first for name, first in firsts.items() if first is not None}


@dataclass
class Fill:
    """A mask of a text, the likeliest tokens for it, and the probability that each implementation gives to each."""

    text: str
    tokens: list[str]
    probabilities: dict[str, list[float]]


@dataclass
class Report:
    """A run: of a checkpoint by its name, or of the suite where that is None."""

    checkpoint: str | None
    tolerance: float
    frameworks: list[Judged]
    fills: list[Fill] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there was something to judge and all of it is well."""
        return bool(self.frameworks) and all(judged.ok for judged in self.frameworks)


def run_cases(adapters: Sequence[Adapter], cases: Iterable[Case], progress: Progress = lambda name: None) -> Report:
    """Every adapter on every case."""
    judged = {adapter.name: Judged(adapter.name, adapter.title, adapter.version) for adapter in adapters}
    tolerance = 0.0
    for case in cases:
        tolerance = max(tolerance, case.rtol)
        for adapter in adapters:
            progress(f"{case.name} in {adapter.title}")
            judged[adapter.name].groups[case.name] = judge_case(adapter, case)
    return Report(None, tolerance, list(judged.values()))


def judge_case(adapter: Adapter, case: Case) -> list[Verdict]:
    """The verdicts on one case; one that cannot be run has a single verdict that says why."""
    try:
        model = adapter.build(case.architecture, case.configuration, case.tensors)
        return both_paths(adapter, model, case.arrays, case.expected, case.rtol, case.stages)
    except Exception as error:  # what an implementation does is its own affair: the others are still judged
        return [Verdict("run", np.inf, np.inf, case.rtol, f"{type(error).__name__}: {error}")]


def both_paths(
    adapter: Adapter,
    model: Any,
    inputs: Mapping[str, np.ndarray],
    want: Stages,
    rtol: float,
    stages: Sequence[str] = ("*",),
) -> list[Verdict]:
    """The worse of two runs: one that shows its attentions, and one that may use a fused kernel instead."""
    hidden = {name: value for name, value in want.items() if "attentions" not in name}
    patterns = [pattern for pattern in stages if "attentions" not in pattern]
    shown = compare_all(adapter.run(model, inputs, attentions=True), want, rtol, stages)
    return merge(shown, compare_all(adapter.run(model, inputs, attentions=False), hidden, rtol, patterns))


def run_checkpoint(
    adapters: Sequence[Adapter],
    source: str | os.PathLike[str],
    texts: Sequence[str] = TEXTS,
    progress: Progress = lambda name: None,
) -> Report:
    """Every adapter on real text in a checkpoint; `ValueError` or `OSError` for one that cannot be judged."""
    architecture = architecture_of(RobertaConfig.from_pretrained(source))
    tokenizer = RobertaTokenizerFast.from_pretrained(source)
    reference = Reference()
    right = reference.load(architecture, source)
    judged, models = {}, {}
    for adapter in adapters:
        progress(f"load in {adapter.title}")
        judged[adapter.name] = Judged(adapter.name, adapter.title, adapter.version)
        models[adapter.name] = adapter.load(architecture, source)
    fills: list[Fill] = []
    for start in range(0, len(texts), BATCH):
        batch = list(texts[start : start + BATCH])
        inputs = encode(tokenizer, batch, right.config, architecture)
        progress(f"texts {start + 1} to {start + len(batch)}")
        want = reference.run(right, inputs, attentions=True)
        logits = {reference.name: want.get("logits")}
        for adapter in adapters:
            groups, model = judged[adapter.name].groups, models[adapter.name]
            new = both_paths(adapter, model, inputs, want, CHECKPOINT_RTOL)
            groups["text"] = merge(groups.get("text", []), new)
            logits[adapter.name] = adapter.run(model, inputs, attentions=False).get("logits")
        if architecture in LM_HEADS:
            fills += fill(tokenizer, batch, inputs["input_ids"], logits)
    return Report(os.fspath(source), CHECKPOINT_RTOL, list(judged.values()), fills)


def architecture_of(config: RobertaConfig) -> str:
    """The class that a checkpoint is of, which is Model if it does not say."""
    names = [name.removeprefix("Roberta") for name in config.architectures or ()]
    return next((name for name in names if name in ARCHITECTURES), "Model")


def encode(tokenizer: Any, texts: list[str], config: RobertaConfig, architecture: str) -> dict[str, np.ndarray]:
    """Ids and mask [B, S], cut to what the model takes; [1, C, S] for multiple choice."""
    limit = config.max_sequence_length
    encoded = tokenizer(
        texts, padding=True, truncation=True, max_length=limit, return_attention_mask=True, return_tensors="np"
    )
    arrays = {name: np.asarray(encoded[name]) for name in ("input_ids", "attention_mask")}
    return {name: value[None] for name, value in arrays.items()} if architecture == "ForMultipleChoice" else arrays


def fill(
    tokenizer: Any, texts: list[str], input_ids: np.ndarray, logits: Mapping[str, np.ndarray | None]
) -> list[Fill]:
    """What every implementation puts in the place of each mask: the likeliest tokens of any, by the first's order."""
    fills, known = [], len(tokenizer)  # a model may have rows to spare
    for row, position in np.argwhere(input_ids == tokenizer.mask_token_id):
        scores = {name: value[row, position] for name, value in logits.items() if value is not None}
        found = {name: softmax(values) for name, values in scores.items()}
        chosen = {
            int(token) for values in found.values() for token in np.argsort(-values[:known], kind="stable")[:TOP_K]
        }
        first = next(iter(found.values()))
        tokens = sorted(chosen, key=lambda token: (-first[token], token))
        shown = {name: [float(values[token]) for token in tokens] for name, values in found.items()}
        fills.append(Fill(texts[row], [tokenizer.decode([token]) for token in tokens], shown))
    return fills

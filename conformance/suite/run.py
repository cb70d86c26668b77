"""Run implementations on the suite's cases, or on a checkpoint with real text.

Shapes: B batch, S sequence, C choices, V vocabulary.
"""

import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from roberta_core.checkpoints import resolve
from roberta_core.checkpoints.conversion import open_checkpoint
from roberta_core.config import RobertaConfig
from roberta_core.tasks.fill_mask import softmax
from roberta_core.tokenization import load_tokenizer

from ..adapters import Adapter
from ..adapters.oracle import Reference
from ..oracle import Stages
from ..oracle.rounding import MULTIPLE, expected_rounding
from .case import Case
from .judge import Verdict, compare_all, first_failure, merge, worst

BATCH = 8  # texts per call
TOP_K = 5
LM_HEADS = ("ForMaskedLM", "ForCausalLM")
TEXTS = (
    "He shook his <mask> and said nothing.",
    "She opened the door and walked into the <mask>.",
    "If the argument is not a string, the function raises a <mask>.",
    "It was the best of times, it was the <mask> of times, it was the age of wisdom, it was the age of foolishness.",
    "No.",
    "This document describes a proposal, its rationale and its reference implementation; it also lists the ideas that "
    "were rejected, with the reasons, so that a reader in ten years' time need not <mask> them again.",
)

Progress = Callable[[str], None]


@dataclass
class FrameworkResult:
    """The verdicts on one implementation, by group: a case, or the single group of a checkpoint."""

    name: str
    title: str
    version: str
    groups: dict[str, list[Verdict]] = field(default_factory=dict)
    cause: str | None = None  # why it differs, if that was looked for

    @property
    def ok(self) -> bool:
        """Whether there are verdicts and all of them passed."""
        return bool(self.groups) and all(verdict.ok for verdict in self.verdicts)

    @property
    def verdicts(self) -> list[Verdict]:
        """The verdicts of all groups."""
        return [verdict for group in self.groups.values() for verdict in group]

    @property
    def worst(self) -> Verdict:
        """The verdict with the largest error."""
        return worst(self.verdicts)

    @property
    def failures(self) -> dict[str, Verdict]:
        """The first stage that differs, for each group that failed."""
        firsts = {name: first_failure(group) for name, group in self.groups.items()}
        return {name: first for name, first in firsts.items() if first is not None}


@dataclass
class Fill:
    """A `<mask>` of a text, its most probable tokens, and their probabilities in each implementation."""

    text: str
    tokens: list[str]
    probabilities: dict[str, list[float]]


@dataclass
class Report:
    """The results on a checkpoint, or on the suite's cases if `checkpoint` is None."""

    checkpoint: str | None
    tolerance: float | None  # of every stage; None if it is `multiple` times the expected rounding of each
    frameworks: list[FrameworkResult]
    fills: list[Fill] = field(default_factory=list)
    multiple: float | None = None
    precision: str = "float32"
    warnings: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether there are results and all of them passed."""
        return bool(self.frameworks) and all(result.ok for result in self.frameworks)


def run_cases(adapters: Sequence[Adapter], cases: Iterable[Case], progress: Progress = lambda name: None) -> Report:
    """Run every adapter on every case."""
    results = {adapter.name: FrameworkResult(adapter.name, adapter.title, adapter.version) for adapter in adapters}
    tolerance = 0.0
    for case in cases:
        tolerance = max(tolerance, case.rtol)
        for adapter in adapters:
            progress(f"{case.name} in {adapter.title}")
            results[adapter.name].groups[case.name] = judge_case(adapter, case)
    return Report(None, tolerance, list(results.values()))


def judge_case(adapter: Adapter, case: Case) -> list[Verdict]:
    """Run one case; if that raises an error, the only verdict reports it."""
    try:
        model = adapter.build(case.architecture, case.configuration, case.tensors)
        return judge_both_paths(adapter, model, case.arrays, case.expected, case.rtol, case.stages)
    except Exception as error:  # the other implementations are still compared
        return [Verdict("run", np.inf, np.inf, case.rtol, f"{type(error).__name__}: {error}")]


def judge_both_paths(
    adapter: Adapter,
    model: Any,
    inputs: Mapping[str, np.ndarray],
    want: Stages,
    rtol: float | Mapping[str, float],
    stages: Sequence[str] = ("*",),
    expected: Mapping[str, float] | None = None,
) -> list[Verdict]:
    """Return the worse verdicts of two runs: one that returns attentions, and one that may use a fused kernel."""
    hidden = {name: value for name, value in want.items() if "attentions" not in name}
    patterns = [pattern for pattern in stages if "attentions" not in pattern]
    shown = compare_all(adapter.run(model, inputs, attentions=True), want, rtol, stages, expected)
    return merge(shown, compare_all(adapter.run(model, inputs, attentions=False), hidden, rtol, patterns, expected))


def judge_returned(
    adapter: Adapter,
    model: Any,
    inputs: Mapping[str, np.ndarray],
    want: Stages,
    limits: Mapping[str, float],
    expected: Mapping[str, float],
) -> list[Verdict]:
    """Compare the stages that an implementation returns. Raises `ValueError` if it returns none that is known."""
    got = adapter.run(model, inputs, attentions=True)
    known = {name: value for name, value in want.items() if name in got}
    if not known:
        raise ValueError(f"{adapter.name} returned {', '.join(got) or 'nothing'}; the stages are {', '.join(want)}")
    return compare_all(got, known, limits, expected=expected)


def run_checkpoint(
    adapters: Sequence[Adapter],
    source: str | os.PathLike[str],
    texts: Sequence[str] = TEXTS,
    progress: Progress = lambda name: None,
    tolerance: float | None = None,
    precision: str = "float32",
) -> Report:
    """Run every adapter on texts with a checkpoint.

    Args:
        adapters: The implementations.
        source: The checkpoint.
        texts: The texts to run.
        progress: Called with a description of each step.
        tolerance: The tolerance of every stage; by default `MULTIPLE` times its expected rounding.
        precision: The type in which the implementations compute.

    Raises:
        ValueError: If the checkpoint cannot be loaded.
        OSError: If a file cannot be read.
    """
    architecture = open_checkpoint(resolve(source)).architecture
    tokenizer = load_tokenizer(source)
    reference = Reference()
    right = reference.load(architecture, source)
    results, models = {}, {}
    for adapter in adapters:
        progress(f"load in {adapter.title}")
        results[adapter.name] = FrameworkResult(adapter.name, adapter.title, adapter.version)
        models[adapter.name] = adapter.load(architecture, source)
    fills: list[Fill] = []
    size = 1 if any(getattr(adapter, "unpadded", False) for adapter in adapters) else BATCH
    for start in range(0, len(texts), size):
        batch = list(texts[start : start + size])
        inputs = encode(tokenizer, batch, right.config, architecture)
        progress(f"texts {start + 1} to {start + len(batch)}")
        want = reference.run(right, inputs, attentions=True)
        expected = expected_rounding(right, inputs, want, precision)
        limits = {name: tolerance or MULTIPLE * error for name, error in expected.items()}
        logits = {reference.name: want.get("logits")}
        for adapter in adapters:
            groups, model = results[adapter.name].groups, models[adapter.name]
            if getattr(adapter, "partial", False):
                new = judge_returned(adapter, model, inputs, want, limits, expected)
            else:
                new = judge_both_paths(adapter, model, inputs, want, limits, expected=expected)
            groups["text"] = merge(groups.get("text", []), new)
            logits[adapter.name] = adapter.run(model, inputs, attentions=False).get("logits")
        if architecture in LM_HEADS:
            fills += fill_masks(tokenizer, batch, inputs["input_ids"], logits)
    multiple = None if tolerance else MULTIPLE
    return Report(os.fspath(source), tolerance, list(results.values()), fills, multiple, precision)


def encode(tokenizer: Any, texts: list[str], config: RobertaConfig, architecture: str) -> dict[str, np.ndarray]:
    """Return ids and mask [B, S], truncated to the model's limit; [1, C, S] for multiple choice.

    Raises:
        ValueError: The model has no row for a token of the tokenizer.
    """
    limit = config.max_sequence_length
    encoded = tokenizer(
        texts, padding=True, truncation=True, max_length=limit, return_attention_mask=True, return_tensors="np"
    )
    arrays = {name: np.asarray(encoded[name]) for name in ("input_ids", "attention_mask")}
    if (largest := int(arrays["input_ids"].max())) >= config.vocab_size:
        token = tokenizer.convert_ids_to_tokens(largest)
        raise ValueError(
            f"the tokenizer has the token {token!r} with the id {largest}, but the model has {config.vocab_size} rows "
            "of word embeddings: the tokenizer belongs to another model, or the model was not resized"
        )
    return {name: value[None] for name, value in arrays.items()} if architecture == "ForMultipleChoice" else arrays


def fill_masks(
    tokenizer: Any, texts: list[str], input_ids: np.ndarray, logits: Mapping[str, np.ndarray | None]
) -> list[Fill]:
    """Return the most probable tokens of every implementation for each `<mask>`, in the order of the first one."""
    fills, known = [], len(tokenizer)  # a model may have more rows than tokens
    for row, position in np.argwhere(input_ids == tokenizer.mask_token_id):
        scores = {name: value[row, position].astype(np.float64) for name, value in logits.items() if value is not None}
        found = {name: softmax(values) for name, values in scores.items()}
        chosen = {
            int(token) for values in found.values() for token in np.argsort(-values[:known], kind="stable")[:TOP_K]
        }
        first = next(iter(found.values()))
        tokens = sorted(chosen, key=lambda token: (-first[token], token))
        shown = {name: [float(values[token]) for token in tokens] for name, values in found.items()}
        fills.append(Fill(texts[row], [tokenizer.decode([token]) for token in tokens], shown))
    return fills

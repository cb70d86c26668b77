"""How often the suggested cause is right: each known fault is given to an implementation and diagnosed.

`python -m conformance.faults.confusion [--framework NAME]` prints the faults whose cause is not suggested first, and
their share. The subjects are models that the faults were not chosen on: other classes, sizes and weights. A fault that
changes only a configuration, weights or inputs runs in the framework; one in the code of a model runs in NumPy in
float32. Faults whose float64 stages agree within rounding count as one. Faults outside the list, and two faults
together, must be reported as unknown.
"""

import argparse
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.parameters import parameters

from ..adapters import Adapter, find_adapter
from ..oracle import Stages
from ..oracle.rounding import MULTIPLE
from ..suite.case import draw_weight
from ..suite.subject import Subject
from .changes import Change, change_input, change_weights
from .diagnosis import Hypotheses, list_layer_faults, run_stages
from .forward import FAULTS

GOAL = 0.9  # of the visible faults have their cause suggested first

# Name, class, configuration, seed and spread of the weights.
MODELS: dict[str, tuple[str, dict[str, Any], int, float]] = {
    "masked LM, 3 layers": ("ForMaskedLM", {"num_hidden_layers": 3, "layer_norm_eps": 1e-5}, 97, 0.4),
    "classifier, relu": ("ForSequenceClassification", {"num_labels": 3, "hidden_act": "relu"}, 211, 0.3),
    "decoder": ("ForCausalLM", {"is_decoder": True, "layer_norm_eps": 1e-5}, 307, 0.5),
    "untied head, pad 3": ("ForMaskedLM", {"tie_word_embeddings": False, "pad_token_id": 3}, 401, 0.35),
    "multiple choice": ("ForMultipleChoice", {"layer_norm_eps": 1e-3}, 503, 0.45),
    "decoder, second call": ("ForCausalLM", {"is_decoder": True, "layer_norm_eps": 1e-5}, 601, 0.4),
}
SECOND_CALL = "decoder, second call"  # with the cache of a first call, of which a real token is masked
EARLIER = 5  # tokens of the first call
SIZES = {
    "vocab_size": 67,
    "hidden_size": 20,
    "num_hidden_layers": 2,
    "num_attention_heads": 5,
    "intermediate_size": 28,
    "max_position_embeddings": 23,
    "type_vocab_size": 2,
}


def make_subject(name: str) -> Subject:
    """Return the model and the padded batch of a name in `MODELS`; `SECOND_CALL` also has a first call."""
    architecture, fields, seed, spread = MODELS[name]
    config = RobertaConfig(**{**SIZES, **fields})
    table = parameters(config, architecture)
    weights = {"seed": seed, "spread": spread}
    tensors = {key: draw_weight(weights, key, row.kind, row.shape) for key, row in table.items()}
    shape = (2, 3, 9) if architecture == "ForMultipleChoice" else (2, 9)
    ids = np.random.default_rng(seed).integers(4, config.vocab_size, shape)
    padding = slice(2) if name == SECOND_CALL else slice(6, None)
    ids[1, ..., padding] = config.pad_token_id
    mask = (ids != config.pad_token_id).astype(np.int64)
    if name != SECOND_CALL:
        return Subject(config, architecture, tensors, {"input_ids": ids, "attention_mask": mask})
    mask[0, 1] = 0
    inputs = {"earlier_input_ids": ids[:, :EARLIER], "input_ids": ids[:, EARLIER:], "attention_mask": mask}
    return Subject(config, architecture, tensors, inputs)


def list_unknown(subject: Subject) -> Iterator[tuple[str, Subject | Callable[[Stages], Stages]]]:
    """Yield faults outside the list: of weights or inputs, or of the stages themselves."""
    last = f"hidden_states.{subject.config.num_hidden_layers}"
    changes: dict[str, Change] = {
        "word embeddings scaled by the root of the size": change_weights(
            "embeddings.word_embeddings.weight", lambda x: x * np.float32(np.sqrt(x.shape[1]))
        ),
        "position embeddings reversed": change_weights("embeddings.position_embeddings.weight", lambda x: x[::-1]),
        "token ids shifted by one": change_input("input_ids", lambda ids: np.where(ids > 4, ids - 1, ids)),
        "weights rounded to float16": change_weights("encoder.*.weight", lambda x: x.astype(np.float16).astype("f4")),
        "query scaled twice": change_weights(
            "encoder.*.self.query.*", lambda x: x / np.float32(np.sqrt(subject.config.head_size))
        ),
        "a bias of the first layer shifted": change_weights("encoder.layer.0.output.dense.bias", lambda x: x + 0.5),
        "rows of a matrix rotated": change_weights(
            "encoder.layer.1.intermediate.dense.weight", lambda x: np.roll(x, 1, axis=0)
        ),
    }
    for name, change in changes.items():
        if (changed := change(subject)) is not None:
            yield name, changed
    yield "noise in the last layer", lambda stages: {**stages, last: stages[last] + _draw_noise(stages[last])}
    yield "a layer skipped", lambda stages: {**stages, last: stages["hidden_states.1"]}
    yield "the batch reversed", lambda stages: {key: value[::-1] for key, value in stages.items()}


def _draw_noise(like: np.ndarray) -> np.ndarray:
    return np.random.default_rng(0).normal(0, 1e-3, like.shape) * np.abs(like).max()


COMPOUND = (
    ("tanh GELU", "query and key swapped"),
    ("attention_mask ignored", "position ids counted from 0"),
    ("layers 0 and 1 swapped", "no LayerNorm in the LM head"),
    ("key and value swapped", "heads interleaved"),
    ("attention scores not scaled", "encoder.layer.*.output.dense.bias dropped"),
    ("LayerNorm before the residual", "padding counted in position ids"),
    ("encoder.layer.*.attention.output.dense.weight transposed", "softmax over queries"),
    ("no residual", "position ids counted from pad_token_id"),
    ("embeddings.LayerNorm.bias dropped", "attention scores scaled by the hidden size"),
    ("encoder.layer.*.attention.self.value.bias dropped", "heads joined without transposing"),
)


@dataclass(frozen=True)
class Outcome:
    """The suggested causes for one fault on one subject."""

    subject: str
    fault: str
    causes: tuple[str, ...]
    right: bool


def diagnose_known(adapter: Adapter, name: str) -> Iterator[Outcome]:
    """Yield the outcome of each fault that changes a subject: those of every layer, and those of the last one."""
    subject = make_subject(name)
    hypotheses = Hypotheses(subject)
    last = subject.config.num_hidden_layers - 1
    for fault, change in {**FAULTS, **dict(list_layer_faults(last))}.items():
        if fault.startswith("dropout active"):
            continue  # random: two runs tell it, not its values
        stages, changed = hypotheses.run(fault, change), change(subject)
        if stages is None or changed is None or (hypotheses.measure(stages, hypotheses.right) or 0.0) <= 2 * MULTIPLE:
            continue
        found = hypotheses.diagnose(run_stages(changed, adapter))
        causes = found.causes if found else ()
        yield Outcome(name, fault, causes, bool(causes) and is_equivalent(hypotheses, fault, causes[0]))


def is_equivalent(hypotheses: Hypotheses, one: str, other: str) -> bool:
    """Return whether two faults are one, or give the same stages within rounding."""
    if one == other:
        return True
    stages, others = hypotheses.found.get(one), hypotheses.found.get(other)
    ratio = None if stages is None or others is None else hypotheses.measure(stages, others)
    return ratio is not None and ratio <= 1.0


def diagnose_unknown(adapter: Adapter, name: str) -> Iterator[Outcome]:
    """Yield the outcome of each fault outside the list, and of each pair of faults; "unknown" is right."""
    subject = make_subject(name)
    hypotheses = Hypotheses(subject)
    for fault, changed in list_unknown(subject):
        got = run_stages(changed, adapter) if isinstance(changed, Subject) else changed(run_stages(subject, adapter))
        yield _expect_nothing(hypotheses, name, fault, got)
    for one, other in COMPOUND:
        first = FAULTS[one](subject)
        both = None if first is None else FAULTS[other](first)
        if both is None or first is None or not _are_independent(hypotheses, one, other):
            continue
        if first.portable != both.portable or both.portable:
            yield _expect_nothing(hypotheses, name, f"{one} + {other}", run_stages(both, adapter))


def _are_independent(hypotheses: Hypotheses, *faults: str) -> bool:
    """Return whether each of two faults changes the subject; otherwise only one of them is there."""
    stages = [hypotheses.run(fault, FAULTS[fault]) for fault in faults]
    return all((hypotheses.measure(one, hypotheses.right) or 0.0) > 2 * MULTIPLE for one in stages)


def _expect_nothing(hypotheses: Hypotheses, name: str, fault: str, got: Mapping[str, np.ndarray]) -> Outcome:
    found = hypotheses.diagnose(got)
    causes = found.causes if found else ()
    return Outcome(name, fault, causes, not causes)


def main(arguments: list[str] | None = None) -> int:
    """Print what is wrong and the shares. Returns 1 if fewer than `GOAL` are right or an unknown fault is named."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--framework", default="pt", help="the implementation that runs the faults")
    parser.add_argument("--models", nargs="+", choices=[*MODELS], default=[*MODELS], help="the models to run them on")
    options = parser.parse_args(arguments)
    adapter = find_adapter(options.framework)
    known = [outcome for name in options.models for outcome in diagnose_known(adapter, name)]
    unknown = [outcome for name in options.models for outcome in diagnose_unknown(adapter, name)]
    for outcome in [*known, *unknown]:
        if not outcome.right:
            print(f"{outcome.subject}: {outcome.fault} -> {' or '.join(outcome.causes) or 'unknown'}")
    right, quiet = (sum(outcome.right for outcome in outcomes) for outcomes in (known, unknown))
    print(f"known faults: {right} of {len(known)} causes suggested first ({right / len(known):.1%}) in {adapter.title}")
    print(f"other faults: {quiet} of {len(unknown)} reported as unknown")
    return 0 if right >= GOAL * len(known) and quiet == len(unknown) else 1


if __name__ == "__main__":
    raise SystemExit(main())

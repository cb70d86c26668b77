"""Which names of a script are replaced, and the reason for each one that is not."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from roberta_core.migration.names import AUTO, BASES, COLLATORS, MODELS, OPTIMIZERS, PIPELINE, Name
from roberta_core.migration.survey import Survey, find_other_checkpoints, is_roberta
from roberta_core.pipelines import ALIASES, PIPELINES

UNIGRAM = re.compile(r"camembert|xlm", re.IGNORECASE)  # checkpoints whose tokenizer is not byte-level BPE
NEW_TYPES = {"XLMRobertaConfig": "xlm-roberta", "CamembertConfig": "camembert"}


@dataclass
class Decisions:
    """The names that are replaced, and notes (line, text) on the others."""

    chosen: dict[str, Name] = field(default_factory=dict)
    notes: list[tuple[int, str]] = field(default_factory=list)


def decide(found: Survey, assume_roberta: bool = False) -> Decisions:
    """Decide which names are replaced.

    RoBERTa's own classes always are. An Auto class is if the script loads no checkpoint of another model with it. Base
    classes, which serve annotations and `isinstance`, are if no Auto class remains. Collators are in scripts for
    TensorFlow and Flax, and the optimiser in those for TensorFlow.

    Args:
        found: The facts about the script.
        assume_roberta: Replace the Auto classes whatever the names of their checkpoints.
    """
    made = Decisions({name: MODELS[name] for name in found.imported if name in MODELS})
    for name, kind in NEW_TYPES.items():
        if name in found.called:
            made.notes.append(
                (found.imported[name], f'pass model_type="{kind}" where {name}() constructs a configuration')
            )
    kept = set() if assume_roberta else _find_kept(found)
    auto = [name for name in found.imported if name in AUTO and name not in kept]
    made.chosen |= {name: _choose_auto(found, made, name) for name in auto}
    if unknown := [name for name in auto if any(text is None for text, _ in found.checkpoints.get(name, ()))]:
        text = (
            f"{', '.join(unknown)}: RoBERTa's classes now, which refuse a checkpoint of another model when it is loaded"
        )
        made.notes.append((found.imported[unknown[0]], text))
    for name in sorted(kept):
        for text, line in find_other_checkpoints(found, name):
            made.notes.append(
                (
                    line,
                    f"{name} stays: {text!r} does not name a RoBERTa checkpoint (--assume-roberta replaces it)",
                )
            )
        if not found.checkpoints.get(name):
            made.notes.append(
                (found.imported[name], f"{name} stays, because the script loads other models than RoBERTa")
            )
    _decide_pipeline(found, made, assume_roberta)
    _decide_bases(found, made, bool(kept))
    packages = {name.module for name in made.chosen.values()}
    if packages & {"roberta_tf", "roberta_flax"}:  # in PyTorch they stay
        made.chosen |= {name: COLLATORS[name] for name in found.imported if name in COLLATORS}
    if "roberta_tf" in packages:
        made.chosen |= {name: OPTIMIZERS[name] for name in found.imported if name in OPTIMIZERS}
    return made


def _find_kept(found: Survey) -> set[str]:
    """Return the Auto classes that stay: they load another model, or which of several models they load is unknown."""
    names = {name for name in found.imported if name in AUTO}
    others = {name for name in names if any(find_other_checkpoints(found, name))}
    own = {name for name in names if any(text and is_roberta(text) for text, _ in found.checkpoints.get(name, ()))}
    return names - (own - others) if others else set()


def _choose_auto(found: Survey, made: Decisions, name: str) -> Name:
    """Return what replaces an Auto class, and note what it assumes."""
    line, loaded = found.imported[name], found.checkpoints.get(name, [])
    if name.endswith("ForCausalLM"):
        made.notes.append((line, "a causal model needs is_decoder=True in its configuration"))
    if name != "AutoTokenizer":
        return AUTO[name]
    slow = found.slow.get(name, [])
    if slow and all(slow):
        return MODELS["RobertaTokenizer"]
    if any(value is not False for value in slow):
        made.notes.append((line, "use_fast is ignored: for use_fast=False import roberta_core.RobertaTokenizer"))
    if loaded and all(text is not None and UNIGRAM.search(text) for text, _ in loaded):
        return MODELS["XLMRobertaTokenizerFast"]
    if any(text is None or UNIGRAM.search(text) for text, _ in loaded):
        made.notes.append((line, "for CamemBERT and XLM-RoBERTa import roberta_core.TokenizerFast instead"))
    return AUTO[name]


def _decide_pipeline(found: Survey, made: Decisions, assume_roberta: bool) -> None:
    if "pipeline" not in found.imported:
        return
    known = {*PIPELINES, *ALIASES}
    refused = [(line, f"the task {text!r}" if text else "a task that is not a string") for text, line in found.tasks
               if text not in known]  # fmt: skip
    if not assume_roberta:
        refused += [
            (line, f"the checkpoint {text!r}" if text else "no checkpoint")
            for text, line in find_other_checkpoints(found, "pipeline")
        ]
    if not refused:
        made.chosen["pipeline"] = PIPELINE["pipeline"]
    for line, reason in refused:
        made.notes.append((line, f"pipeline stays, because it is called with {reason}: see roberta_core.pipeline"))


def _decide_bases(found: Survey, made: Decisions, kept: bool) -> None:
    for name in [name for name in found.imported if name in BASES and made.chosen]:
        line = found.imported[name]
        if kept:
            made.notes.append((line, f"{name} stays: isinstance does not find these packages' classes with it"))
        elif name in found.subclassed and not name.endswith("PreTrainedModel"):
            made.notes.append((line, f"{name} stays, because a class of the script is derived from it"))
        else:
            is_built = name == "PreTrainedTokenizerFast" and name in found.called
            made.chosen[name] = MODELS["XLMRobertaTokenizerFast"] if is_built else BASES[name]
            if name in found.subclassed:
                made.notes.append((line, f"check the classes derived from {name}: they are built with RobertaConfig"))

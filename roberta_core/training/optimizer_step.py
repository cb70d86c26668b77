"""What an optimizer step consists of in every framework: micro-batches, their shares, and the rate of each tensor.

Shapes: B batch, S sequence, K masked positions at most, C choices or classes.
"""

import re
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np

from roberta_core.config import RobertaConfig
from roberta_core.data.batches import IGNORED, Batch
from roberta_core.parameters import BASE_PREFIX
from roberta_core.training.processes import ALONE, Processes

LAYER = re.compile(r"encoder\.layer\.(\d+)\.")


def split_batch(batch: Batch, size: int) -> list[Batch]:
    """Split a batch into micro-batches of `size` rows; 0 leaves it whole."""
    rows = len(next(iter(batch.values())))
    starts = range(0, rows, size or rows)
    return [{name: array[start : start + (size or rows)] for name, array in batch.items()} for start in starts]


def compute_shares(
    config: RobertaConfig, architecture: str, batches: Sequence[Batch], processes: Processes = ALONE
) -> list[float]:
    """Return the share of all labels that each micro-batch has: the weight of its mean loss in the step's.

    The labels of the other processes' micro-batches count too.
    """
    if not batches:
        raise ValueError("a step needs at least one batch")
    counts = [count_labels(config, architecture, batch) for batch in batches]
    (total,) = processes.sum([sum(counts)])
    return [count / (total or 1) for count in counts]


def count_labels(config: RobertaConfig, architecture: str, batch: Batch) -> float:
    """Return how many labels a mean loss is taken over, or the sum of their weights; an answer's ends are halves."""
    if "label_weights" in batch:
        return float(batch["label_weights"].sum())
    if "masked_labels" in batch:
        return _kept(batch["masked_labels"])
    if architecture not in COUNTS:
        raise ValueError(f"{architecture} has no loss to train with")
    return COUNTS[architecture](config, batch)


def compute_rate_factors(names: Iterable[str], layers: int, decay: float) -> dict[str, float]:
    """Return the factor of each tensor's learning rate: 1 in the head, `decay` times as much in each layer below.

    The pooler counts as part of the head, and the embeddings as the layer below the first of `layers` layers (Clark et
    al. 2020, as in the fine-tuning of ELECTRA).
    """
    return {name: float(decay ** (layers + 1 - _height(name, layers))) for name in names}


def _height(name: str, layers: int) -> int:
    """Return 0 for the embeddings, 1 for the first layer, and `layers` + 1 for a head."""
    name = name.removeprefix(BASE_PREFIX)
    found = LAYER.match(name)
    if found:
        return int(found[1]) + 1
    return 0 if name.startswith("embeddings.") else layers + 1


def _kept(array: np.ndarray) -> int:
    return int((array != IGNORED).sum())


def _sequence_labels(config: RobertaConfig, batch: Batch) -> int:
    array = batch["labels"]
    single = config.num_labels > 1 and array[0].size == 1 and array.dtype.kind in "iu"
    kind = config.problem_type or ("single_label_classification" if single else "by row")
    return _kept(array) if kind == "single_label_classification" else len(array)


def _ends(config: RobertaConfig, batch: Batch) -> float:
    ends = np.stack([batch["start_positions"], batch["end_positions"]])
    return float(((ends >= 0) & (ends < batch["input_ids"].shape[1])).sum()) / 2


COUNTS: Mapping[str, Callable[[RobertaConfig, Batch], float]] = {
    "ForCausalLM": lambda config, batch: _kept(batch["labels"][:, 1:]),  # the first token is not predicted
    "ForMaskedLM": lambda config, batch: _kept(batch["labels"]),
    "ForSequenceClassification": _sequence_labels,
    "ForMultipleChoice": lambda config, batch: _kept(batch["labels"]),
    "ForTokenClassification": lambda config, batch: _kept(batch["labels"]),
    "ForQuestionAnswering": _ends,
}

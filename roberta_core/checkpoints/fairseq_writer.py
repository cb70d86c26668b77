"""Writing fairseq's `model.pt` with the names and the layout of its release 0.10, which later ones read too.

A tensor that fairseq's RoBERTa does not have (a pooler, other heads, token types that are not zero) keeps its published
name: our reader reads it back, and fairseq refuses it instead of ignoring it.
"""

from collections.abc import Mapping
from typing import Any

from roberta_core.checkpoints import torch_writer
from roberta_core.checkpoints.atomic import Transaction
from roberta_core.checkpoints.errors import CheckpointError
from roberta_core.checkpoints.fairseq_file import ACTIVATIONS, BODY, FILE, LAYER, LAYER_MODULES, MODULES
from roberta_core.checkpoints.mapped import Content
from roberta_core.checkpoints.names import Known, RespelledTensors
from roberta_core.config import RobertaConfig

HEAD = "classification_heads.sentence_classification_head"
OLDER = ("sentence_encoder.layernorm_embedding", "layer_norms.0", "layer_norms.1")  # spellings of other releases
NAMES = {new: old for old, new in MODULES.items() if old not in OLDER}
LAYER_NAMES = {new: old for old, new in LAYER_MODULES.items() if old not in OLDER}
TYPES = f"{BODY}embeddings.token_type_embeddings.weight"
WORDS = f"{BODY}embeddings.word_embeddings.weight"


def stage(save: Transaction, content: Content, limit: int) -> None:
    """Add `model.pt` to a save: always one file, whatever `limit` is.

    Raises:
        CheckpointError: fairseq's RoBERTa cannot represent the model.
    """
    config = content.config
    _check(config)
    keys = {}
    for name, array in content.tensors.items():
        whole = BODY + name if name.startswith(("embeddings.", "encoder.", "pooler.")) else name
        if whole != TYPES or len(array) != 1 or any(array.tobytes()):
            keys[_old(whole)] = Known(name, False, False)
    tensors = RespelledTensors(content.tensors, keys)
    entries = torch_writer.describe(tensors, tensors)
    head = entries.get(f"{HEAD}.out_proj.weight")
    settings = _frame(config, None if head is None else head.shape[0])
    tied = "encoder.lm_head.bias" in keys and config.tie_word_embeddings
    same = {"encoder.lm_head.weight": _old(WORDS)} if tied else {}

    def frame(state: torch_writer.Code) -> torch_writer.Code:
        return torch_writer.encode_dict({**settings, "model": state})

    with save.open(FILE) as stream:
        torch_writer.write(stream, tensors, entries, same, frame)


def _check(config: RobertaConfig) -> None:
    required = {
        "layer_norm_eps": (config.layer_norm_eps, 1e-5),
        "pad_token_id": (config.pad_token_id, 1),
        "is_decoder": (config.is_decoder, False),
        "pruned_heads": (config.pruned_heads, {}),
    }
    for name, (value, fixed) in required.items():
        if value != fixed:
            raise CheckpointError(
                f"fairseq's RoBERTa requires {name} {fixed}, but this model has {value}; choose another format"
            )
    if config.hidden_act not in ACTIVATIONS.values():
        raise CheckpointError(
            f"fairseq's RoBERTa does not support the activation {config.hidden_act}; choose another format"
        )


def _old(name: str) -> str:
    """Return fairseq's name of a tensor; one that it does not have keeps the published name."""
    module, _, leaf = name.rpartition(".")
    if name == "lm_head.bias":
        return f"encoder.{name}"
    if module.startswith("classifier."):
        return f"{HEAD}.{module.removeprefix('classifier.')}.{leaf}"
    if module.startswith(f"{BODY}encoder.layer."):
        layer, _, part = module.removeprefix(f"{BODY}encoder.layer.").partition(".")
        return f"encoder.{LAYER}{layer}.{LAYER_NAMES[part]}.{leaf}" if part in LAYER_NAMES else name
    return f"encoder.{NAMES[module]}.{leaf}" if module in NAMES else name


def _frame(config: RobertaConfig, classes: int | None) -> dict[str, Any]:
    """Return the values beside the state dict: the settings, and the state of a training run at step 0."""
    activation = next(old for old, new in ACTIVATIONS.items() if new == config.hidden_act)
    dropout = config.hidden_dropout_prob
    task = "masked_lm" if classes is None else "sentence_prediction"
    settings = {
        "arch": "roberta",
        "task": task,
        "criterion": task,
        "encoder_layers": config.num_hidden_layers,
        "encoder_embed_dim": config.hidden_size,
        "encoder_ffn_embed_dim": config.intermediate_size,
        "encoder_attention_heads": config.num_attention_heads,
        "max_positions": config.max_sequence_length,
        "activation_fn": activation,
        "pooler_activation_fn": "tanh",
        "dropout": dropout,
        "attention_dropout": config.attention_probs_dropout_prob,
        "activation_dropout": 0.0,
        "pooler_dropout": config.hidden_dropout_prob
        if config.classifier_dropout is None
        else config.classifier_dropout,
        "untie_weights_roberta": not config.tie_word_embeddings,
        **({} if classes is None else {"num_classes": classes}),
    }
    history = [{"criterion_name": task, "optimizer_name": "FairseqAdam", "lr_scheduler_state": {}, "num_updates": 0}]
    extra = {"train_iterator": {"epoch": 1, "iterations_in_epoch": 0, "shuffle": True}}
    frame: Mapping[str, Any] = {"optimizer_history": history, "extra_state": extra, "last_optimizer_state": None}
    return {"args": torch_writer.encode_namespace(settings), **frame}

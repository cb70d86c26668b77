"""What the laws need of PyTorch beyond its backend."""

from contextlib import nullcontext

import numpy as np
import pytest
import torch
from torch.utils._pytree import tree_flatten, tree_map

from roberta_pt import RobertaModel, RobertaPreTrainedModel

torch.set_num_threads(1)

PREFIX, FORWARD, RETURN_TENSORS = "", "forward", "pt"
TITLE, DISTRIBUTION, DEVICE = "PyTorch", "torch", "meta"
TENSOR, INTEGERS = torch.Tensor, "int64"
KEEPS_MODELS, MODEL_LAYERS, NEW_TOKENS, NEW_ROWS = False, 2, 64, 101
FLAGS = (("from_tf", "h5"), ("from_flax", "msgpack"))
EXPECTED_CASES = {"mask", "nomask", "types", "positions", "embeds", "labels"}
KILLED_STEPS, KILLS = 90, ((9, 0.003), (33, 0.011))
PRELOADED, SHARING = ("torch._dynamo", "roberta_pt.backend", "roberta_pt.training"), ()
strict = eager = quick = compiled = wide = training = single_steps = lenient = nullcontext


def build_environments(ports):
    """Return the variables that torchrun sets for processes."""
    shared = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(ports[0]), "WORLD_SIZE": str(len(ports))}
    return [shared | {"RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in range(len(ports))]


def arguments(values):
    """Arrays as tensors, whatever they lie in."""
    return tree_map(lambda value: torch.from_numpy(value.copy()) if isinstance(value, np.ndarray) else value, values)


def call(model, *values, **named):
    with torch.no_grad():
        return model(*arguments(values), **arguments(named))


def call_training(model, *values, seed=0, **named):
    torch.manual_seed(seed)
    with torch.no_grad():
        output = model.train()(*arguments(values), **arguments(named))
    model.eval()
    return output


def gradients(model, loss, *values, seed=None, **named):
    """The gradients of a function of the output by published name; with dropout if there is a seed."""
    if seed is not None:
        torch.manual_seed(seed)
    model.zero_grad()
    loss(model.train(seed is not None)(*arguments(values), **arguments(named))).backward()
    model.eval()
    return {name: None if value.grad is None else value.grad.numpy() for name, value in model.named_parameters()}


def gradient(function, array):
    """A function of an array and its gradient."""
    given = torch.from_numpy(array).requires_grad_()
    value = function(given)
    return value.detach().numpy(), torch.autograd.grad(value, given)[0].numpy()


def numpy(value):
    value = value.detach()
    return (value.float() if value.is_floating_point() else value).numpy()


def dtype(value):
    return str(value.dtype).removeprefix("torch.")


def total(value):
    return value.sum()


def map_tree(function, tree):
    return tree_map(function, tree)


def leaves(tree):
    found, structure = tree_flatten(tree)
    return found, structure


def half(backend, architecture, config, given, precision):
    return backend.from_tensors(architecture, config, given, precision=precision)


def table(layer):
    """The variable that holds the matrix of a layer."""
    return layer.weight


def embedding(rows, columns):
    return torch.nn.Embedding(rows, columns)


def scores(model, hidden):
    with torch.no_grad():
        return model.lm_head(torch.from_numpy(hidden)).numpy()


def rate(dropout):
    return dropout.p


def cast(value, name):
    return value.to(getattr(torch, name))


def change(model, name, array):
    with torch.no_grad():
        model.get_parameter(name).copy_(torch.from_numpy(array))


def value(layer):
    """The matrix of a layer."""
    return layer.weight.detach()


def whole(encoding):
    """Other ways of giving a model an encoding."""
    return ()


def has_moved(value, before):
    return value.device.type == DEVICE != before.device.type


def own_names(model):
    """The published names of all that a model stores."""
    return model.state_dict().keys()


def own_arguments(plain):
    return {}


def is_lacking(architecture, name):
    return False


def refuses_output_embeddings(framework, model):
    with pytest.raises(ValueError, match="see set_input_embeddings"):
        model.set_output_embeddings(torch.nn.Linear(12, 101))
    return True


def passes_on_checkpointing(framework, model):
    model.gradient_checkpointing_enable(gradient_checkpointing_kwargs={"use_reentrant": True})
    return model.encoder.checkpointing == {"use_reentrant": True}


def passes_on_activation_checkpointing(framework, model):
    model.activation_checkpointing_enable(activation_checkpointing_kwargs={"use_reentrant": True})
    return model.is_activation_checkpointing and model.encoder.checkpointing == {"use_reentrant": True}


def refuses_activation_checkpointing(**settings):
    def refuses(framework, model):
        with pytest.raises(ValueError, match="only every_n_layers=1 and offload=False are supported"):
            model.activation_checkpointing_enable(**settings)
        return not model.is_activation_checkpointing

    return refuses


def counts_trainable(framework, model):
    model.embeddings.requires_grad_(False)
    return model.num_parameters(only_trainable=True) < model.num_parameters()


def sets_attention(framework, model):
    made = type(model)(model.config, attn_implementation="eager")
    return made.encoder.layer[0].attention.self.attn_implementation == "eager"


def masks(**changes):
    """The mask of scores of a row with one pad, with one argument changed."""

    def is_changed(framework, model):
        plain = {"attention_mask": torch.tensor([[1, 1, 0]]), "input_shape": (1, 3)}
        model.config.is_decoder = True
        before, after = (model.get_extended_attention_mask(**given) for given in (plain, {**plain, **changes}))
        return (before.dtype, before.device, before.tolist()) != (after.dtype, after.device, after.tolist())

    return is_changed


def causal(**changes):
    def is_changed(framework, model):
        plain = {"attention_mask": torch.tensor([[1, 1, 0]]), "input_shape": (1, 3)}
        before, after = (
            model.create_extended_attention_mask_for_decoder(**given) for given in (plain, {**plain, **changes})
        )
        return (before.device, before.tolist()) != (after.device, after.tolist())

    return is_changed


def moves_masks(method):
    def is_moved(framework, model):
        model.config.is_decoder = True
        mask = getattr(model, method)(attention_mask=torch.ones(1, 3), input_shape=(1, 3), device=torch.device("meta"))
        return mask.device.type == "meta"

    return is_moved


def inverts_a_mask(framework, model):
    low = torch.finfo(torch.float32).min
    found = model.invert_attention_mask(encoder_attention_mask=torch.tensor([[1, 0]]))
    three = model.invert_attention_mask(torch.ones(1, 2, 2))
    return found.tolist() == [[[[0, low]]]] and three.shape == (1, 1, 2, 2)


def expands_heads(**changes):
    def is_changed(framework, model):
        plain = {"head_mask": torch.tensor([1.0, 0.0, 1.0]), "num_hidden_layers": 2}
        before, after = (model.get_head_mask(**given) for given in (plain, {**plain, **changes}))
        return before.shape == (2, 1, 3, 1, 1) and str(before) != str(after)

    return is_changed


def warns_once(framework, model):
    model.warnings_issued.clear()
    padded = torch.tensor([[5, 1]])
    for ids, mask in ((padded, padded), (torch.tensor([[5, 6]]), None)):
        model.warn_if_padding_and_no_attention_mask(input_ids=ids, attention_mask=mask)
        if model.warnings_issued:
            return False
    model.warn_if_padding_and_no_attention_mask(padded, None)
    return [*model.warnings_issued] == ["RobertaModel: padding"]


def counts_buffers(framework, model):
    model.register_buffer("extra", torch.zeros(3))
    size = 4 * model.num_parameters()
    return [model.get_memory_footprint(return_buffers=one) for one in (False, True)] == [size, size + 12]


def counts_operations(framework, model):
    batch = {"input_ids": torch.ones(2, 3)}
    found = [model.floating_point_ops(input_dict=batch, exclude_embeddings=one) for one in (True, False)]
    counts = [model.num_parameters(exclude_embeddings=one) for one in (True, False)]
    return found == [36 * count for count in counts] and model.floating_point_ops({}) == 0


def finds_tensors(framework, model):
    model.register_buffer("extra", torch.zeros(3))
    with pytest.raises(AttributeError, match="has no parameter and no buffer 'nope'"):
        model.get_parameter_or_buffer(target="nope")
    name = "embeddings.LayerNorm.weight"
    return model.get_parameter_or_buffer("extra") is model.extra and (
        model.get_parameter_or_buffer(name) is dict(model.named_parameters())[name]
    )


def adds_tags(framework, model):
    for tags in ("a", ["b", "a"]):
        model.add_model_tags(tags=tags)
    return model.model_tags == ["a", "b"] and type(model).model_tags is None


METHODS = {
    ("get_extended_attention_mask", "attention_mask"): masks(attention_mask=torch.tensor([[1, 1, 1]])),
    ("get_extended_attention_mask", "input_shape"): masks(input_shape=(1, 2)),
    ("get_extended_attention_mask", "device"): moves_masks("get_extended_attention_mask"),
    ("get_extended_attention_mask", "dtype"): masks(dtype=torch.float16),
    ("create_extended_attention_mask_for_decoder", "input_shape"): causal(input_shape=(1, 2)),
    ("create_extended_attention_mask_for_decoder", "attention_mask"): causal(attention_mask=torch.ones(1, 3)),
    ("create_extended_attention_mask_for_decoder", "device"): moves_masks("create_extended_attention_mask_for_decoder"),
    ("invert_attention_mask", "encoder_attention_mask"): inverts_a_mask,
    ("get_head_mask", "head_mask"): expands_heads(head_mask=None),
    ("get_head_mask", "num_hidden_layers"): expands_heads(num_hidden_layers=3),
    ("get_head_mask", "is_attention_chunked"): expands_heads(is_attention_chunked=True),
    ("warn_if_padding_and_no_attention_mask", "input_ids"): warns_once,
    ("warn_if_padding_and_no_attention_mask", "attention_mask"): warns_once,
    ("get_memory_footprint", "return_buffers"): counts_buffers,
    ("estimate_tokens", "input_dict"): counts_operations,
    ("floating_point_ops", "input_dict"): counts_operations,
    ("floating_point_ops", "exclude_embeddings"): counts_operations,
    ("get_parameter_or_buffer", "target"): finds_tensors,
    ("add_model_tags", "tags"): adds_tags,
    ("__init__", "attn_implementation"): sets_attention,
    ("set_output_embeddings", "new_embeddings"): refuses_output_embeddings,
    ("gradient_checkpointing_enable", "gradient_checkpointing_kwargs"): passes_on_checkpointing,
    ("activation_checkpointing_enable", "activation_checkpointing_kwargs"): passes_on_activation_checkpointing,
    ("activation_checkpointing_enable", "every_n_layers"): refuses_activation_checkpointing(every_n_layers=2),
    ("activation_checkpointing_enable", "offload"): refuses_activation_checkpointing(offload=True),
    ("num_parameters", "only_trainable"): counts_trainable,
}
# `inputs` are further arguments of a user's class, which `from_pretrained` passes on.
PASSED_ON = {("__init__", "settings"), ("__init__", "inputs")}
INNER = ("forward",)


def new_layer():
    return torch.nn.Linear(12, 3)


class OwnClassifier(RobertaPreTrainedModel):
    """What research code writes: the first token beside the mean of all, a second head, a plain parameter."""

    def __init__(self, config, scale=1.0):
        super().__init__(config)
        self.num_labels, self.scale = config.num_labels, scale
        self.roberta = RobertaModel(config, add_pooling_layer=False)
        self.dense = torch.nn.Linear(2 * config.hidden_size, config.hidden_size)
        self.norm = torch.nn.LayerNorm(config.hidden_size)
        self.heads = torch.nn.ModuleList([torch.nn.Linear(config.hidden_size, size) for size in (5, config.num_labels)])
        self.transitions = torch.nn.Parameter(torch.zeros(config.num_labels, config.num_labels))
        self.post_init()

    def forward(self, input_ids=None, attention_mask=None):
        hidden = self.roberta(input_ids, attention_mask=attention_mask)[0]
        pooled = self.norm(torch.tanh(self.dense(torch.cat([hidden[:, 0], hidden.mean(1)], dim=-1))))
        scores = self.heads[1](pooled)
        return self.heads[0](pooled), self.scale * (scores + scores @ self.transitions)

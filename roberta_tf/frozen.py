"""`model.frozen()`: a view of a model for inference, which is called like it and returns what it returns, faster.

The view traces graphs of its own, in which bias, GELU and residual are computed inside oneDNN's products and each
LayerNorm is one operation; it reads the model's variables, so that a change of weights is seen at once.
When it is made it compares a layer with the ordinary one, and refuses if they differ by more than rounding.
These operations have no gradient and serve float32 on a CPU alone: other calls go to the model, and `path` says why.

Shapes: B batch, S sequence, R rows of tokens (B*S), D hidden.
"""

import logging
from collections.abc import Mapping
from functools import cache
from typing import Any

import keras
import tensorflow as tf
from tensorflow.python import pywrap_tfe  # whether a tape records, which TensorFlow does not publish
from tensorflow.python.framework import op_def_library  # applies operations that have no function in Python

from roberta_core.frozen import FrozenView, HeadAt
from roberta_core.outputs import ModelOutput
from roberta_tf.activations import ACTIVATIONS
from roberta_tf.calls import Graphs, bind_inputs, convert_inputs, has_own_call, is_eager_call
from roberta_tf.encoder import AddNorm, Attention, Encoder, Intermediate, Layer, SelfAttention
from roberta_tf.layers import Dropout, LayerNorm, Linear, flatten_rows

logger = logging.getLogger(__name__)

# The largest difference from the ordinary layer, relative to its largest value. Rounding gives under 2e-6.
TOLERANCE = 1e-5
# The layers of an encoder that the fused one replaces; any other type, such as an adapter's, is called.
REPLACED = (Encoder, Layer, Attention, SelfAttention, AddNorm, Intermediate, Linear, LayerNorm, Dropout)
# Arguments that only the model serves.
UNSERVED = ("head_mask", "encoder_hidden_states", "encoder_attention_mask", "past_key_values", "training")


class FrozenModel(FrozenView):
    """A view of a model for inference: the calls, attributes and outputs of the model, with a faster encoder.

    Attributes:
        model: The model, which stays as it is.
        path: How the latest call was computed, and why, in one sentence.
    """

    def refresh(self) -> None:
        """Look at the model again: after layers were replaced, for example. Weights are always the present ones.

        Raises:
            ValueError: The results differ from the model's by more than rounding.
        """
        self._graphs = Graphs(self.model)
        self._obstacle = _find_lasting_obstacle(self.model)
        if self._obstacle is None:
            self._parts = _list_parts(self.model)
            self._obstacle = _compare(self.model.base_model.encoder.layer[0])
        self._report(self._obstacle)

    def __call__(
        self, *args: Any, skip_padding: bool = False, positions: Any = None, **kwargs: Any
    ) -> ModelOutput[tf.Tensor]:
        """Return what the model returns for the same arguments.

        Args:
            *args: As the model takes them.
            skip_padding: Accepted as in PyTorch and ignored: graphs compute whole rows.
            positions: Positions [B, K] of tokens: a language model returns the logits [B, K, V] of these only.
            **kwargs: As the model takes them.
        """
        if positions is not None:
            positions = self._check_positions(positions, bind_inputs(self.model._call_signature, args, kwargs))
        obstacle = self._obstacle or self._find_obstacle()
        if obstacle is None or (positions is not None and self._can_replace_head(obstacle)):
            arguments = bind_inputs(self.model._call_signature, args, kwargs)
            unserved = _find_argument_obstacle(self.model, arguments)
            obstacle = obstacle or unserved
            if unserved is None:
                self._report(obstacle)
                arguments = convert_inputs(arguments, self.model.variable_dtype)
                if positions is not None:
                    arguments["positions"] = tf.convert_to_tensor(positions, tf.int32)
                return self._graphs.run(self._call, {**arguments, "training": False})
        self._report(obstacle)
        output = self.model(*args, **kwargs)
        return output if positions is None else _select_logits(output, positions)

    def _call(self, positions: tf.Tensor | None = None, **arguments: Any) -> Any:
        """Compute `call` of the model with the fused encoder, if it can be fused; this is traced."""
        model = self.model if positions is None else _replace_head(self.model, positions)
        if self._obstacle is None:
            model = _replace_encoder(model, _FusedEncoder(self.model.base_model.encoder))
        return model.call(**arguments)

    def _can_replace_head(self, obstacle: str) -> bool:
        """Whether a graph may compute the head for some tokens although the encoder cannot be fused on this machine."""
        model = self.model
        own = has_own_call(type(model)) or type(model).__module__ != "roberta_tf.models" or not model.built
        return obstacle == self._obstacle == find_fusion_obstacle() and not own and _find_context_obstacle() is None

    def _find_obstacle(self) -> str | None:
        """Why a call must go to the ordinary model; None if it need not."""
        if obstacle := _find_context_obstacle():
            return obstacle
        for owner, name, part in self._parts:
            if vars(owner).get(name) is not part or getattr(part, "lora_enabled", False):
                return "a layer of the encoder was changed: call refresh()"
        return None

    def _describe(self, obstacle: str | None) -> str:
        return describe_path(obstacle)


def describe_path(obstacle: str | None) -> str:
    """How a call is computed, by why it cannot be faster, in one sentence."""
    return "oneDNN fused" if obstacle is None else f"plain: {obstacle}"


class _FusedEncoder:
    """Stands in for an `Encoder` while a graph is traced."""

    def __init__(self, encoder: Encoder):
        self.encoder = encoder

    def __call__(self, hidden: tf.Tensor, mask: tf.Tensor | None, *others: Any) -> tuple[Any, ...]:
        """As `Encoder.call`, without weights and caches; `others` are None."""
        states = [hidden]
        for layer in self.encoder.layer:
            states.append(_run_layer(layer, states[-1], mask))
        return tuple(states), (), (), ()


def _run_layer(layer: Any, hidden: tf.Tensor, mask: tf.Tensor | None) -> tf.Tensor:
    """[B, S, D] to [B, S, D]."""
    attention, rows = layer.attention.self, flatten_rows(hidden)
    query, key, value = (
        attention.split(_multiply(rows, linear.kernel, linear.bias, "BiasAdd"), hidden)
        for linear in (attention.query, attention.key, attention.value)
    )
    context = attention.merge(attention.attend(query, key, value, mask, None)[0])
    rows = _add_norm(layer.attention.output_, flatten_rows(context), rows)
    dense = layer.intermediate.dense
    if dense.activation is ACTIVATIONS["gelu"]:
        wide = _multiply(rows, dense.kernel, dense.bias, "BiasAdd", "GeluExact")
    else:
        wide = dense.activation(_multiply(rows, dense.kernel, dense.bias, "BiasAdd"))
    return tf.reshape(_add_norm(layer.output_, wide, rows), tf.shape(hidden))


def _add_norm(module: Any, rows: tf.Tensor, residual: tf.Tensor) -> tf.Tensor:
    """The product, bias and residual in one operation, LayerNorm in another."""
    norm = module.LayerNorm
    added = _multiply(rows, module.dense.kernel, module.dense.bias, "BiasAdd", "Add", residual=residual)
    return _normalise(added, norm.gamma, norm.beta, norm.epsilon)


def _multiply(rows: tf.Tensor, kernel: Any, bias: Any, *fused: str, residual: tf.Tensor | None = None) -> tf.Tensor:
    """The product of rows [R, I] with a kernel [I, O], and what is computed inside it, as [R, O]."""
    product: Any = op_def_library.apply_op(
        "_FusedMatMul",
        name="product",
        a=rows,
        b=tf.convert_to_tensor(kernel),
        args=[tf.convert_to_tensor(bias), *(() if residual is None else (residual,))],
        fused_ops=list(fused),
        transpose_a=False,
        transpose_b=False,
        epsilon=1e-4,
        leakyrelu_alpha=0.2,
    )
    return product


def _normalise(rows: tf.Tensor, scale: Any, offset: Any, epsilon: float) -> tf.Tensor:
    """LayerNorm as one operation."""
    scale, offset = tf.convert_to_tensor(scale), tf.convert_to_tensor(offset)
    normalised: Any = op_def_library.apply_op(
        "_MklLayerNorm", name="layer_norm", x=rows, scale=scale, offset=offset, epsilon=epsilon
    )
    return normalised


@cache
def find_fusion_obstacle() -> str | None:
    """Why the fused operations are not used on this machine; None if they are."""
    one = tf.ones((1, 1))

    def run() -> Any:
        wide = _multiply(one, one, one[0], "BiasAdd", "GeluExact")
        return _normalise(_multiply(wide, one, one[0], "BiasAdd", "Add", residual=one), one[0], one[0], 1e-5)

    try:
        tf.function(run, autograph=False).get_concrete_function()()
    except (tf.errors.OpError, RuntimeError, TypeError) as error:  # not in this version, or not with this CPU
        logger.debug("The fused operations failed: %s", error)
        return "TensorFlow does not use oneDNN here (TF_ENABLE_ONEDNN_OPTS=1 turns it on)"
    return None


def _compare(layer: Any) -> str | None:
    """Compare a fused layer with the ordinary one on random states; return why it cannot be used.

    Raises:
        ValueError: They differ by more than rounding.
    """
    hidden = tf.random.stateless_normal((2, 5, layer.output_.dense.units), seed=(0, 1))
    mask = tf.constant([[0.0] * 5, [0.0] * 3 + [tf.float32.min] * 2])[:, None, None]
    want = layer(hidden, mask)[0]
    got = tf.function(lambda: _run_layer(layer, hidden, mask), autograph=False).get_concrete_function()()
    error = float(tf.reduce_max(tf.abs(got - want)) / tf.reduce_max(tf.abs(want)))
    if not tf.reduce_all(tf.math.is_finite(want)):
        return "its outputs are not finite"
    if not error <= TOLERANCE:
        raise ValueError(
            f"the fused layer differs from the ordinary one by {error:.1e} of its largest value; the limit is "
            f"{TOLERANCE:.0e}: call the model itself, and report this with `roberta info --runtime`"
        )
    return None


def _find_lasting_obstacle(model: Any) -> str | None:
    """Why a model cannot be fused; None if it can."""
    if obstacle := find_fusion_obstacle():
        return obstacle
    if has_own_call(type(model)) or type(model).__module__ != "roberta_tf.models":
        return f"{type(model).__name__} is not a class of roberta_tf"
    if model.config.is_decoder:
        return "the model is a decoder"
    if not model.built:
        return "the model has no variables yet: call it, then refresh()"
    encoder = model.base_model.encoder
    for layer in encoder._flatten_layers():
        if type(layer) not in REPLACED:
            return f"{layer.path} is {type(layer).__module__}.{type(layer).__name__}"
        if layer.dtype_policy.name != "float32" or getattr(layer, "lora_enabled", False):
            return f"{layer.path} computes in {layer.dtype_policy.name} or has an adapter"
    devices = {variable.value.device for variable in encoder.variables}
    if not all("CPU" in device or not device for device in devices):
        return f"the model is on {', '.join(sorted(devices))}"
    return None


def _find_context_obstacle() -> str | None:
    """Why graphs of the view do not serve a call here and now; None if they do."""
    if not tf.executing_eagerly():
        return "the call is traced"
    return None if pywrap_tfe.TFE_Py_TapeSetIsEmpty() else "a GradientTape records"


def _find_argument_obstacle(model: Any, arguments: Mapping[str, Any]) -> str | None:
    """Why the fused encoder does not serve a call; None if it does."""
    for name in UNSERVED:
        if arguments.get(name) is not None and arguments[name] is not False:
            return f"the call has {name}"
    if model._resolve_option("output_attentions", arguments.get("output_attentions")):
        return "the call has output_attentions"
    return None if is_eager_call(model, arguments) else "the call is recorded by Keras"


def _list_parts(model: Any) -> list[tuple[Any, str, Any]]:
    """The layers that a graph reads, with their owners."""
    owners = [model, model.base_model, *model.base_model.encoder._flatten_layers()]
    return [
        (owner, name, part)
        for owner in owners
        for name, part in vars(owner).items()
        if isinstance(part, keras.Layer) and not name.startswith("_")
    ]


def _replace_encoder(model: Any, encoder: Any) -> Any:
    """A shallow copy of a model with another encoder, whose `call` runs without Keras around it."""
    body = model.base_model
    replaced = _copy_with(body, "encoder", encoder)
    return replaced if body is model else _copy_with(model, "roberta", _Body(replaced))


def _replace_head(model: Any, positions: tf.Tensor) -> Any:
    """A shallow copy of a language model whose head computes the logits of some tokens only."""
    head = HeadAt(model.lm_head, lambda hidden: tf.gather(hidden, positions, batch_dims=1))
    return _copy_with(model, "lm_head", head)


def _select_logits(output: Any, positions: Any) -> Any:
    """An output with the logits of some tokens only."""
    return type(output)({**output, "logits": tf.gather(output.logits, positions, batch_dims=1)})


class _Body:
    """A body inside a model, called without Keras around it."""

    def __init__(self, body: Any):
        self.body = body

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return self.body.call(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        return getattr(self.body, name)


def _copy_with(layer: Any, name: str, child: Any) -> Any:
    made = object.__new__(type(layer))
    vars(made).update({**vars(layer), name: child})
    return made

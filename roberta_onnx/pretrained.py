"""The base of the ONNX classes: loading, graphs for each combination of inputs, and running them."""

import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np

from roberta_core.checkpoints.exported import GRAPH, find_graph
from roberta_core.config import RobertaConfig
from roberta_core.input_validation import TARGETS, check_all_labels, check_inputs
from roberta_core.outputs import KeyValueCache, ModelOutput
from roberta_core.parameters import BASE_PREFIX, Parameter, parameters
from roberta_core.pretrained import PreTrainedBase
from roberta_onnx.caches import count_new_tokens
from roberta_onnx.files import load_graph
from roberta_onnx.graph import EMBEDDED, Graph, Tensor
from roberta_onnx.losses import infer_problem_type
from roberta_onnx.quantization import save_quantized
from roberta_onnx.runtimes import RUNTIMES, Run, describe_path

CACHE = "past_key_values"
COUNTED = "past_real"  # the count of tokens that a cache has, as an input
CACHED = "cached"  # begins the names of its arrays as inputs: the outputs have the published name
FLOATS = ("inputs_embeds", "head_mask", "encoder_hidden_states", CACHE)
MASKS = ("attention_mask", "encoder_attention_mask")
SEQUENCES = ("input_ids", "attention_mask", "token_type_ids")  # the inputs of an exported graph
AXES = {2: ("batch", "sequence"), 3: ("batch", "choices", "sequence")}
GRAPH_DTYPES = {"bfloat16": "float32", "int8": "float32"}  # the type of the graph, where it is another one
OPTIONAL = ("hidden_states", "attentions", "cross_attentions", CACHE)  # outputs that a call has to request


@dataclass(frozen=True)
class Signature:
    """What a graph is built for.

    Args:
        inputs: The inputs: name, number of axes, type.
        outputs: The optional outputs that are requested.
        problem_type: That of the labels, if there are any.
    """

    inputs: tuple[tuple[str, int, str], ...]
    outputs: tuple[str, ...] = ()
    problem_type: str = ""


class OnnxRobertaPreTrainedModel(PreTrainedBase):
    """The base of the seven classes. A call takes and returns NumPy arrays; a runtime computes it, without gradients.

    Args:
        config: The configuration.
        seed: Seed of the initial values, which are the same in every framework; None leaves the model without values.
        runtime: "onnx" (ONNX Runtime) or "openvino".
        dtype: "float32"; with ONNX Runtime also "float16" or "int8" (dynamic quantisation of linear layers), with
            OpenVINO "bfloat16".
        prefix: What stands before the names of the parameters of a Model inside another class.
        attn_implementation: "sdpa" or "eager", which are the same here.
        loss_reduction: Only "mean".
    """

    config: RobertaConfig
    _other_format = "bin"
    _class_prefix = "Onnx"
    _settings = (*PreTrainedBase._settings, "runtime", "dtype")

    def __init__(
        self,
        config: RobertaConfig,
        *,
        seed: int | None = 0,
        runtime: str = "onnx",
        dtype: str = "float32",
        prefix: str = "",
        attn_implementation: str = "sdpa",
        loss_reduction: str = "mean",
    ):
        self._check_config(config)
        self._set_options(attn_implementation, loss_reduction)
        if loss_reduction != "mean":
            raise ValueError("loss_reduction is 'none'; an ONNX graph computes only the mean loss")
        if runtime not in RUNTIMES:
            raise ValueError(f"runtime is {runtime!r}; expected one of {', '.join(RUNTIMES)}")
        if dtype not in RUNTIMES[runtime].dtypes:
            known = ", ".join(RUNTIMES[runtime].dtypes)
            raise ValueError(f"dtype is {dtype!r}; {RUNTIMES[runtime].title} computes in {known}")
        self.config, self.seed, self.prefix = config, seed, prefix
        self.runtime, self.dtype = RUNTIMES[runtime], dtype
        self.tensors: dict[str, np.ndarray] = {}
        self._functions: dict[Signature, Run] = {}
        self._exported: Run | None = None  # of a folder that has a graph instead of weights

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike[str],
        *,
        config: RobertaConfig | str | os.PathLike[str] | None = None,
        seed: int = 0,
        ignore_mismatched_sizes: bool = False,
        output_loading_info: bool = False,
        add_pooling_layer: bool | None = None,
        **kwargs: Any,
    ) -> Any:
        """Load the model of a checkpoint of any format, or of a folder that `roberta export --to onnx` wrote.

        Args:
            pretrained_model_name_or_path: A folder, the name of an embedded model, or a repository on the Hub.
            config: The configuration, or where to load it from; None means the checkpoint's.
            seed: Seed of the parameters that the checkpoint lacks, such as a new head; the log names them.
            ignore_mismatched_sizes: Draw tensors whose shapes differ from the model's, instead of refusing them.
            output_loading_info: Also return the names of missing, unexpected and mismatched tensors.
            add_pooling_layer: Whether the body has a pooler; None means as published for the class.
            **kwargs: `runtime` and `dtype`, options of the download (`checkpoints.resolve`), and fields of the
                configuration to override.

        Returns:
            The model, or (model, loading information).

        Raises:
            OSError: There is no such checkpoint.
            CheckpointError: The checkpoint does not fit the model.
        """
        if (graph := find_graph(pretrained_model_name_or_path)) is not None:
            return cls._open_exported(graph, kwargs)
        settings: dict[str, Any] = {} if add_pooling_layer is None else {"add_pooling_layer": add_pooling_layer}
        source = pretrained_model_name_or_path
        model, found, drawn, info = cls._load(source, config, seed, ignore_mismatched_sizes, kwargs, (), **settings)
        model._assign((found | drawn).items())
        return (model, info) if output_loading_info else model

    @classmethod
    def _open_exported(cls, graph: Path, settings: dict[str, Any]) -> Self:
        """Return the model of an exported graph, which has the inputs, outputs and type that it was exported with."""
        runtime, dtype = settings.pop("runtime", "onnx"), settings.pop("dtype", None)
        if dtype not in (None, "float32", "bfloat16"):
            raise ValueError(f"{graph} keeps the dtype that it was exported with; do not pass dtype={dtype!r}")
        config = RobertaConfig.from_pretrained(graph.parent, **settings)
        model = cls(config, seed=None, runtime=runtime, dtype=dtype or "float32")
        model._folder = graph.parent
        model._exported = load_graph(graph, cls.architecture, model.runtime, model.dtype)
        return model

    def _build_body(self, model: Any, add_pooling_layer: bool = False) -> Any:
        """Return the Model inside a class with a head; the class holds the parameters."""
        return model(self.config, add_pooling_layer=add_pooling_layer, seed=None, prefix=BASE_PREFIX)

    def _get_tensors(self) -> dict[str, np.ndarray]:
        if self._exported is not None:
            raise ValueError(f"{self._folder} has a graph, not weights: load the checkpoint that it was exported from")
        return self.tensors

    def _assign(self, tensors: Iterable[tuple[str, np.ndarray]]) -> None:
        """Make arrays the parameters; the graphs that hold the old ones are dropped."""
        self.tensors |= dict(tensors)
        self._functions.clear()

    def _list_parameters(self) -> Mapping[str, Parameter]:
        return parameters(self.config, self.architecture, self.has_pooler)

    def forward(self, **inputs: Any) -> ModelOutput[Tensor]:
        """Add the nodes of the model to the graph of its inputs, and return every output that it has."""
        raise NotImplementedError

    def __call__(
        self,
        input_ids: np.ndarray | None = None,
        attention_mask: np.ndarray | None = None,
        *,
        output_hidden_states: bool | None = None,
        output_attentions: bool | None = None,
        use_cache: bool | None = None,
        **inputs: Any,
    ) -> ModelOutput[np.ndarray]:
        """Run the model on NumPy arrays; the inputs are those of the published class.

        Raises:
            ValueError: An input has the wrong shape, type or value.
        """
        given = {"input_ids": input_ids, "attention_mask": attention_mask, **inputs}
        given = {name: value for name, value in given.items() if value is not None}
        self._check_inputs(given)
        wants = {
            "hidden_states": self._resolve_option("output_hidden_states", output_hidden_states),
            "attentions": self._resolve_option("output_attentions", output_attentions),
            CACHE: self._resolve_use_cache(use_cache),
        }
        wants["cross_attentions"] = wants["attentions"] and "encoder_hidden_states" in given
        arrays = flatten_inputs(given)
        outputs = tuple(name for name in OPTIONAL if wants[name])
        if self._exported is not None:
            return self._pack(self._run_exported(arrays, outputs))
        kinds = tuple((name, array.ndim, array.dtype.name) for name, array in arrays.items())
        signature = Signature(kinds, outputs, self._find_problem_type(given))
        if signature not in self._functions:
            self._functions[signature] = self._compile(self.build_graph(signature))
        output = self._pack(self._functions[signature](arrays))
        if wants[CACHE]:
            output[CACHE] = KeyValueCache(output[CACHE], self._count_tokens(given))
        return output

    def build_graph(self, signature: Signature, ids: str = "int64") -> Graph:
        """Return the graph for some inputs and outputs.

        Args:
            signature: The inputs and outputs.
            ids: The type of the inputs that are integers: "int64" or "int32".
        """
        graph = Graph(self.tensors, GRAPH_DTYPES.get(self.dtype, self.dtype), ids)
        found: dict[str, Any] = {}
        for name, rank, dtype in signature.inputs:
            plain = name in SEQUENCES and not any(one.startswith(CACHED) for one, _, _ in signature.inputs)
            own = tuple(f"{name}_axis_{axis}" for axis in range(rank))
            axes = AXES.get(rank, own) if plain and rank == self._rank else own
            tensor = graph.input(name, axes, None if dtype == "int64" else dtype)
            found[name] = tensor if dtype == "int64" else tensor.cast(graph.dtype)
        caches = [found.pop(name) for name in [*found] if name.startswith(CACHED)]
        if caches:
            width = len(caches) // self.config.num_hidden_layers
            found[CACHE] = tuple(zip(*[iter(caches)] * width, strict=True))
        if signature.problem_type:
            found["problem_type"] = signature.problem_type
        for name, tensor in flatten_outputs(self.forward(**found), signature.outputs):
            graph.output(name, tensor)
        return graph

    def build_exported(self, ids: str = "int64") -> Graph:
        """Return the graph that is exported: ids and mask, and token types if there are several; the main outputs."""
        names = SEQUENCES if self.config.type_vocab_size > 1 else SEQUENCES[:2]
        return self.build_graph(Signature(tuple((name, self._rank, "int64") for name in names)), ids)

    def save_graph(self, path: str | os.PathLike[str], ids: str = "int64") -> None:
        """Write the graph that is exported, in the dtype of the model."""
        graph = self.build_exported(ids)
        if self.dtype == "int8":
            save_quantized(graph, Path(path))
        else:
            graph.save(path)

    @property
    def _rank(self) -> int:
        """The number of axes of ids."""
        return 3 if self.architecture == "ForMultipleChoice" else 2

    def _compile(self, graph: Graph) -> Run:
        if self.dtype != "int8" and graph.size <= EMBEDDED:
            return self.runtime.open(graph.build().SerializeToString(), self.dtype)
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / GRAPH
            save_quantized(graph, path) if self.dtype == "int8" else graph.save(path)
            return self.runtime.open(path, self.dtype)

    def _run_exported(self, arrays: Mapping[str, np.ndarray], outputs: Sequence[str]) -> dict[str, np.ndarray]:
        assert self._exported is not None
        outputs = [name for name in outputs if name != CACHE]  # the graph says in its page that it has none
        if outputs:
            raise ValueError(f"{self._folder} has no output {', '.join(outputs)}: load the checkpoint instead")
        return self._exported(arrays)

    def _check_inputs(self, inputs: Mapping[str, Any]) -> None:
        """Raise `ValueError` for inputs that the model cannot accept."""
        past = inputs.get(CACHE)
        body = {name: value for name, value in self._to_body_inputs(inputs).items() if name not in TARGETS}
        check_inputs(self.config, body, 0 if not past else past[0][0].shape[2])
        check_all_labels(self.config, self.architecture, inputs)

    def _to_body_inputs(self, inputs: Mapping[str, Any]) -> Mapping[str, Any]:
        """Return the inputs as the body receives them."""
        return inputs

    def _count_tokens(self, inputs: Mapping[str, Any]) -> np.ndarray:
        """Return the tokens [B, 1] that are not padding after a call; embeddings hide which of them are, so none is."""
        if "input_ids" in inputs:
            new = inputs["input_ids"] != self.config.pad_token_id
        else:
            new = np.ones(inputs["inputs_embeds"].shape[:2], bool)
        return count_new_tokens(inputs.get(CACHE), inputs.get("attention_mask"), new)

    def _find_problem_type(self, inputs: Mapping[str, Any]) -> str:
        labels = inputs.get("labels")
        if labels is None or self.architecture != "ForSequenceClassification":
            return ""
        is_integer = np.issubdtype(labels.dtype, np.integer)
        return self.config.problem_type or infer_problem_type(labels.shape, is_integer, self.config.num_labels)

    def _add_fields(self, body: Mapping[str, Any], **fields: Any) -> Any:
        """Return the output of the class: the fields of its head, and those of the body that it has too."""
        inherited = {name: value for name, value in body.items() if name in self.output_class.fields}
        return self.output_class({**inherited, **fields})

    def _pack(self, arrays: Mapping[str, np.ndarray]) -> ModelOutput[np.ndarray]:
        """Return the output of arrays that are named as by `flatten_outputs`."""
        fields: dict[str, Any] = {}
        for name, array in arrays.items():
            first, *rest = name.split(".")
            if len(rest) == 2:
                fields.setdefault(first, {}).setdefault(rest[0], []).append(array)
            elif rest:
                fields.setdefault(first, []).append(array)
            else:
                fields[first] = array
        for name, value in fields.items():
            if isinstance(value, dict):
                fields[name] = tuple(tuple(parts) for parts in value.values())
            elif isinstance(value, list):
                fields[name] = tuple(value)
        return self.output_class(fields)

    output_class: type[ModelOutput[Any]]

    @property
    def backend_name(self) -> str:
        """The backend that runs the model."""
        return self.runtime.name

    @property
    def path(self) -> str:
        """How calls are computed, and why, in one sentence."""
        return describe_path(self.runtime, self.dtype)

    @property
    def device(self) -> str:
        """The device of the model: always the CPU."""
        return "cpu"


def flatten_inputs(inputs: Mapping[str, Any]) -> dict[str, np.ndarray]:
    """Return the inputs as arrays of int64 or float32, with a separate one for each part of a cache."""
    flat: dict[str, Any] = {}
    for name, value in inputs.items():
        if name == CACHE:
            parts = {f"{CACHED}.{i}.{j}": part for i, layer in enumerate(value) for j, part in enumerate(layer)}
            flat |= parts
            if getattr(value, "real", None) is not None:
                flat[COUNTED] = value.real
        else:
            flat[name] = np.asarray(value) != 0 if name in MASKS else np.asarray(value)
    return {name: np.ascontiguousarray(array, _input_type(array)) for name, array in flat.items()}


def _input_type(array: np.ndarray) -> Any:
    return np.float32 if array.dtype.kind not in "iub" else np.int64


def flatten_outputs(output: Mapping[str, Any], requested: Sequence[str]) -> list[tuple[str, Tensor]]:
    """Name the tensors of an output, such as `hidden_states.0`, without optional ones that are not requested."""
    found: list[tuple[str, Tensor]] = []

    def walk(name: str, value: Any) -> None:
        if isinstance(value, tuple):
            for number, part in enumerate(value):
                walk(f"{name}.{number}", part)
        elif value is not None:
            found.append((name, value))

    for name, value in output.items():
        if name not in OPTIONAL or name in requested:
            walk(name, value)
    return found

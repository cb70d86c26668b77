"""An ONNX graph under construction: expressions of tensors, each of which adds a node to the graph.

The graph holds the parameters by their published names. A matrix of a linear layer is stored transposed, [in, out], as
ONNX multiplies it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import ml_dtypes
import numpy as np
import onnx
from onnx import helper, numpy_helper

import roberta_core

OPSET = 20  # the first with the operator Gelu
IR_VERSION = 10  # the file format that ONNX released with that operator set
EMBEDDED = 2_000_000_000  # bytes of parameters inside the model file; Protocol Buffers cannot exceed 2 GiB
DATA = ".data"  # suffix of the file with larger parameters
SMALL = 1024  # bytes of a tensor that stays in the model file: a runtime reads the shapes there before it loads data
ALIGNMENT = 4096  # bytes: a runtime can map the parameters from the file
# The score of a masked key. The minimum of float32 would become infinite in a runtime that computes in bfloat16.
MINIMUM = {"float32": float(ml_dtypes.finfo(ml_dtypes.bfloat16).min), "float16": float(np.finfo(np.float16).min)}


class Graph:
    """Nodes, parameters, inputs and outputs.

    Args:
        tensors: The parameters by their published names, in the published shapes.
        dtype: The type of the parameters and of the computation: "float32" or "float16".
        ids: The type of the inputs that are integers: "int64" or "int32".
    """

    def __init__(self, tensors: Mapping[str, np.ndarray], dtype: str = "float32", ids: str = "int64"):
        self.tensors, self.dtype, self.ids = tensors, np.dtype(dtype), np.dtype(ids)
        self.nodes: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        self.arrays: dict[str, np.ndarray] = {}  # the initializers
        self.constants: dict[tuple[Any, ...], Tensor] = {}

    def add(
        self, operator: str, *inputs: Tensor, dtype: Any = None, rank: int | None = None, **settings: Any
    ) -> Tensor:
        """Add a node and return its output, which has the type of the first input unless `dtype` is given."""
        name = f"{operator}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(operator, [one.name for one in inputs], [name], name=name, **settings))
        return Tensor(self, name, inputs[0].dtype if dtype is None else np.dtype(dtype), rank)

    def constant(self, value: Any, dtype: Any) -> Tensor:
        """Return a constant; equal ones are stored once."""
        array = np.asarray(value, dtype)
        key = (array.dtype.name, array.shape, array.tobytes())
        if key not in self.constants:
            name = f"constant_{len(self.constants)}"
            self.arrays[name] = array
            self.constants[key] = Tensor(self, name, array.dtype, array.ndim)
        return self.constants[key]

    def parameter(self, name: str, transposed: bool = False) -> Tensor:
        """Return a parameter of the model by its published name."""
        if name not in self.arrays:
            array = self.tensors[name].T if transposed else self.tensors[name]
            self.arrays[name] = np.ascontiguousarray(array.astype(self.dtype, copy=False))
        return Tensor(self, name, self.dtype, self.arrays[name].ndim)

    def input(self, name: str, axes: Sequence[str | int], dtype: Any = None) -> Tensor:
        """Add an input with named, dynamic axes; by default it has the type of ids."""
        kind = self.ids if dtype is None else np.dtype(dtype)
        self.inputs.append(helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(kind), list(axes)))
        return Tensor(self, name, kind, len(axes))

    def output(self, name: str, tensor: Tensor, axes: Sequence[str | int] | None = None) -> None:
        """Add an output."""
        self.nodes.append(helper.make_node("Identity", [tensor.name], [name], name=f"output_{name}"))
        kind = helper.np_dtype_to_tensor_dtype(tensor.dtype)
        self.outputs.append(helper.make_tensor_value_info(name, kind, None if axes is None else list(axes)))

    @property
    def size(self) -> int:
        """The bytes of all parameters."""
        return sum(array.nbytes for array in self.arrays.values())

    def build(self) -> onnx.ModelProto:
        """Return the model with its parameters inside."""
        return self._make_model([numpy_helper.from_array(array, name) for name, array in self.arrays.items()])

    def save(self, path: str | os.PathLike[str]) -> list[Path]:
        """Write the model; parameters of more than `EMBEDDED` bytes go to a second file beside it. Return the files."""
        path = Path(path)
        if self.size <= EMBEDDED:
            path.write_bytes(self.build().SerializeToString())
            return [path]
        data = path.with_name(path.name + DATA)
        with open(data, "wb") as file:
            initializers = [self._write_external(file, data.name, name, array) for name, array in self.arrays.items()]
        path.write_bytes(self._make_model(initializers).SerializeToString())
        return [path, data]

    def _write_external(self, file: Any, location: str, name: str, array: np.ndarray) -> onnx.TensorProto:
        """Append an array to the data file and return the initializer that refers to it; a small one has its values."""
        if array.nbytes <= SMALL:
            return numpy_helper.from_array(array, name)
        file.write(bytes(-file.tell() % ALIGNMENT))
        offset = file.tell()
        file.write(array.data)
        tensor = onnx.TensorProto(
            name=name,
            dims=array.shape,
            data_type=helper.np_dtype_to_tensor_dtype(array.dtype),
            data_location=onnx.TensorProto.EXTERNAL,
        )
        for key, value in (("location", location), ("offset", offset), ("length", array.nbytes)):
            tensor.external_data.add(key=key, value=str(value))
        return tensor

    def _make_model(self, initializers: Sequence[onnx.TensorProto]) -> onnx.ModelProto:
        graph = helper.make_graph(self.nodes, "roberta", self.inputs, self.outputs, initializers)
        opsets = [helper.make_opsetid("", OPSET)]
        producer = {"producer_name": "triberta", "producer_version": roberta_core.__version__}
        return helper.make_model(graph, opset_imports=opsets, ir_version=IR_VERSION, **producer)


class Tensor:
    """A value of a graph: an input, a parameter, a constant or the output of a node.

    Args:
        graph: The graph.
        name: Its name there.
        dtype: Its type.
        rank: The number of its axes, where that is known.
    """

    def __init__(self, graph: Graph, name: str, dtype: np.dtype[Any], rank: int | None = None):
        self.graph, self.name, self.dtype, self.rank = graph, name, dtype, rank

    def add(self, operator: str, *others: Any, **settings: Any) -> Tensor:
        """Apply an operator to this tensor and others; a number becomes a constant of this tensor's type."""
        tensors = [one if isinstance(one, Tensor) else self.graph.constant(one, self.dtype) for one in others]
        return self.graph.add(operator, self, *tensors, **settings)

    def __add__(self, other: Any) -> Tensor:
        return self.add("Add", other)

    def __sub__(self, other: Any) -> Tensor:
        return self.add("Sub", other)

    def __mul__(self, other: Any) -> Tensor:
        return self.add("Mul", other)

    def __truediv__(self, other: Any) -> Tensor:
        return self.add("Div", other)

    def __matmul__(self, other: Tensor) -> Tensor:
        return self.add("MatMul", other)

    def __invert__(self) -> Tensor:
        return self.add("Not", rank=self.rank)

    def __and__(self, other: Tensor) -> Tensor:
        return self.add("And", other)

    def equals(self, other: Any) -> Tensor:
        """Return where both are equal."""
        return self.add("Equal", other, dtype=np.bool_, rank=self.rank)

    def is_at_most(self, other: Any) -> Tensor:
        """Return where this tensor is less or equal."""
        return self.add("LessOrEqual", other, dtype=np.bool_)

    def where(self, yes: Tensor, no: Any) -> Tensor:
        """Return one of two values by this condition."""
        other = no if isinstance(no, Tensor) else self.graph.constant(no, yes.dtype)
        return self.graph.add("Where", self, yes, other, dtype=yes.dtype)

    def cast(self, dtype: Any) -> Tensor:
        """Convert to another type; to a bool, what is not 0 is true."""
        kind = np.dtype(dtype)
        if kind == self.dtype:
            return self
        return self.add("Cast", dtype=kind, rank=self.rank, to=helper.np_dtype_to_tensor_dtype(kind))

    def reshape(self, shape: Sequence[int] | Tensor) -> Tensor:
        """Change the shape; an axis of 0 keeps its size, and one of -1 takes what is left."""
        if isinstance(shape, Tensor):
            return self.add("Reshape", shape)
        return self.add("Reshape", self.graph.constant(shape, np.int64), rank=len(shape))

    def transpose(self, *axes: int) -> Tensor:
        """Reorder the axes."""
        return self.add("Transpose", perm=axes, rank=len(axes))

    def insert_axes(self, *axes: int) -> Tensor:
        """Add axes of size 1, counted in the result."""
        rank = None if self.rank is None else self.rank + len(axes)
        return self.add("Unsqueeze", self.graph.constant(axes, np.int64), rank=rank)

    def shape(self, start: int = 0, end: int | None = None) -> Tensor:
        """Return the sizes of some axes, as int64."""
        return self.add("Shape", dtype=np.int64, rank=1, start=start, **({} if end is None else {"end": end}))

    def count(self, axis: int) -> Tensor:
        """Return the size of an axis as a number."""
        return self.shape(axis, axis + 1).reshape([])

    def take(self, index: int, axis: int) -> Tensor:
        """Return one index of an axis, which is removed."""
        return self.add("Gather", self.graph.constant(index, np.int64), axis=axis)

    def slice(self, axis: int, start: int, end: int) -> Tensor:
        """Return a part of an axis."""
        bounds = [self.graph.constant([number], np.int64) for number in (start, end, axis)]
        return self.add("Slice", *bounds)

    def sum(self, axis: int | None = None, keepdims: bool = False) -> Tensor:
        """Return the sum over an axis, or over all."""
        axes = [] if axis is None else [self.graph.constant([axis], np.int64)]
        return self.add("ReduceSum", *axes, keepdims=int(keepdims))

    def mean(self, axis: int) -> Tensor:
        """Return the mean over an axis, which is removed."""
        return self.add("ReduceMean", self.graph.constant([axis], np.int64), keepdims=0)


def arange(size: Tensor) -> Tensor:
    """Return the integers from 0 to a size, as int64 [size]."""
    start, step = (size.graph.constant(number, np.int64) for number in (0, 1))
    return start.add("Range", size, step, rank=1)


def concatenate(tensors: Sequence[Tensor], axis: int) -> Tensor:
    """Join tensors along an axis."""
    return tensors[0].add("Concat", *tensors[1:], axis=axis)

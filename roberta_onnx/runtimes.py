"""The runtimes of ONNX graphs: a model file, or its content, to a function from arrays to arrays."""

import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Protocol

import numpy as np

from roberta_core.backend import hide_modules

logger = logging.getLogger(__name__)

Run = Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]
TYPES = {"tensor(int64)": np.int64, "tensor(int32)": np.int32, "tensor(float16)": np.float16}


@dataclass(frozen=True)
class Compiled:
    """A model that a runtime has read: call it with arrays by name.

    Args:
        run: Its function.
        inputs: The type of each input.
    """

    run: Run
    inputs: Mapping[str, Any]

    def __call__(self, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Return the outputs by name."""
        return self.run(inputs)


class Runtime(Protocol):
    """A library that runs ONNX graphs on the CPU."""

    name: str  # of the backend, such as "onnx"
    title: str  # in messages, such as "ONNX Runtime"
    dtypes: tuple[str, ...]  # the types in which it can compute a model

    @property
    def version(self) -> str:
        """The library's version."""
        ...

    def find_dtype(self, dtype: str) -> str:
        """Return the type in which a model of a type computes on this machine."""
        ...

    def open(self, model: str | os.PathLike[str] | bytes, dtype: str = "float32") -> Compiled:
        """Read a model: a file, or the content of one.

        Args:
            model: The file or its content.
            dtype: The type of the computation; "bfloat16" is the runtime's own, the others are those of the graph.

        Raises:
            ValueError: The library cannot read the model.
        """
        ...


class OnnxRuntime:
    """ONNX Runtime."""

    name, title = "onnx", "ONNX Runtime"
    dtypes: tuple[str, ...] = ("float32", "float16", "int8")

    @property
    def version(self) -> str:
        """The library's version."""
        import onnxruntime

        return str(onnxruntime.__version__)

    def find_dtype(self, dtype: str) -> str:
        """Return the type in which a model of a type computes: its own."""
        return dtype

    def open(self, model: str | os.PathLike[str] | bytes, dtype: str = "float32") -> Compiled:
        """Read a model."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 3  # errors only: it warns about its own optimisations
        content: Any = model if isinstance(model, bytes) else os.fspath(model)
        try:
            session: Any = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
        except Exception as error:  # the library raises a different type for each reason
            raise ValueError(f"{self.title} cannot read {_name_of(model)}: {error}") from None
        names = [one.name for one in session.get_outputs()]
        return Compiled(
            lambda inputs: dict(zip(names, session.run(names, dict(inputs)), strict=True)),
            {one.name: TYPES.get(one.type, np.float32) for one in session.get_inputs()},
        )


class OpenVino:
    """OpenVINO. It computes in the requested type on every CPU: by itself it would use bfloat16 where a CPU has it."""

    name, title = "openvino", "OpenVINO"
    dtypes: tuple[str, ...] = ("float32", "bfloat16")

    @property
    def version(self) -> str:
        """The library's version."""
        return str(_import_openvino().__version__).partition("-")[0]

    def find_dtype(self, dtype: str) -> str:
        """Return the type in which a model of a type computes: float32 where the CPU has no bfloat16."""
        return "float32" if dtype == "bfloat16" and not _has_bfloat16() else dtype

    def open(self, model: str | os.PathLike[str] | bytes, dtype: str = "float32") -> Compiled:
        """Read a model."""
        openvino = _import_openvino()
        if self.find_dtype(dtype) != dtype:
            _warn(f"{self.title} computes in float32: this CPU has no instructions for {dtype}")
        precision = {"bfloat16": "bf16"}.get(dtype, "f32")
        content: Any = model if isinstance(model, bytes) else os.fspath(model)
        try:
            core = openvino.Core()
            compiled: Any = core.compile_model(
                core.read_model(content), "CPU", {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": "LATENCY"}
            )
        except Exception as error:  # the library raises a different type for each reason
            raise ValueError(f"{self.title} cannot read {_name_of(model)}: {error}") from None
        names = [self._find_name(port) for port in compiled.outputs]

        kinds = {self._find_name(port): port.element_type.to_dtype() for port in compiled.inputs}

        def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
            # The library removes an input that no node reads.
            found = compiled({name: array for name, array in inputs.items() if name in kinds})
            return {name: np.array(found[number]) for number, name in enumerate(names)}  # copied: the next call reuses

        return Compiled(run, kinds)

    @staticmethod
    def _find_name(port: Any) -> str:
        """Return the name of an input or output in the graph: the library also lists those of removed nodes."""
        names = sorted(port.names)
        return next((name for name in names if not name.rpartition("_")[2].isdecimal()), names[0])


RUNTIMES: dict[str, Runtime] = {"onnx": OnnxRuntime(), "openvino": OpenVino()}


def describe_path(runtime: Runtime, dtype: str) -> str:
    """How a model of a type is computed, in one sentence."""
    found = runtime.find_dtype(dtype)
    reason = "" if found == dtype else f": this CPU has no instructions for {dtype}"
    return f"compiled for inference in {found}{reason}"


@cache
def _import_openvino() -> Any:
    """Import OpenVINO without its telemetry, which reports each import over the network."""
    with hide_modules(["openvino_telemetry"]):
        import openvino
    return openvino


@cache
def _warn(message: str) -> None:
    """Log a warning once: a model has several graphs."""
    logger.warning(message)


@cache
def _has_bfloat16() -> bool:
    """Whether OpenVINO computes in bfloat16 on this CPU."""
    return "BF16" in _import_openvino().Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _name_of(model: str | os.PathLike[str] | bytes) -> str:
    return f"a graph of {len(model)} bytes" if isinstance(model, bytes) else os.fspath(model)

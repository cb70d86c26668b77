"""`python benchmarks/gpu.py infer`: compare inference on a GPU with float64, and time it, in less than 5 minutes.

A random model of roberta-base's size runs in each framework and in transformers, each in a separate process, one after
the other. A row has the error of the last hidden states, relative to the largest value, and for each shape the tokens
per second and the share of the device's peak (model FLOP utilisation, from the encoder's matrix products). The exit
status is 1 if an error is more than ten times what rounding causes.

`--device cpu --tiny` tries the script without a GPU.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np

from conformance.oracle import Oracle
from conformance.oracle.rounding import MULTIPLE, expected_rounding
from roberta_bench.process import Process
from roberta_bench.report import count_operations, describe_machine
from roberta_bench.worker import make_inputs
from roberta_core import backend, checkpoints
from roberta_core.config import RobertaConfig
from roberta_core.parameters import draw

WORKER = Path(__file__).with_name("gpu_worker.py")
FRAMEWORKS = ("pt", "tf", "flax", "transformers")
PRECISIONS = ("float32", "tf32", "bfloat16")
SHAPES, TINY_SHAPES = ((8, 128), (64, 128), (32, 512)), ((2, 7), (3, 16))
COMPARED = (2, 64)  # rows and tokens that are compared with float64
TINY = {"num_hidden_layers": 2, "hidden_size": 24, "num_attention_heads": 3, "intermediate_size": 40, "vocab_size": 99}
# Dense peaks in TFLOP/s, from the makers' data sheets, by a part of the device's name: float32, TF32, bfloat16.
PEAKS = {
    "H200": (67, 494, 989), "H100 PCIe": (51, 378, 756), "H100": (67, 494, 989), "A100": (19.5, 156, 312),
    "L40S": (91.6, 183, 362), "L4": (30.3, 60, 121), "A10": (31.2, 62.5, 125), "4090": (82.6, 82.6, 165.2),
}  # fmt: skip


@dataclass
class Row:
    """What was measured of an implementation.

    Attributes:
        name: A framework, or `transformers`.
        precision: One of `PRECISIONS`.
        version: The version of the library.
        device: Where it ran.
        expected: The error that rounding causes.
        error: The largest difference from float64, relative to the largest value.
        seconds: The median time of a call by shape.
    """

    name: str
    precision: str
    version: str
    device: str
    expected: float
    error: float = 0.0
    seconds: dict[tuple[int, int], float] = field(default_factory=dict)

    @property
    def is_right(self) -> bool:
        """Whether the error is one of rounding."""
        return self.error <= MULTIPLE * self.expected


@dataclass(frozen=True)
class Plan:
    """What is run: implementations with their interpreters, precisions, device, shapes and timed calls."""

    pythons: Mapping[str, str]
    precisions: Sequence[str]
    device: str
    shapes: Sequence[tuple[int, int]]
    rounds: int


def measure(config: RobertaConfig, plan: Plan) -> Iterator[Row]:
    """Yield the row of each implementation and precision.

    Raises:
        OSError: A process ended before it answered; the message has the command that shows why.
    """
    tensors = dict(draw(config, "Model", 0))
    ids, mask = make_inputs(*COMPARED, config.vocab_size, 0)
    inputs = {"input_ids": ids, "attention_mask": mask}
    oracle = Oracle(config, "Model", tensors)
    stages = {name: value for name, value in oracle.run(**inputs).items() if name == "last_hidden_state"}
    expected = {one: expected_rounding(oracle, inputs, stages, one)["last_hidden_state"] for one in _list_types(plan)}
    with tempfile.TemporaryDirectory() as folder:
        checkpoints.save(Path(folder), config, "Model", tensors)
        for name, python in plan.pythons.items():
            for precision in plan.precisions:
                worker = Process(name, [python, str(WORKER), name, folder, plan.device, precision])
                try:
                    row = Row(name, precision, **worker.answer(), expected=expected[_to_type(precision)])
                    saved = worker.ask({"ids": _save_ids(folder, config, COMPARED), "save": f"{folder}/states.npy"})
                    row.error = _find_error(np.load(saved["saved"]), stages["last_hidden_state"])
                    for shape in plan.shapes:
                        found = worker.ask({"ids": _save_ids(folder, config, shape), "rounds": plan.rounds})
                        row.seconds[shape] = statistics.median(found["seconds"])
                finally:
                    worker.close()
                yield row


def _save_ids(folder: str, config: RobertaConfig, shape: tuple[int, int]) -> str:
    """Write the ids of a shape, and return the file."""
    path = f"{folder}/ids-{shape[0]}x{shape[1]}.npy"
    np.save(path, make_inputs(*shape, config.vocab_size, 0)[0])
    return path


def _to_type(precision: str) -> str:
    """The type whose rounding a precision has at most: TF32 has the 10 bits of float16, and the range of float32."""
    return {"tf32": "float16"}.get(precision, precision)


def _list_types(plan: Plan) -> set[str]:
    return {_to_type(precision) for precision in plan.precisions}


def _find_error(states: np.ndarray, want: np.ndarray) -> float:
    """The largest difference, relative to the largest value; infinite if the states are not finite."""
    error = float(np.abs(states - want).max() / np.abs(want).max())
    return error if np.isfinite(error) else float("inf")


def find_peak(name: str, precision: str) -> float | None:
    """Return the peak of a device in TFLOP/s; None if its name is not known."""
    found = next((peaks for part, peaks in PEAKS.items() if part in name), None)
    return None if found is None else found[PRECISIONS.index(precision)]


def find_device_name() -> str:
    """Return the name of the first NVIDIA GPU; empty if there is none."""
    try:
        command = ["nvidia-smi", "--query-gpu=name", "--format=csv,noheader"]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.splitlines()[0].strip()
    except (OSError, subprocess.CalledProcessError, IndexError):
        return ""


def make_table(rows: Sequence[Row], config: RobertaConfig, peaks: Mapping[str, float | None]) -> str:
    """Return a Markdown table: ms, tokens per second and the share of the peak of each shape."""
    shapes = list(rows[0].seconds)
    lines = [["", "precision", "device", "error", *(f"{batch} x {length}" for batch, length in shapes)]]
    lines.append(["---"] * len(lines[0]))
    for row in rows:
        cells = [_describe_time(config, shape, seconds, peaks[row.precision]) for shape, seconds in row.seconds.items()]
        verdict = "" if row.is_right else ", too large"
        error = f"{row.error:.1e} ({row.error / row.expected:.1f}x of rounding{verdict})"
        lines.append([f"{row.name} {row.version}", row.precision, row.device, error, *cells])
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _describe_time(config: RobertaConfig, shape: tuple[int, int], seconds: float, peak: float | None) -> str:
    rate = f"{1e3 * seconds:.2f} ms, {shape[0] * shape[1] / seconds:,.0f} tokens/s"
    share = None if peak is None else count_operations(config, shape) / seconds / (peak * 1e12)
    return rate if share is None else f"{rate}, {share:.1%}"


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return the options of the command."""
    parser = argparse.ArgumentParser(
        prog="gpu.py", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("what", choices=("infer",), help="what to measure")
    parser.add_argument("--device", default="cuda", help="cuda, or cpu (%(default)s)")
    parser.add_argument("--frameworks", help=f"from {','.join(FRAMEWORKS[:-1])}; by default those that are installed")
    parser.add_argument("--peer", metavar="PYTHON", help="interpreter with transformers 5; without it, not measured")
    parser.add_argument("--precisions", default="float32,bfloat16", help="from float32,tf32,bfloat16 (%(default)s)")
    parser.add_argument("--rounds", type=int, default=20, help="timed calls per shape (%(default)s)")
    parser.add_argument("--peak", type=float, help="peak of the device in TFLOP/s, if its name is not known")
    parser.add_argument("--tiny", action="store_true", help="a small model and small shapes, to try the script")
    parser.add_argument("--json-file", type=Path, help="write the results as JSON")
    options = parser.parse_args(arguments)
    names = options.frameworks.split(",") if options.frameworks else backend.list_installed()
    options.names = [name for name in names if options.frameworks or name in FRAMEWORKS]
    for given, known in ((options.names, FRAMEWORKS[:-1]), (options.precisions.split(","), PRECISIONS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"{', '.join(unknown)} is unknown; choose from {', '.join(known)}")
    return options


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print the table; return the exit status."""
    options = parse(arguments)
    pythons = dict.fromkeys(options.names, sys.executable) | ({"transformers": options.peer} if options.peer else {})
    config = RobertaConfig.base(**(TINY if options.tiny else {}))
    precisions, rows = options.precisions.split(","), []
    shapes = TINY_SHAPES if options.tiny else SHAPES
    if not pythons:
        raise SystemExit("no framework is installed: install PyTorch, TensorFlow or JAX, or pass --peer")
    for row in measure(config, Plan(pythons, precisions, options.device, shapes, options.rounds)):
        rows.append(row)
        print(f"{row.name} {row.precision}: error {row.error:.1e}", file=sys.stderr, flush=True)
    name = find_device_name() if options.device != "cpu" else ""
    peaks = {one: options.peak or find_peak(name, one) for one in precisions}
    if options.json_file is not None:
        found = [{**asdict(row), "seconds": {f"{b}x{s}": one for (b, s), one in row.seconds.items()}} for row in rows]
        facts = {"machine": describe_machine(), "gpu": name, "peak_tflops": peaks, "results": found}
        options.json_file.write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
    print(f"{name or options.device}; a share is of {peaks} TFLOP/s\n\n{make_table(rows, config, peaks)}")
    return int(not all(row.is_right for row in rows))


if __name__ == "__main__":
    sys.exit(main())

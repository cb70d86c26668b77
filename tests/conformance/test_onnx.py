"""`--against onnx:model.onnx`, with a stand-in for ONNX Runtime; and the expected rounding of int8."""

import json
import sys
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest

from conformance.adapters.oracle import Reference
from conformance.oracle import Oracle
from conformance.oracle.rounding import expected_rounding, round_to_uint8
from roberta_core.cli import main


class Session:
    """A session of the stand-in: the float64 model in float32, with the inputs and outputs of `PORTS`."""

    source = ""
    inputs = ("input_ids", "attention_mask", "token_type_ids")
    outputs = ("logits", "hidden_states.1")

    def __init__(self, path, providers):
        self.model = Reference().load("ForMaskedLM", self.source)

    def get_inputs(self):
        return [SimpleNamespace(name=name, type="tensor(int64)") for name in self.inputs]

    def get_outputs(self):
        return [SimpleNamespace(name=name) for name in self.outputs]

    def run(self, names, given):
        assert names is None
        assert all(value.dtype == np.int64 for value in given.values())
        stages = self.model.run(**given)
        return [stages.get(name, stages["logits"]).astype(np.float32) for name in self.outputs]


@pytest.fixture
def against(checkpoint, tmp_path, monkeypatch, capsys):
    """`against(**ports)`: the exit status, the report on the file and stderr."""
    runtime = ModuleType("onnxruntime")
    runtime.__version__, runtime.InferenceSession = "1.32.0", Session
    monkeypatch.setitem(sys.modules, "onnxruntime", runtime)
    monkeypatch.setattr(Session, "source", checkpoint("ForMaskedLM"))
    (tmp_path / "model.onnx").write_bytes(b"")
    target = f"onnx:{tmp_path / 'model.onnx'}"

    def run(*options, target=target, **ports):
        for name, value in ports.items():
            monkeypatch.setattr(Session, name, value)
        with pytest.raises(SystemExit) as ended:
            main(["parity", checkpoint("ForMaskedLM"), "--against", target, "--json", *options])
        printed = capsys.readouterr()
        return ended.value.code, json.loads(printed.out)["frameworks"][target] if printed.out else None, printed.err

    return run


def test_the_outputs_of_a_file_are_compared_by_name(against):
    status, report, _ = against()
    assert status == 0
    assert list(report["stages"]) == ["hidden_states.1", "logits"]
    assert report["version"] == "1.32.0"


def test_a_single_output_is_the_main_one_whatever_its_name(against):
    status, report, _ = against(outputs=("output_0",), inputs=("input_ids", "attention_mask"))
    assert status == 0
    assert list(report["stages"]) == ["logits"]


def test_a_wrong_file_gets_its_cause(against, monkeypatch):
    run = Session.run
    monkeypatch.setattr(
        Session,
        "run",
        lambda self, names, given: run(self, names, {**given, "attention_mask": given["input_ids"] ** 0}),
    )
    status, report, _ = against()
    assert status == 1
    assert report["cause"] == "looks like: attention_mask ignored"


@pytest.mark.parametrize(
    ("ports", "message"),
    [
        ({"inputs": ("input_ids", "position_ids")}, "requires position_ids; the inputs are input_ids, attention_mask"),
        ({"outputs": ("a", "b")}, "returned a, b; name the main output logits or last_hidden_state"),
        ({"target": "onnx:nowhere.onnx"}, "nowhere.onnx is not a file"),
    ],
)
def test_a_file_that_cannot_be_compared_is_refused_in_one_sentence(against, ports, message):
    status, report, err = against(**ports)
    assert (status, report) == (1, None)
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_a_missing_library_is_named(against, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    status, _, err = against()
    assert status == 1
    assert "requires ONNX Runtime: pip install onnxruntime" in err


def test_int8_requires_an_implementation_of_the_user(checkpoint, capsys):
    with pytest.raises(SystemExit) as ended:
        main(["parity", checkpoint("ForMaskedLM"), "--frameworks", "oracle", "--precision", "int8"])
    assert ended.value.code == 2
    assert "--precision int8 requires --against" in capsys.readouterr().err


def test_uint8_keeps_zero_and_is_within_half_a_step():
    x = np.random.default_rng(0).normal(0.3, 1, (4, 5, 6)).astype(np.float32)
    x[0, 0, 0] = 0.0
    rounded = round_to_uint8(x)
    assert rounded[0, 0, 0] == 0
    assert len(np.unique(rounded)) > 50
    assert np.abs(rounded - x).max() <= (x.max() - x.min()) / 255 * 0.51
    assert not round_to_uint8(np.zeros(3, np.float32)).any()


def test_the_expected_rounding_of_int8_lets_int8_pass_and_a_fault_fail(cases):
    case = cases["masked_lm"]
    model = Oracle(case.configuration, case.architecture, case.tensors)
    found = expected_rounding(model, case.arrays, case.expected, "int8")
    half = expected_rounding(model, case.arrays, case.expected, "bfloat16")
    assert all(1e-3 < error < 0.1 for stage, error in found.items() if stage != "loss")
    assert found["logits"] > half["logits"]
    wrong = Oracle(
        case.configuration, case.architecture, {**case.tensors, "lm_head.bias": 0 * case.tensors["lm_head.bias"]}
    )
    error = (
        np.abs(wrong.run(**case.arrays)["logits"] - case.expected["logits"]).max()
        / np.abs(case.expected["logits"]).max()
    )
    assert error > found["logits"]

"""ONNX graphs in ONNX Runtime and OpenVINO, measured as every framework is."""

import subprocess
import sys

import numpy as np
import pytest

from conformance.suite.case import load_cases
from roberta_core import backend
from roberta_core.cli import main
from roberta_core.pipelines import pipeline

IN_OPENVINO = ("cross_attention_step", "masked_row", "multiple_choice")


def list_failures(name: str, cases) -> dict[str, str | None]:
    from conformance.adapters import find_adapter
    from conformance.suite.judge import first_failure
    from conformance.suite.run import judge_case

    adapter = find_adapter(name)
    firsts = {case: first_failure(judge_case(adapter, load_cases()[case])) for case in cases}
    return {case: first.complaint for case, first in firsts.items() if first is not None}


def test_onnx_runtime_passes_every_case():
    assert list_failures("onnx", load_cases()) == {}


@pytest.mark.usefixtures("openvino")
def test_openvino_passes_the_cases_that_use_different_operators():
    assert list_failures("openvino", IN_OPENVINO) == {}


def test_an_exported_file_passes_a_case_and_refuses_inputs_that_it_lacks():
    from conformance.adapters.exported import Exported
    from conformance.peers.judging import describe_failure, judge_peer

    adapter = Exported("onnx")
    names = ("multiple_choice", "packed", "mask_rank_3")
    found = {name: describe_failure(judge_peer(adapter, load_cases()[name])) for name in names}
    assert found["multiple_choice"] is None
    assert "has no input position_ids" in str(found["packed"])
    assert "attention_mask has the shape [2, 7, 7], but the inputs of" in str(found["mask_rank_3"])


def test_a_graph_without_the_mask_fails(monkeypatch):
    from roberta_onnx import models

    monkeypatch.setattr(models, "combine_masks", lambda *arguments: None)
    assert "attentions.0: error" in str(list_failures("onnx", ["padding_right"])["padding_right"])


def test_half_precision_and_int8_differ_from_float32_by_their_rounding(config, weights):
    from conformance.oracle import Oracle
    from conformance.oracle.rounding import expected_rounding

    tensors = weights(config, "ForMaskedLM")
    inputs = {"input_ids": np.array([[0, 45, 9, 80, 2], [0, 33, 2, 1, 1]])}
    inputs["attention_mask"] = (inputs["input_ids"] != 1).astype(int)
    oracle = Oracle(config, "ForMaskedLM", tensors)
    want = oracle.run(**inputs)
    for precision in ("float16", "int8"):
        runner = backend.load("onnx")
        model = runner.from_tensors("ForMaskedLM", config, tensors, precision=precision)
        error = np.abs(runner.run(model, inputs).logits - want["logits"]).max() / np.abs(want["logits"]).max()
        assert 1e-5 < error < 10 * expected_rounding(oracle, inputs, want, precision)["logits"]


@pytest.mark.usefixtures("openvino")
def test_openvino_computes_in_bfloat16_only_on_request(config, weights):
    tensors, ids = weights(config, "Model"), np.array([[0, 45, 9, 80, 2]])
    runner = backend.load("openvino")
    with pytest.raises(ValueError, match="dtype is 'int8'; OpenVINO computes in float32, bfloat16"):
        runner.from_tensors("Model", config, tensors, precision="int8")
    states = runner.run(runner.from_tensors("Model", config, tensors, precision="bfloat16"), {"input_ids": ids})
    assert np.isfinite(states.last_hidden_state).all()


@pytest.mark.usefixtures("openvino")
@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_a_cpu_without_bfloat16_is_reported(config, weights, monkeypatch, caplog, has_bfloat16):
    from roberta_onnx import runtimes

    monkeypatch.setattr(runtimes, "_has_bfloat16", lambda: has_bfloat16)
    runtimes._warn.cache_clear()
    runner, ids = backend.load("openvino"), np.array([[0, 45, 2]])
    model = runner.from_tensors("Model", config, weights(config, "Model"), precision="bfloat16")
    runner.run(model, {"input_ids": ids})
    warned = "computes in float32: this CPU has no instructions for bfloat16" in caplog.text
    assert warned is not has_bfloat16
    end = "in bfloat16" if has_bfloat16 else "in float32: this CPU has no instructions for bfloat16"
    assert model.path.endswith(f"compiled for inference {end}")
    assert runner.describe_runtime().endswith("compiled for inference in float32")


def test_a_model_loads_any_checkpoint_and_refuses_wrong_inputs(checkpoint):
    from roberta_onnx import OnnxRobertaForMaskedLM

    model = OnnxRobertaForMaskedLM.from_pretrained(checkpoint("ForMaskedLM"))
    with pytest.raises(ValueError, match="input_ids contains 10000, but vocab_size is 10000"):
        model(np.array([[0, 10000]]))
    with pytest.raises(ValueError, match="a sequence has 65 tokens, but this model accepts at most 64"):
        model(np.full((1, 65), 5))


def test_saving_and_surgery_change_what_is_computed(checkpoint, tmp_path):
    from roberta_onnx import OnnxRobertaForMaskedLM

    model = OnnxRobertaForMaskedLM.from_pretrained(checkpoint("ForMaskedLM", vocab_size=101))
    ids = np.array([[0, 45, 2]])
    before = model(ids).logits
    model.resize_token_embeddings(107)
    after = model(ids).logits
    assert after.shape == (1, 3, 107)
    np.testing.assert_allclose(after[..., :101], before, rtol=1e-5, atol=1e-5)
    model.save_pretrained(tmp_path / "saved")
    saved = OnnxRobertaForMaskedLM.from_pretrained(tmp_path / "saved")
    np.testing.assert_array_equal(saved(ids).logits, after)


def test_a_pipeline_runs_in_onnx_runtime():
    from roberta_onnx import OnnxRobertaForMaskedLM

    fill = pipeline("fill-mask", "roberta-tiny", framework="onnx", dtype="int8")
    assert fill("She opened the<mask> and went in.")[0]["token_str"] == " door"
    assert pipeline("fill-mask", OnnxRobertaForMaskedLM.from_pretrained("roberta-tiny")).backend.name == "onnx"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["finetune", "classification", "--model", "x", "--recipe", "y", "--train", "z", "--output", "o"],
            "onnx (ONNX Runtime) cannot train models: use pt, tf or flax",
        ),
        (["pretrain", "--recipe", "y", "--texts", "z", "--output", "o"], "onnx (ONNX Runtime) cannot train models"),
        (["generate", "--model", "x"], "onnx (ONNX Runtime) cannot generate text: use pt, tf or flax"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_is_read(arguments, message, capsys):
    with pytest.raises(SystemExit) as ended:
        main([*arguments, "--framework", "onnx"])
    assert ended.value.code == 1
    err = capsys.readouterr().err
    assert message in err
    assert len(err.strip().splitlines()) == 1


def test_python_refuses_training_and_generation_too():
    from roberta_core.training.python_interface import finetune

    with pytest.raises(backend.BackendError, match=r"onnx \(ONNX Runtime\) cannot train models"):
        finetune("nowhere", "classification", "recipe", "data", "output", framework="onnx")
    with pytest.raises(backend.BackendError, match=r"onnx \(ONNX Runtime\) cannot generate text"):
        pipeline("text-generation", "nowhere", framework="onnx")
    with pytest.raises(backend.BackendError, match="ONNX Runtime runs models, but cannot train them"):
        backend.load("onnx").trainer(None, None)


@pytest.mark.usefixtures("openvino")
def test_openvino_is_used_without_its_telemetry():
    code = (
        "import sys; from roberta_onnx.runtimes import RUNTIMES; print(RUNTIMES['openvino'].version, "
        "'openvino_telemetry' in sys.modules)"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert found.stdout.split()[1:] == ["False"], found.stderr

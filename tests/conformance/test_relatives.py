"""CamemBERT's and XLM-RoBERTa's checkpoints load in every class of every framework.

The checkpoints, and the outputs that are expected of them, were made by the reference (tests/relatives/make.py).
"""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest

from conformance.adapters.oracle import Reference
from conformance.suite.comparison import compare_checkpoints
from conformance.suite.run import run_checkpoint
from roberta_core import backend, load_tokenizer

MODULES = {"pt": "torch", "tf": "tensorflow", "flax": "jax"}
RELATIVES = Path(__file__).parents[1] / "relatives"
CLASSES = (
    "Model", "ForMaskedLM", "ForCausalLM", "ForSequenceClassification", "ForTokenClassification", "ForMultipleChoice",
    "ForQuestionAnswering",
)  # fmt: skip
RTOL = 2e-5  # of the largest value: two implementations in float32 with weights of 0.4


@pytest.mark.parametrize("name", MODULES)
@pytest.mark.parametrize("model_type", ["camembert", "xlm-roberta"])
def test_a_relative_s_checkpoint_gives_the_reference_s_outputs_in_every_class(name, model_type):
    if name not in backend.available() and MODULES[name] not in os.environ.get("ROBERTA_TEST_FRAMEWORKS", "").split():
        pytest.skip(f"{MODULES[name]} is not installed")
    framework = backend.load(name)
    expected = json.loads((RELATIVES / model_type / "expected.json").read_text(encoding="utf-8"))
    tokenizer = load_tokenizer(RELATIVES / model_type / "tokenizer")
    inputs = tokenizer(["la fille aime le <mask>", "the cheese"], padding=True, return_tensors="np")
    assert {key: value.tolist() for key, value in inputs.items()} == expected["inputs"]
    assert set(expected["outputs"]) == {*CLASSES}
    real = inputs["attention_mask"][..., None]
    for architecture, outputs in expected["outputs"].items():
        model = framework.from_pretrained(architecture, RELATIVES / model_type / architecture)
        several = architecture == "ForMultipleChoice"
        found = framework.run(model, {key: value[None] if several else value for key, value in inputs.items()})
        for key, values in outputs.items():
            wanted = np.array(values)
            per_token = wanted.shape[:2] == inputs["input_ids"].shape
            kept = real if per_token and wanted.ndim == 3 else real[..., 0] if per_token else 1
            error = np.abs((found[key] - wanted) * kept).max() / np.abs(wanted).max()
            assert error < RTOL, f"{architecture}: {key} is {error:.1e} off"


class WithoutBias(Reference):
    """An implementation whose language-model head lacks its bias."""

    def load(self, architecture, source):
        model = super().load(architecture, source)
        model.tensors = {**model.tensors, "lm_head.bias": 0 * model.tensors["lm_head.bias"]}
        return model


@pytest.mark.parametrize("named", [True, False])
@pytest.mark.parametrize("model_type", ["camembert", "xlm-roberta"])
def test_parity_and_compare_judge_the_head_of_a_relative(model_type, named, tmp_path):
    folder = tmp_path / "checkpoint"
    for part in ("ForMaskedLM", "tokenizer"):
        shutil.copytree(RELATIVES / model_type / part, folder, dirs_exist_ok=True)
    if not named:
        config = json.loads((folder / "config.json").read_text())
        del config["architectures"]
        (folder / "config.json").write_text(json.dumps(config))
    texts = ["la fille aime le <mask>", "the cheese"]
    report = run_checkpoint([Reference()], folder, texts)
    assert report.ok
    assert "logits" in {verdict.stage for verdict in report.frameworks[0].verdicts}
    assert len(report.fills) == 1
    wrong = run_checkpoint([WithoutBias()], folder, texts).frameworks[0]
    assert {name: verdict.stage for name, verdict in wrong.failures.items()} == {"text": "logits"}
    (found,) = compare_checkpoints([folder, RELATIVES / model_type / "ForMaskedLM"], texts)
    assert found.notes == ["the tokenizers were not compared: only one checkpoint has a tokenizer"]
    assert "logits" in {verdict.stage for verdict in found.outputs}

"""CamemBERT's and XLM-RoBERTa's checkpoints load in every class of every framework.

The checkpoints, and the outputs that are expected of them, were made by the reference (tests/relatives/make.py).
"""

import json
import os
from pathlib import Path

import numpy as np
import pytest

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

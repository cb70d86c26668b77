"""Every class on checkpoints of transformers, compared with its float64 outputs."""

import numpy as np
import pytest
from safetensors.numpy import load_file

from roberta_core import backend

TOLERANCE = 1e-5  # relative to the largest value; transformers has an error of 5.2e-6 in float32
VARIANTS = (
    "Model",
    "ForCausalLM",
    "ForCausalLM_cross",
    "ForMaskedLM",
    "ForMaskedLM_untied",
    "ForMaskedLM_eps",
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
SETTINGS = {"ForMaskedLM_eps": {"layer_norm_eps": 0.1}}
PROBLEMS = {
    "single_label": "single_label_classification",
    "multi_label": "multi_label_classification",
    "regression": "regression",
}
DIFFERENT = {("ForQuestionAnswering", "labels_out_of_range")}  # docs/differences.md: negative positions are ignored
CACHE = ("past_key", "past_value", "past_cross_key", "past_cross_value")


def inputs_of(case: dict[str, np.ndarray]) -> dict:
    """Return the arguments of a call, with the cache of a step as one tuple per layer."""
    given = {name: value for name, value in case.items() if name not in (*CACHE, "all_input_ids")}
    kinds = [case[name].astype(np.float32) for name in CACHE if name in case]
    if kinds:
        given["past_key_values"] = tuple(tuple(kind[layer] for kind in kinds) for layer in range(len(kinds[0])))
    return given


def output_of(output, name: str) -> np.ndarray:
    """Stack an output over layers, as in the files."""
    if name in CACHE:
        return np.stack([layer[CACHE.index(name)] for layer in output.past_key_values])
    return np.stack(output[name]) if isinstance(output[name], tuple) else np.asarray(output[name])


@pytest.mark.parametrize("variant", VARIANTS)
@pytest.mark.parametrize("framework", ["pt", "tf", "flax"])
def test_the_outputs_of_transformers_are_met(shared, framework, variant):
    runner = backend.load(framework)
    source, architecture = variant.removesuffix("_eps"), variant.split("_")[0]
    folder = shared / "fixtures/hf"
    cases: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for key, value in load_file(folder / f"expected/{variant}.safetensors").items():
        case, side, name = key.split(".")
        cases.setdefault(case, {"in": {}, "out": {}})[side][name] = value
    compared = 0
    for case, sides in cases.items():
        if (variant, case) in DIFFERENT:
            continue
        settings = SETTINGS.get(variant, {})
        if case in PROBLEMS:
            settings = {**settings, "problem_type": PROBLEMS[case]}
        model = runner.from_pretrained(architecture, folder / f"checkpoints/{source}/pt-safetensors", **settings)
        output = runner.run(model, inputs_of(sides["in"]), output_hidden_states=True, output_attentions=True)
        for name, want in sides["out"].items():
            if name == "all_logits":
                continue  # of the whole sequence; only those of the step are compared
            got = output_of(output, name)
            assert got.shape == want.shape, f"{case} {name}"
            error = np.abs(got - want).max() / np.abs(want).max()
            assert error <= TOLERANCE, f"{case} {name}: {error:.1e}"
            compared += 1
    assert compared >= 2

import fnmatch
import json

import numpy as np
import pytest

from conformance.faults.forward import FAULTS, MARGIN
from conformance.suite.case import FOLDER, Case, draw_input, draw_weight, load_cases
from roberta_core.config import RobertaConfig
from roberta_core.input_validation import check_inputs
from roberta_core.parameters import ARCHITECTURES, Kind, parameters

CASES = load_cases()
EVERY_CASE = pytest.mark.parametrize("name", CASES)
LISTED = {
    "input_ids": "vocab_size",
    "earlier_input_ids": "vocab_size",
    "token_type_ids": "type_vocab_size",
    "position_ids": "max_position_embeddings",
}
ARGUMENTS = {
    *LISTED,
    "attention_mask",
    "head_mask",
    "inputs_embeds",
    "encoder_hidden_states",
    "encoder_attention_mask",
    "past_key_values",
    "earlier_input_ids",
    "labels",
    "start_positions",
    "end_positions",
}
DRAWN = ({"seed", "low", "high", "shape"}, {"seed", "spread", "shape"}, {"seed", "spread", "mean", "step", "shape"})


def sizes(case: Case) -> dict[str, int]:
    """Return the sizes of the existing axes of a case, which must all differ."""
    config, arrays = case.configuration, case.arrays
    shape = (arrays["input_ids"] if "input_ids" in arrays else arrays["inputs_embeds"][..., 0]).shape
    found = {
        "vocabulary": config.vocab_size,
        "hidden": config.hidden_size,
        "heads": config.num_attention_heads,
        "head": config.head_size,
        "intermediate": config.intermediate_size,
        "positions": config.max_position_embeddings,
        "types": config.type_vocab_size,
        "batch": shape[0],
        "sequence": shape[-1],
    }
    if len(shape) == 3:
        found["choices"] = shape[1]
    if case.architecture in ("ForSequenceClassification", "ForTokenClassification", "ForQuestionAnswering"):
        found["labels"] = config.num_labels
    if "head_mask" in arrays:
        found["layers"] = config.num_hidden_layers
    if "encoder_hidden_states" in arrays:
        found["encoder"] = arrays["encoder_hidden_states"].shape[1]
    if "past_key_values" in arrays and "encoder_hidden_states" not in arrays:
        found["cached"] = arrays["past_key_values"].shape[4]
    if "earlier_input_ids" in arrays:
        found["cached"] = arrays["earlier_input_ids"].shape[1]
    return found


@EVERY_CASE
def test_a_case_has_the_known_keys_and_a_known_class(name):
    fields = json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    wanted = {"description", "architecture", "config", "weights", "inputs", "rtol", "reason"}
    assert set(fields) - {"stages", "gradients", "half_precision"} == wanted
    assert fields.get("gradients", {}).keys() in (set(), {"rtol", "reason"})
    assert fields["architecture"] in ARCHITECTURES
    assert set(fields["config"]) <= set(vars(RobertaConfig())) | {"num_labels"}
    assert set(fields["weights"]) - {"special"} == {"seed", "spread"}
    assert set(fields["inputs"]) <= ARGUMENTS
    drawn = [value for value in fields["inputs"].values() if isinstance(value, dict)]
    assert all(set(value) in DRAWN for value in drawn)


@EVERY_CASE
def test_no_two_sizes_of_a_case_are_equal(name):
    found = {label: size for label, size in sizes(CASES[name]).items() if size > 1}
    repeated = {label: size for label, size in found.items() if list(found.values()).count(size) > 1}
    assert not repeated


@EVERY_CASE
def test_the_inputs_of_a_case_are_in_range(name):
    case = CASES[name]
    arrays = case.arrays
    for argument, limit in LISTED.items():
        if argument in arrays:
            assert arrays[argument].min() >= 0
            assert arrays[argument].max() < getattr(case.configuration, limit)
    if case.architecture != "ForMultipleChoice":
        past = arrays["past_key_values"].shape[4] if "past_key_values" in arrays else 0
        past = 0 if "encoder_hidden_states" in arrays and past != arrays["input_ids"].shape[1] else past
        past = arrays["earlier_input_ids"].shape[1] if "earlier_input_ids" in arrays else past
        passed = ARGUMENTS - {"past_key_values", "earlier_input_ids"}
        accepted = {key: value for key, value in arrays.items() if key in passed}
        check_inputs(case.configuration, accepted, past)


@EVERY_CASE
def test_every_special_weight_of_a_case_names_a_tensor(name):
    case = CASES[name]
    names = [tensor.removeprefix("roberta.") for tensor in parameters(case.configuration, case.architecture)]
    for pattern in case.weights.get("special", {}):
        assert fnmatch.filter(names, pattern) or pattern.startswith(("pooler.", "lm_head.")), pattern


@EVERY_CASE
def test_the_tolerance_of_a_case_has_a_measured_reason(name):
    case = CASES[name]
    assert 0 < case.rtol <= 2e-6
    measured = [float(word) for word in case.reason.replace(",", " ").replace(";", " ").split() if "e-" in word]
    assert measured
    assert max(measured) <= case.rtol


@EVERY_CASE
def test_every_stage_of_a_case_can_fail(name, moved):
    case = CASES[name]
    most = dict.fromkeys(case.expected, 0.0)
    for fault in FAULTS:
        for stage, error in (moved(fault, name) or {}).items():
            most[stage] = max(most[stage], error)
    judged = [stage for stage in most if any(fnmatch.fnmatchcase(stage, pattern) for pattern in case.stages)]
    assert judged
    assert not [stage for stage in judged if most[stage] < MARGIN * case.rtol]


@EVERY_CASE
def test_a_case_says_something_that_no_other_says(name):
    assert [case.description for case in CASES.values()].count(CASES[name].description) == 1


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_every_class_has_a_case(architecture):
    assert any(case.architecture == architecture for case in CASES.values())


@pytest.mark.parametrize("argument", sorted(ARGUMENTS))
def test_every_argument_has_a_case(argument):
    assert any(argument in case.inputs for case in CASES.values())


def test_some_case_is_as_wide_as_a_kernel_for_wide_matrices_wants():
    assert any(case.configuration.hidden_size >= 256 for case in CASES.values())


def test_an_unknown_key_in_a_case_is_refused(tmp_path):
    path = tmp_path / "odd.json"
    fields = json.loads((FOLDER / "plain.json").read_text(encoding="utf-8"))
    path.write_text(json.dumps({**fields, "tolerance": 1}), encoding="utf-8")
    with pytest.raises(TypeError, match="tolerance"):
        Case.read(path)


def test_a_weight_is_drawn_from_its_name_in_the_body_alone():
    weights = {"seed": 1, "spread": 0.5}
    one = draw_weight(weights, "roberta.pooler.dense.weight", Kind.LINEAR, (3, 4))
    assert np.array_equal(one, draw_weight(weights, "pooler.dense.weight", Kind.LINEAR, (3, 4)))
    assert not np.array_equal(one, draw_weight(weights, "pooler.other.weight", Kind.LINEAR, (3, 4)))
    # The first number lets a port of the suite check its generator.
    assert one.dtype == np.float32
    assert one[0, 0] == np.float32(-0.33889058)


def test_the_weights_of_norms_are_about_one():
    drawn = draw_weight({"seed": 1, "spread": 0.5}, "embeddings.LayerNorm.weight", Kind.NORM, (1000,))
    assert 0.98 < drawn.mean() < 1.02
    assert 0.08 < drawn.std() < 0.12


def test_a_special_weight_has_its_own_mean_and_spread():
    weights = {"seed": 1, "spread": 0.5, "special": {"*.query.*": [2.0, 0.0]}}
    assert (draw_weight(weights, "encoder.layer.0.attention.self.query.bias", Kind.LINEAR, (5,)) == 2).all()


def test_numbers_with_a_step_are_its_multiples():
    drawn = draw_input("inputs_embeds", {"seed": 1, "mean": 1.5, "spread": 0.1, "step": 2**-9, "shape": [4, 5]})
    assert np.array_equal(drawn * 2**9, np.round(drawn * 2**9))
    assert 1.3 < drawn.mean() < 1.7

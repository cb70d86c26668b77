"""The float64 model, compared with the published PyTorch classes in float64, and its invariants."""

from dataclasses import replace

import numpy as np
import pytest
from safetensors.numpy import load_file

from conformance.faults.changes import set_config
from conformance.faults.forward import FAULTS
from conformance.oracle import Oracle, run
from conformance.suite.judge import judge
from conformance.suite.subject import Subject
from roberta_core.config import RobertaConfig

RTOL = 1e-12  # measured: 8e-15 in attentions, because softmax subtracts large scores
VARIANTS = (
    "Model",
    "ForCausalLM",
    "ForCausalLM_cross",
    "ForMaskedLM",
    "ForMaskedLM_eps",
    "ForMaskedLM_untied",
    "ForSequenceClassification",
    "ForMultipleChoice",
    "ForTokenClassification",
    "ForQuestionAnswering",
)
PROBLEMS = {"single_label": "single_label_classification", "multi_label": "multi_label_classification"}
PAST = ("past_key", "past_value", "past_cross_key", "past_cross_value")
STACKED = ("hidden_states", "attentions", "cross_attentions")
OURS = ("labels_out_of_range",)  # a negative position of an answer is ignored here and clipped to 0 there


def published(shared, variant):
    """Return the checkpoint of a variant and its cases as inputs and expected stages."""
    folder = shared / "fixtures/hf/checkpoints" / variant.removesuffix("_eps") / "pt-safetensors"
    config = RobertaConfig.from_json_file(folder / "config.json")
    if variant.endswith("_eps"):
        config.layer_norm_eps = 0.1
    cases: dict[str, tuple[dict, dict]] = {}
    for key, value in load_file(shared / f"fixtures/hf/expected/{variant}.safetensors").items():
        name, side, field = key.split(".")
        cases.setdefault(name, ({}, {}))[side == "out"][field] = value
    return config, load_file(folder / "model.safetensors"), cases


def as_inputs(arrays):
    """Return the arguments of a case, with its stacked cache as one or two pairs per layer."""
    past = [arrays[name] for name in PAST if name in arrays]  # each [L, B, N, T, H]
    inputs = {name: value for name, value in arrays.items() if name not in (*PAST, "all_input_ids")}
    return {**inputs, "past_key_values": list(zip(*past, strict=True))} if past else inputs


def as_stages(arrays):
    """Return the expected outputs by stage."""
    stages = {}
    for name, value in arrays.items():
        if name in STACKED:
            stages |= {f"{name}.{layer}": one for layer, one in enumerate(value)}
        elif name in PAST:
            stages |= {f"past_key_values.{layer}.{PAST.index(name)}": one for layer, one in enumerate(value)}
        elif name != "all_logits":
            stages[name] = value
    return stages


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_published_outputs_are_met(shared, variant):
    config, tensors, cases = published(shared, variant)
    for name in [name for name in cases if name not in OURS]:
        inputs, expected = cases[name]
        config.problem_type = PROBLEMS.get(name, "regression" if name == "regression" else None)
        want = as_stages(expected)
        got = run(config, variant.split("_")[0], tensors, as_inputs(inputs))
        assert len(judge({stage: got[stage] for stage in want}, want, RTOL)) == len(want)


@pytest.mark.parametrize("variant", ["ForCausalLM", "ForCausalLM_cross"])
def test_the_published_logits_without_a_cache_are_met(shared, variant):
    config, tensors, cases = published(shared, variant)
    inputs, expected = cases["step"]
    whole = {name: inputs[name] for name in inputs if name.startswith("encoder")}
    got = run(config, "ForCausalLM", tensors, {"input_ids": inputs["all_input_ids"], **whole})
    judge({"logits": got["logits"]}, {"logits": expected["all_logits"]}, RTOL)


@pytest.mark.parametrize(
    "fault", ["BERT's eps (1e-12)", "tanh GELU", "attention_mask ignored", "LayerNorm before the residual"]
)
def test_a_wrong_model_does_not_meet_the_published_outputs(shared, fault):
    config, tensors, cases = published(shared, "Model")
    inputs, expected = cases["mask"]
    wrong = FAULTS[fault](Subject(config, "Model", tensors, as_inputs(inputs)))
    want = as_stages(expected)
    with pytest.raises(AssertionError, match="exceeds the tolerance"):
        judge(wrong.run(), want, 1e-6)


def test_a_negative_position_of_an_answer_is_ignored_as_one_past_the_end_is(shared):
    config, tensors, cases = published(shared, "ForQuestionAnswering")
    inputs, expected = cases["labels_out_of_range"]
    length = inputs["input_ids"].shape[1]
    past_end = {name: np.where(value < 0, length, value) for name, value in inputs.items() if "positions" in name}
    first = {name: np.maximum(value, 0) for name, value in inputs.items() if "positions" in name}
    ours, same, theirs = (
        run(config, "ForQuestionAnswering", tensors, {**inputs, **changed})["loss"] for changed in ({}, past_end, first)
    )
    assert ours == same
    assert theirs == pytest.approx(expected["loss"], rel=RTOL)
    assert abs(ours - theirs) > 0.001


@pytest.mark.parametrize("side", ["right", "left"])
def test_padding_does_not_change_real_tokens(cases, side):
    padded = cases[f"padding_{side}"]
    for row, mask in enumerate(padded.arrays["attention_mask"] == 1):
        alone = {"input_ids": padded.arrays["input_ids"][row][mask][None]}
        want = run(padded.configuration, "Model", padded.tensors, alone)["last_hidden_state"][0]
        judge({"real": padded.expected["last_hidden_state"][row][mask]}, {"real": want}, RTOL)


def test_a_fully_masked_row_is_uniform(cases):
    assert np.allclose(cases["masked_row"].expected["attentions.0"][0], 1 / 7, rtol=RTOL)


@pytest.mark.parametrize("cross", [False, True])
def test_decoding_with_a_cache_is_decoding_the_whole(cases, cross):
    case = cases["cross_attention" if cross else "causal_lm"]
    ids = cases["plain"].arrays["input_ids"]
    other = {name: value for name, value in case.arrays.items() if name.startswith("encoder")}
    whole = case.configuration, case.architecture, case.tensors
    want = run(*whole, {"input_ids": ids, **other})
    first = run(*whole, {"input_ids": ids[:, :4], **other})
    past = [[first[f"past_key_values.{layer}.{part}"] for part in range(4 if cross else 2)] for layer in range(2)]
    got = run(*whole, {"input_ids": ids[:, 4:], "past_key_values": past, **other})
    judge({"logits": got["logits"]}, {"logits": want["logits"][:, 4:]}, RTOL)
    judge({"key": got["past_key_values.1.0"]}, {"key": want["past_key_values.1.0"]}, RTOL)


def test_a_decoder_that_does_not_cache_gives_no_cache(cases):
    case = cases["causal_lm"]
    config = RobertaConfig.from_dict({**case.configuration.to_dict(), "use_cache": False})
    stages = run(config, case.architecture, case.tensors, case.arrays)
    assert not [stage for stage in stages if stage.startswith("past")]
    assert "past_key_values.1.1" in case.expected


def test_a_token_of_a_decoder_does_not_see_the_next(cases):
    case = cases["causal_lm"]
    ids = case.arrays["input_ids"].copy()
    ids[:, 3] = 77
    got = run(case.configuration, case.architecture, case.tensors, {**case.arrays, "input_ids": ids})["logits"]
    assert np.array_equal(got[:, :3], case.expected["logits"][:, :3])
    assert not np.allclose(got[:, 3:], case.expected["logits"][:, 3:])


def test_a_head_whose_factor_is_zero_is_as_good_as_pruned(cases):
    case = cases["head_mask_rank_1"]
    size, tensors = case.configuration.head_size, dict(case.tensors)
    for layer in range(2):
        path = f"encoder.layer.{layer}.attention"
        for part in ("query", "key", "value"):
            for leaf in ("weight", "bias"):
                name = f"{path}.self.{part}.{leaf}"
                tensors[name] = np.delete(tensors[name], np.s_[size : 2 * size], axis=0)
        name = f"{path}.output.dense.weight"
        tensors[name] = np.delete(tensors[name], np.s_[size : 2 * size], axis=1)
    ids = {"input_ids": case.arrays["input_ids"]}
    masked = run(case.configuration, "Model", case.tensors, {**ids, "head_mask": np.array([1.0, 0.0, 1.0])})
    pruned = run(case.configuration, "Model", tensors, ids)
    judge({"x": pruned["last_hidden_state"]}, {"x": masked["last_hidden_state"]}, RTOL)


def test_a_model_without_a_pooler_has_no_pooled_output(cases):
    case = cases["plain"]
    tensors = {name: value for name, value in case.tensors.items() if not name.startswith("pooler")}
    assert list(run(case.configuration, "Model", tensors, case.arrays))[-1] == "last_hidden_state"


def test_stages_come_in_the_order_of_the_computation(cases):
    assert list(cases["masked_lm"].expected) == [
        "hidden_states.0",
        "attentions.0",
        "hidden_states.1",
        "attentions.1",
        "hidden_states.2",
        "logits",
        "loss",
    ]


def test_an_argument_given_as_none_is_absent(cases):
    case = cases["plain"]
    got = run(case.configuration, "Model", case.tensors, {**case.arrays, "attention_mask": None, "head_mask": None})
    judge(got, case.expected, 0.0)


def test_an_unknown_argument_is_refused(cases):
    case = cases["plain"]
    with pytest.raises(TypeError, match="atention_mask"):
        run(case.configuration, "Model", case.tensors, {**case.arrays, "atention_mask": np.ones((2, 7))})


def test_running_changes_neither_inputs_nor_weights(cases):
    case = cases["causal_lm_step_padded"]
    before = {name: value.copy() for name, value in (case.tensors | case.arrays).items()}
    run(case.configuration, case.architecture, case.tensors, case.arrays)
    assert all(np.array_equal(before[name], value) for name, value in (case.tensors | case.arrays).items())


def test_every_stage_is_float64(cases):
    stages = [value for case in cases.values() for value in case.expected.values()]
    assert {value.dtype for value in stages} == {np.dtype(np.float64)}


def test_a_fault_leaves_the_case_as_it_was(cases):
    subject = Subject.of(cases["plain"])
    changed = set_config(layer_norm_eps=0.1)(subject)
    assert changed is not None
    assert subject.config.layer_norm_eps == 1e-5
    assert replace(changed, config=subject.config) == subject
    assert changed.model is Oracle


def test_two_calls_give_what_one_call_gives(cases):
    case = cases["causal_lm_two_calls"]
    inputs = dict(case.arrays)
    earlier = inputs.pop("earlier_input_ids")
    inputs["input_ids"] = np.concatenate([earlier, inputs["input_ids"]], axis=1)
    whole = run(case.configuration, case.architecture, case.tensors, inputs)
    for name in ("hidden_states.0", "hidden_states.2", "logits"):
        assert np.abs(whole[name][:, earlier.shape[1] :] - case.expected[name]).max() < 1e-12
    keys = np.abs(whole["past_key_values.1.0"] - case.expected["past_key_values.1.0"])
    assert keys[:, :, 2:].max() < 1e-12  # the padding in front attends to all keys of its call

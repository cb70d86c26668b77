import json
import shutil

import numpy as np
import pytest

from conformance.adapters import find_adapter, flatten
from conformance.adapters.oracle import Reference
from conformance.oracle import Oracle
from conformance.oracle.rounding import MULTIPLE
from conformance.suite.run import (
    FrameworkResult,
    Report,
    encode,
    fill_masks,
    judge_case,
    run_cases,
    run_checkpoint,
)
from roberta_core.backend import registered
from roberta_core.config import RobertaConfig

TEXTS = ["The <mask> of a text.", "A <mask> and one more <mask>, in a longer text than the other.", "No."]


class Wrong(Reference):
    """An implementation with an error in the last layer, only in its fused path."""

    name, title = "wrong", "A wrong one"

    def run(self, model, inputs, attentions):
        stages = super().run(model, inputs, attentions)
        last = [name for name in stages if name.startswith("hidden_states")][-1]
        return stages if attentions else {**stages, last: stages[last] * 1.01}


class Broken(Reference):
    name, title = "broken", "A broken one"

    def run(self, model, inputs, attentions):
        raise NotImplementedError("no masks here")


def test_the_float64_model_passes_every_case(cases):
    report = run_cases([Reference()], cases.values())
    assert report.ok
    assert set(report.frameworks[0].groups) == set(cases)
    assert report.frameworks[0].worst.max_rel == 0


def test_float32_arithmetic_passes_where_float64_is_wanted(cases):
    class Single(Oracle):
        """The same model with float32 tensors and sums."""

        def tensor(self, name, rows=()):
            return super().tensor(name, rows).astype(np.float32)

    class Adapter(Reference):
        name = "single"

        def build(self, architecture, config, tensors):
            return Single(config, architecture, tensors)

    verdicts = judge_case(Adapter(), cases["plain"])
    assert all(verdict.ok for verdict in verdicts)
    assert max(verdict.max_rel for verdict in verdicts) > 1e-9


def test_a_wrong_fused_path_is_seen_beside_a_right_one_that_shows_attentions(cases):
    report = run_cases([Reference(), Wrong()], [cases["plain"]])
    right, wrong = report.frameworks
    assert right.ok
    assert not wrong.ok
    assert not report.ok
    assert wrong.failures["plain"].stage == "hidden_states.2"
    assert wrong.failures["plain"].max_rel == pytest.approx(0.01)


def test_an_implementation_that_fails_does_not_stop_the_others(cases):
    report = run_cases([Broken(), Reference()], [cases["plain"], cases["masked_lm"]])
    broken, right = report.frameworks
    assert right.ok
    assert broken.failures["plain"].complaint == "NotImplementedError: no masks here"
    assert not report.ok


def test_a_report_on_nothing_is_not_ok():
    assert not Report(None, 1e-6, []).ok
    assert not Report(None, 1e-6, [FrameworkResult("pt", "PyTorch", "2")]).ok


def test_progress_tells_the_case_and_the_framework(cases):
    messages = []
    run_cases([Reference()], [cases["plain"]], messages.append)
    assert messages == ["plain in NumPy float64"]


def test_a_checkpoint_is_judged_on_its_stages_and_its_fills(checkpoint):
    report = run_checkpoint([Reference()], checkpoint("ForMaskedLM"), TEXTS)
    assert report.ok
    assert (report.tolerance, report.multiple) == (None, MULTIPLE)
    stages = [verdict.stage for verdict in report.frameworks[0].groups["text"]]
    assert stages == ["hidden_states.0", "attentions.0", "hidden_states.1", "logits"]
    assert [one.text for one in report.fills] == [TEXTS[0], TEXTS[1], TEXTS[1]]


def test_every_text_counts_however_many_there_are(checkpoint):
    class WrongForLong(Reference):
        """An implementation with an error only in the last of many texts."""

        name = "long"

        def run(self, model, inputs, attentions):
            stages = super().run(model, inputs, attentions)
            long = inputs["input_ids"].shape[1] > 20
            return {name: value + 0.1 * (long and name == "logits") for name, value in stages.items()}

    texts = [*["A text."] * 16, "a long text " * 15]
    report = run_checkpoint([WrongForLong()], checkpoint("ForMaskedLM"), texts)
    assert [verdict.stage for verdict in report.frameworks[0].failures.values()] == ["logits"]
    assert "times the expected rounding" in report.frameworks[0].failures["text"].complaint
    assert run_checkpoint([WrongForLong()], checkpoint("ForMaskedLM"), texts[:16]).ok


@pytest.mark.parametrize(
    "architecture",
    ["Model", "ForCausalLM", "ForSequenceClassification", "ForMultipleChoice", "ForTokenClassification"],
)
def test_a_checkpoint_of_any_class_is_judged(checkpoint, architecture):
    report = run_checkpoint([Reference()], checkpoint(architecture), TEXTS)
    assert report.ok
    assert bool(report.fills) == (architecture == "ForCausalLM")


def test_a_text_longer_than_the_model_takes_is_cut(checkpoint):
    source = checkpoint("ForMaskedLM")
    tokenizer = find_tokenizer(source)
    arrays = encode(tokenizer, ["word " * 200], RobertaConfig.from_pretrained(source), "ForMaskedLM")
    assert arrays["input_ids"].shape == (1, 60)


def find_tokenizer(source):
    from roberta_core.tokenization import RobertaTokenizerFast

    return RobertaTokenizerFast.from_pretrained(source)


@pytest.mark.parametrize(
    ("architecture", "changes"),
    [
        ("ForMaskedLM", {"architectures": ["CamembertForMaskedLM"], "model_type": "camembert"}),
        ("ForMaskedLM", {"architectures": ["XLMRobertaForMaskedLM"], "model_type": "xlm-roberta"}),
        ("ForMaskedLM", {"architectures": None}),
        ("ForSequenceClassification", {"architectures": None}),
        ("ForTokenClassification", {"architectures": ["RobertaForTokenClassification"]}),
    ],
)
def test_the_head_of_a_relative_or_of_a_checkpoint_without_a_class_is_judged(
    checkpoint, tmp_path, architecture, changes
):
    shutil.copytree(checkpoint(architecture), tmp_path, dirs_exist_ok=True)
    fields = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    kept = {name: value for name, value in {**fields, **changes}.items() if value is not None}
    (tmp_path / "config.json").write_text(json.dumps(kept), encoding="utf-8")
    report = run_checkpoint([Reference()], tmp_path, TEXTS)
    assert report.ok
    assert "logits" in [verdict.stage for verdict in report.frameworks[0].verdicts]


def test_fills_hold_the_likeliest_tokens_of_every_implementation(checkpoint):
    tokenizer = find_tokenizer(checkpoint("ForMaskedLM"))
    ids = np.array([[0, tokenizer.mask_token_id, 2]])
    one, other = np.zeros((1, 3, 300)), np.zeros((1, 3, 300))
    one[0, 1, 265:270] = [9, 8, 7, 6, 5]
    other[0, 1, 266:271] = [9, 8, 7, 6, 5]
    (found,) = fill_masks(tokenizer, ["<mask>"], ids, {"oracle": one, "pt": other, "none": None})
    assert found.tokens == [tokenizer.decode([token]) for token in range(265, 271)]
    assert list(found.probabilities) == ["oracle", "pt"]
    assert found.probabilities["oracle"] == sorted(found.probabilities["oracle"], reverse=True)
    assert found.probabilities["pt"][5] > found.probabilities["oracle"][5]


def test_an_output_is_flattened_into_stages():
    nested = {"logits": np.ones(2), "past_key_values": ((np.ones(1), np.zeros(1)), (np.ones(3), np.zeros(3)))}
    assert list(flatten(nested)) == [
        "logits",
        "past_key_values.0.0",
        "past_key_values.0.1",
        "past_key_values.1.0",
        "past_key_values.1.1",
    ]


def test_the_float64_model_is_an_implementation_too():
    assert find_adapter("oracle").name == "oracle"


def test_an_unknown_implementation_is_refused_with_those_that_are_known():
    with pytest.raises(KeyError, match="there is no framework 'torch': write pt"):
        find_adapter("torch")
    assert "oracle" not in registered()


def test_a_tokenizer_of_another_model_is_refused(checkpoint):
    tokenizer = find_tokenizer(checkpoint("ForMaskedLM"))
    config = RobertaConfig(vocab_size=20, max_position_embeddings=62)
    with pytest.raises(ValueError, match=r"with the id .*, but the model has 20 rows of word embeddings"):
        encode(tokenizer, ["The quick brown fox"], config, "ForMaskedLM")

import numpy as np
import pytest

from conformance.adapters.oracle import Reference
from conformance.adapters.sentence_transformers import number_texts
from conformance.peers.__main__ import PEERS
from conformance.peers.deviations import Deviation, find_disagreements, load_deviations
from conformance.peers.judging import TEXTS, Failure, describe_failure, judge_peer, judge_text
from conformance.peers.page import (
    UNEXPLAINED,
    is_same_apart_from_figures,
    make_markers,
    make_section,
    replace_section,
)
from conformance.suite.case import load_cases
from conformance.suite.generation import load_generation_cases
from conformance.suite.judge import Verdict


class Late(Reference):
    """An implementation with an error in its last layer and without masks."""

    title = "Late"

    def run(self, model, inputs, attentions):
        if "attention_mask" in inputs:
            raise TypeError("no masks")
        return {
            name: value * (1.1 if name == "hidden_states.2" else 1)
            for name, value in super().run(model, inputs, attentions).items()
        }


def find(adapter, *names):
    return {name: describe_failure(judge_peer(adapter, load_cases()[name])) for name in names}


def test_a_case_that_differs_gives_its_first_stage_or_its_exception():
    found = find(Late(), "plain", "mask_tokens")
    assert found["plain"].observed == "`hidden_states.2` first"
    assert found["plain"].error == pytest.approx(0.1)
    assert found["mask_tokens"] == Failure("`TypeError`", None, "TypeError: no masks")
    assert find(Reference(), "plain", "mask_tokens") == {"plain": None, "mask_tokens": None}


def test_what_is_missing_is_named_and_does_not_hide_what_differs():
    missing = Verdict("loss", 9, 9, 1, "loss: missing")
    assert describe_failure([missing]).observed == "no `loss`"
    shape = Verdict("loss", 9, 9, 1, "loss: shape [1], expected []")
    assert describe_failure([shape]).observed == "`loss`: shape [1], expected []"
    other = Verdict("logits", 3e-4, 3e-4, 1e-5, "logits: error 3.0e-04 exceeds the tolerance 1e-05")
    assert describe_failure([missing, other]).observed == "no `loss`; `logits` first"


def test_an_implementation_that_packs_texts_is_not_compared_on_padding():
    class Packed(Reference):
        def run(self, model, inputs, attentions):
            real = inputs["attention_mask"][:, :, None]
            return {"last_hidden_state": super().run(model, inputs, attentions)["last_hidden_state"] * real}

    Packed.offers = ("last_hidden_state",)
    assert find(Packed(), "padding_right")["padding_right"].observed == "`last_hidden_state` first"
    Packed.skips_padding = True
    assert find(Packed(), "padding_right")["padding_right"] is None


def test_generated_text_is_compared():
    class Generating(Reference):
        shift = 0

        def generate(self, model, ids, mask, new_tokens, beams):
            from dataclasses import replace

            lengths = {"max_new_tokens": new_tokens, "min_new_tokens": new_tokens}
            arguments = {**lengths, "no_repeat_ngram_size": 1, "num_beams": beams}
            return replace(load_generation_cases()["greedy"], arguments=arguments).expected["sequences"] + self.shift

    case = load_generation_cases()["greedy"]
    assert describe_failure(judge_text(Generating(), case)) is None
    Generating.shift = 1
    assert describe_failure(judge_text(Generating(), case)).observed == "other tokens"


def test_a_result_that_is_not_listed_is_reported_as_is_a_listed_one_that_passes():
    known = [Deviation("`TypeError`", ("plain", "wide", "longest"), "no masks")]
    differs = Failure("`logits` first", 1.0, "logits: error 1")
    found = {"plain": None, "wide": differs, "longest": Failure("`TypeError`", None, ""), "packed": differs}
    assert list(find_disagreements(found, known)) == [
        "plain passes, but is listed with `TypeError`",
        "wide fails with `logits` first (logits: error 1), but is listed with `TypeError`",
        "packed fails and is not listed: `logits` first (logits: error 1)",
    ]
    assert next(find_disagreements({}, known)) == "plain is listed, but was not run"


def test_every_listed_deviation_is_of_a_known_case_and_implementation_and_has_a_reason():
    names = {*load_cases(), *TEXTS}
    for release, implementations in load_deviations().items():
        assert set(implementations) <= set(PEERS[release])
        for deviations in implementations.values():
            cases = [case for one in deviations for case in one.cases]
            assert len(set(cases)) == len(cases)
            assert set(cases) <= names
            assert all(one.reason and one.observed for one in deviations)


def test_a_section_groups_cases_by_reason_and_shows_what_is_not_explained():
    found = {
        "PyTorch": {"a": Failure("`logits` first", 0.5, ""), "b": Failure("`logits` first", 0.2, ""), "c": None},
        "Flax": {"a": None, "b": Failure("`TypeError`", None, ""), "c": None},
    }
    made = make_section("library 1", "1.2", found, {"PyTorch": [Deviation("`logits` first", ("a", "b"), "why")]})
    assert "### library 1.2\n\nPyTorch passes 1 of 3 cases; Flax passes 2 of 3 cases." in made
    assert "| PyTorch | a, b | `logits` first, up to 5.0e-01 | why |" in made
    assert f"| Flax | b | `TypeError` | {UNEXPLAINED} |" in made


@pytest.mark.parametrize("release", PEERS)
def test_a_library_replaces_its_own_part_of_the_page(release):
    begin, end = make_markers(release)
    page = f"before\n{begin}\nold\n{end}\nafter"
    got = replace_section(page, release, make_section(release, "9", {"new": {"plain": None}}, {}))
    assert got.startswith("before\n")
    assert got.endswith("\nafter")
    assert "new passes 1 of 1" in got
    assert "old" not in got


def test_a_page_that_says_otherwise_is_told_from_one_with_other_digits():
    page = "| plain | `logits` first, up to 3.2e-04 |"
    assert is_same_apart_from_figures(page, page.replace("3.2e-04", "3.4e-04"))
    assert not is_same_apart_from_figures(page, page.replace("plain", "longest"))
    assert not is_same_apart_from_figures(page, page.replace("logits", "loss"))


def test_a_page_without_a_place_is_refused():
    with pytest.raises(ValueError, match="the page has no"):
        replace_section("nothing", "keras-hub 0", "part")


def test_the_texts_of_packed_rows_and_of_padded_ones_are_numbered():
    packed = load_cases()["packed"].arrays
    assert number_texts(packed, 2).tolist() == [[1, 1, 1, 1, 2, 2, 2, 3, 3], [4, 4, 5, 5, 5, 5, 5, 5, 5]]
    ids = np.array([[0, 5, 2, 1], [0, 5, 6, 2]])
    padded = {"input_ids": ids, "attention_mask": (ids != 1).astype(int)}
    assert number_texts(padded, 2).tolist() == [[1, 1, 1, 0], [2, 2, 2, 2]]
    for name in ("mask_tokens", "mask_rank_3", "position_ids"):
        with pytest.raises(NotImplementedError):
            number_texts(load_cases()[name].arrays, 2)

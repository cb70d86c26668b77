import pytest

from conformance.adapters.oracle import Reference
from conformance.peers import (
    PEERS,
    describe_case,
    is_same_apart_from_figures,
    make_markers,
    make_section,
    make_table,
    replace_section,
)
from conformance.suite.case import load_cases
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


def test_a_table_names_the_cases_that_differ_and_counts_the_others():
    cases = [load_cases()[name] for name in ("plain", "mask_tokens")]
    made = make_table([Reference(), Late()], cases)
    assert made.splitlines()[0] == "| case | NumPy float64: 2 of 2 | Late: 0 of 2 |"
    assert "| plain |  | `hidden_states.2` first, 1.0e-01 at most |" in made
    assert "| mask_tokens |  | `TypeError` |" in made


def test_what_is_missing_is_named():
    assert describe_case([Verdict("loss", 9, 9, 1, "loss: missing")]) == "no `loss`"
    assert describe_case([Verdict("loss", 9, 9, 1, "loss: shape [1], expected []")]) == "`loss`: shape [1], expected []"


@pytest.mark.parametrize("release", PEERS)
def test_a_library_replaces_its_own_part_of_the_page(release):
    begin, end = make_markers(release)
    page = f"before\n{begin}\nold\n{end}\nafter"
    got = replace_section(page, release, make_section(release, "9", "new"))
    assert got.startswith("before\n")
    assert got.endswith("\nafter")
    assert "new" in got
    assert "old" not in got


def test_a_page_that_says_otherwise_is_told_from_one_with_other_digits():
    page = "| plain | `logits` first, 3.2e-04 at most |"
    assert is_same_apart_from_figures(page, page.replace("3.2e-04", "3.4e-04"))
    assert not is_same_apart_from_figures(page, page.replace("plain", "longest"))
    assert not is_same_apart_from_figures(page, page.replace("logits", "loss"))


def test_a_page_without_a_place_is_refused():
    with pytest.raises(ValueError, match="the page has no"):
        replace_section("nothing", "keras-hub 0", "part")

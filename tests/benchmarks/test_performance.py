"""The page on performance: its figures are those of the result files, and the command that measures them again."""

import copy
import re
import sys

import pytest

from benchmarks import startup
from benchmarks.performance import __main__ as command
from benchmarks.performance import page
from benchmarks.performance.page import PAGE, TABLES, rendered, results

needs_page = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of an installed package")


@needs_page
def test_the_page_has_every_table_once_and_its_figures_are_those_of_the_result_files():
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- table ([\w-]+) -->", text)) == sorted(TABLES)
    assert text.count("<!-- end -->") == len(TABLES)
    assert rendered(text, results()) == text


@needs_page
def test_a_figure_that_was_changed_by_hand_is_noticed():
    text = PAGE.read_text(encoding="utf-8")
    for found in page.MARKED.finditer(text):
        digit = next(place for place in range(found.end() - 20, found.start(), -1) if text[place].isdecimal())
        changed = f"{text[:digit]}{9 - int(text[digit])}{text[digit + 1 :]}"
        assert rendered(changed, results()) == text != changed


@needs_page
def test_a_result_that_was_changed_changes_the_page():
    text, changed = PAGE.read_text(encoding="utf-8"), copy.deepcopy(results())
    changed["encoder"]["results"][0]["shapes"][0]["seconds"] = [7.0] * 5
    assert "7,000 (7,000 to 7,000)" in rendered(text, changed)


@pytest.fixture
def run():
    """A run of two implementations on one shape."""
    return {
        "results": [
            {"name": name, "version": "1.0", "shapes": [{"shape": [1, 16], "seconds": seconds, "gflops": rate}]}
            for name, seconds, rate in (("pt", [0.02, 0.03, 0.01], 80), ("transformers-tf-xla", [0.05], 100))
        ]
    }


def test_a_table_has_medians_spreads_ratios_and_shares(run):
    assert page.times(run).splitlines()[2:] == [
        "| PyTorch 1.0 | 20.0 (10.0 to 30.0) |",
        "| transformers, TensorFlow, xla 1.0 | 50.0 (50.0 to 50.0) |",
    ]
    ratio = page.ratios(run, {"pt": ["transformers-tf-xla"]}).splitlines()
    assert ratio[2] == "| transformers, TensorFlow, xla / PyTorch | 2.50 |"
    assert page.shares(run, "transformers-tf-xla").splitlines()[2] == "| PyTorch | 80% |"


def test_the_commands_name_contestants_that_there_are_and_a_file_for_each_part():
    from roberta_bench.harness import CONTESTANTS

    asked = command.commands("new", "old", "folder", "file", 7)
    assert sorted(asked) == sorted(page.PARTS)
    for part, words in asked.items():
        assert words[words.index("--json-file") + 1] == str(page.FOLDER / f"{part}.json")
        assert words[words.index("--rounds") + 1] == "7"
    said = asked["encoder"] + asked["called"] + asked["variants"]
    peers = [said[place + 1].split("=") for place, word in enumerate(said) if word == "--peer"]
    assert {python for _, python in peers} == {"new", "old"}
    also = [name for place, word in enumerate(said) if word == "--also" for name in said[place + 1].split(",")]
    assert {name for name, _ in peers} | set(also) <= set(CONTESTANTS)


def test_sentences_are_compared_with_the_best_pipeline():
    results = [{"name": name, "seconds": seconds} for name, seconds in (("pt", [2.0, 1.0, 4.0]), ("pipeline-8", [6.0]))]
    found = page.sentences({"tokens": 3000, "results": [*results, {"name": "pipeline-32", "seconds": [5.0]}]})
    assert found.splitlines()[2:] == [
        "| PyTorch | 2.00 (1.00 to 4.00) | 1,500 | 2.50 |",
        "| transformers, pipeline, 8 a batch | 6.00 (6.00 to 6.00) | 500 | 0.83 |",
        "| transformers, pipeline, 32 a batch | 5.00 (5.00 to 5.00) | 600 | 1.00 |",
    ]


def test_a_part_that_is_not_there_is_wrong_usage(capsys):
    given = ["--peer", "x", "--old", "x", "--tokenizer", "x", "--sentences", "x"]
    with pytest.raises(SystemExit) as ended:
        command.main(["everything", *given])
    assert ended.value.code == 2
    assert "there is no part everything" in capsys.readouterr().err


def test_a_start_is_timed_in_turns_and_must_succeed():
    python = [sys.executable, "-c"]
    found = startup.measure({"quick": [*python, ""], "slow": [*python, "import time; time.sleep(0.3)"]}, 2)
    assert [len(seconds) for seconds in found.values()] == [2, 2]
    assert min(found["slow"]) > 0.3
    with pytest.raises(ChildProcessError, match=r"(?s)wrong ended with status 1: .*NameError"):
        startup.measure({"wrong": [*python, "nothing"]}, 1)

"""The tables of the page on performance, and the command that repeats the measurements."""

import copy
import re
import sys

import pytest

from benchmarks import startup
from benchmarks.performance import __main__ as command
from benchmarks.performance import page
from benchmarks.performance.page import PAGE, TABLES, read_results, render_page

needs_page = pytest.mark.skipif(not PAGE.exists(), reason="the documentation is not part of an installed package")


@needs_page
def test_the_page_has_every_table_once_with_the_figures_of_the_result_files():
    text = PAGE.read_text(encoding="utf-8")
    assert sorted(re.findall(r"<!-- table ([\w-]+) -->", text)) == sorted(TABLES)
    assert text.count("<!-- end -->") == len(TABLES)
    assert render_page(text, read_results()) == text


@needs_page
def test_a_figure_that_was_changed_by_hand_is_noticed():
    text = PAGE.read_text(encoding="utf-8")
    for found in page.MARKED.finditer(text):
        digit = next(place for place in range(found.end() - 20, found.start(), -1) if text[place].isdecimal())
        changed = f"{text[:digit]}{9 - int(text[digit])}{text[digit + 1 :]}"
        assert render_page(changed, read_results()) == text != changed


@needs_page
def test_a_result_that_was_changed_changes_the_page():
    text, changed = PAGE.read_text(encoding="utf-8"), copy.deepcopy(read_results())
    changed["encoder"]["results"][0]["shapes"][0]["seconds"] = [7.0] * 5
    assert "7,000 (7,000 to 7,000)" in render_page(text, changed)


@pytest.fixture
def run():
    """Return a run of two implementations on one shape."""
    return {
        "results": [
            {"name": name, "version": "1.0", "shapes": [{"shape": [1, 16], "seconds": seconds, "gflops": rate}]}
            for name, seconds, rate in (("pt", [0.02, 0.03, 0.01], 80), ("transformers-tf-xla", [0.05], 100))
        ]
    }


def test_tables_have_medians_ranges_ratios_and_shares(run):
    assert page.tabulate_times(run).splitlines()[2:] == [
        "| PyTorch 1.0 | 20.0 (10.0 to 30.0) |",
        "| transformers, TensorFlow, xla 1.0 | 50.0 (50.0 to 50.0) |",
    ]
    ratio = page.tabulate_ratios(run, {"pt": ["transformers-tf-xla"]}).splitlines()
    assert ratio[2] == "| transformers, TensorFlow, xla / PyTorch | 2.50 |"
    assert page.tabulate_shares(run, "transformers-tf-xla").splitlines()[2] == "| PyTorch | 80% |"


def test_the_commands_name_existing_contestants_and_a_file_for_each_part():
    from roberta_bench.harness import CONTESTANTS

    commands = command.build_commands("new", "old", "folder", "file", 7)
    assert sorted(commands) == sorted(page.PARTS)
    for part, words in commands.items():
        assert words[words.index("--json-file") + 1] == str(page.FOLDER / f"{part}.json")
        assert words[words.index("--rounds") + 1] == "7"
    arguments = commands["encoder"] + commands["called"] + commands["variants"]
    peers = [arguments[place + 1].split("=") for place, word in enumerate(arguments) if word == "--peer"]
    assert {python for _, python in peers} == {"new", "old"}
    also = [
        name for place, word in enumerate(arguments) if word == "--also" for name in arguments[place + 1].split(",")
    ]
    assert {name for name, _ in peers} | set(also) <= set(CONTESTANTS)


def test_sentences_are_compared_with_the_fastest_pipeline():
    results = [{"name": name, "seconds": seconds} for name, seconds in (("pt", [2.0, 1.0, 4.0]), ("pipeline-8", [6.0]))]
    found = page.tabulate_sentences({"tokens": 3000, "results": [*results, {"name": "pipeline-32", "seconds": [5.0]}]})
    assert found.splitlines()[2:] == [
        "| PyTorch | 2.00 (1.00 to 4.00) | 1,500 | 2.50 |",
        "| transformers, pipeline, batch size 8 | 6.00 (6.00 to 6.00) | 500 | 0.83 |",
        "| transformers, pipeline, batch size 32 | 5.00 (5.00 to 5.00) | 600 | 1.00 |",
    ]


def test_an_unknown_part_is_a_usage_error(capsys):
    given = ["--peer", "x", "--old", "x", "--tokenizer", "x", "--sentences", "x"]
    with pytest.raises(SystemExit) as ended:
        command.main(["everything", *given])
    assert ended.value.code == 2
    assert "unknown part everything; choose from encoder" in capsys.readouterr().err


def test_commands_are_timed_in_turns_and_must_succeed():
    python = [sys.executable, "-c"]
    found = startup.measure({"quick": [*python, ""], "slow": [*python, "import time; time.sleep(0.3)"]}, 2)
    assert [len(seconds) for seconds in found.values()] == [2, 2]
    assert min(found["slow"]) > 0.3
    with pytest.raises(ChildProcessError, match=r"(?s)wrong exited with status 1: .*NameError"):
        startup.measure({"wrong": [*python, "nothing"]}, 1)

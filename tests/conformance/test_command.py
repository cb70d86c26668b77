import json
import os
import subprocess
import sys

import pytest

from conformance.suite.judge import Verdict
from conformance.suite.run import FrameworkResult, Report
from roberta_core.backend import BackendError
from roberta_core.cli import main


@pytest.fixture
def parity(capsys):
    """Return `parity(*arguments)`, which runs the command and returns its exit status, stdout and stderr."""

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            main(["parity", *map(str, arguments)])
        printed = capsys.readouterr()
        return ended.value.code, printed.out, printed.err

    return run


@pytest.fixture
def failing(monkeypatch):
    """Return a run in which a framework fails."""
    bad = Verdict("logits", 1.0, 0.5, 1e-5, "logits: error 5.00e-01 exceeds the tolerance 1e-05")
    report = Report("x", 1e-5, [FrameworkResult("pt", "PyTorch", "2", {"text": [bad]})])
    monkeypatch.setattr("conformance.command.measure", lambda *arguments: report)


def test_a_checkpoint_that_passes_ends_with_status_0(parity, checkpoint):
    status, out, _ = parity(checkpoint("ForMaskedLM"), "--frameworks", "oracle")
    assert status == 0
    assert "hidden_states.0" in out


def test_what_a_framework_greets_with_is_not_passed_on(checkpoint):
    command = [sys.executable, "-m", "conformance", str(checkpoint("ForMaskedLM")), "--frameworks", "tf"]
    ended = subprocess.run(command, env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "0"}, capture_output=True, text=True)
    assert ended.returncode == 0
    assert "hidden_states.0" in ended.stdout
    assert ended.stderr == ""


def test_a_failed_check_ends_with_status_1_and_names_the_stage(parity, failing):
    status, out, _ = parity("x")
    assert status == 1
    assert "logits: error 5.00e-01 exceeds the tolerance 1e-05" in out


def test_the_three_files_are_written(parity, checkpoint, tmp_path):
    files = [tmp_path / f"report.{kind}" for kind in ("json", "xml", "html")]
    source = checkpoint("ForMaskedLM")
    status, _, _ = parity(
        source, "--frameworks", "oracle", "--json-file", files[0], "--junit", files[1], "--html", files[2]
    )
    assert status == 0
    assert json.loads(files[0].read_text(encoding="utf-8"))["checkpoint"] == source
    assert files[1].read_text(encoding="utf-8").startswith("<?xml")
    assert files[2].read_text(encoding="utf-8").startswith("<!doctype html>")


def test_json_to_the_screen_is_alone_there(parity, checkpoint):
    status, out, _ = parity(checkpoint("ForMaskedLM"), "--frameworks", "oracle", "--json")
    assert status == 0
    assert json.loads(out)["ok"] is True


def test_without_a_checkpoint_the_suite_runs(parity):
    status, out, _ = parity("--frameworks", "oracle", "--json")
    assert status == 0
    assert "masked_row/attentions.0" in json.loads(out)["frameworks"]["oracle"]["stages"]


def test_texts_come_from_a_file(parity, checkpoint, tmp_path):
    page = tmp_path / "page.html"
    (tmp_path / "texts.txt").write_text("Mine is a <mask>.\n\nAnd yours?\n", encoding="utf-8")
    options = ("--frameworks", "oracle", "--texts", tmp_path / "texts.txt", "--html", page)
    status, _, _ = parity(checkpoint("ForMaskedLM"), *options)
    assert status == 0
    assert "Mine is a <mark>" in page.read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("--frameworks", "torch"), 2, "there is no framework 'torch': write pt"),
        (("--frameworks", "oracle,oracle"), 2, "lists a framework twice"),
        (("--texts", "{texts}"), 2, "--texts requires a checkpoint"),
        (("--tolerance", "1e-4"), 2, "--tolerance requires a checkpoint"),
        (("--precision", "bfloat16"), 2, "--precision requires a checkpoint"),
        (("{checkpoint}", "--tolerance", "0"), 2, "--tolerance is 0.0; it must be greater than 0"),
        (("{checkpoint}", "--precision", "int4"), 2, "--precision is int4; choose from float32"),
        (("{checkpoint}", "--frameworks", "oracle", "--texts", "{empty}"), 1, "contains no text"),
        (("{checkpoint}", "--frameworks", "oracle", "--texts", "{bytes}"), 1, "is not UTF-8"),
        (("{checkpoint}", "--texts", "nowhere.txt"), 2, "nowhere.txt"),
        (("nowhere", "--frameworks", "oracle"), 1, "'nowhere' is neither a folder here nor"),
    ],
)
def test_what_cannot_be_done_ends_in_one_sentence(parity, checkpoint, tmp_path, arguments, status, said):
    places = {name: tmp_path / name for name in ("texts", "empty", "bytes")}
    places["texts"].write_text("A text.", encoding="utf-8")
    places["empty"].write_text("\n \n", encoding="utf-8")
    places["bytes"].write_bytes(b"\xff\xfe")
    given = [str(one).format(checkpoint=checkpoint("ForMaskedLM"), **places) for one in arguments]
    got, out, err = parity(*given)
    assert got == status
    assert said in err
    assert len(err.strip().splitlines()) == 1
    assert not out


def test_no_framework_at_all_is_refused(parity, monkeypatch):
    monkeypatch.setattr("roberta_core.backend.available", lambda: ())
    status, _, err = parity()
    assert status == 1
    assert "no framework is installed" in err


def test_a_framework_that_is_not_installed_is_refused(parity, monkeypatch):
    def missing(name):
        raise BackendError("pt needs torch: pip install 'triberta[pt]'")

    monkeypatch.setattr("conformance.adapters.framework.load", missing)
    status, _, err = parity("--frameworks", "pt")
    assert status == 1
    assert err.strip() == "roberta: pt needs torch: pip install 'triberta[pt]'"


@pytest.fixture
def only(monkeypatch):
    """Return `only(**kinds)`, which selects the faults to run."""
    from conformance.faults import catalogue

    def select(**kinds):
        changed = {kind: (names, catalogue.KINDS[kind][1]) for kind, names in kinds.items()}
        monkeypatch.setattr(catalogue, "KINDS", changed)

    return select


def test_the_table_of_faults_ends_with_status_0_if_all_are_caught(parity, only):
    faults = ["attention_mask ignored", "gradients clamped", "eps inside the root", "cache written one step late"]
    only(outputs=faults[:1], gradients=faults[1:2], weights=faults[2:3], generation=faults[3:])
    status, out, _ = parity("--faults")
    assert status == 0
    assert all(what in out for what in ("gradients", "weights of", "text"))


def test_the_faults_on_a_checkpoint_are_caught_if_they_are_visible(parity, checkpoint, monkeypatch, tmp_path):
    from conformance.faults import on_checkpoint

    names = ("key and value swapped", "attention_mask ignored", "tanh GELU", "no residual", "tied head untied")
    monkeypatch.setattr(on_checkpoint, "FAULTS", {name: on_checkpoint.FAULTS[name] for name in names})
    source = checkpoint("ForSequenceClassification")
    status, out, _ = parity(source, "--faults", "--frameworks", "oracle")
    assert status == 0
    assert "4 of 4 faults that move a stage by ten times its tolerance are caught" in out
    assert "without effect on this model and these texts: tied head untied" in out
    real = on_checkpoint.run_stages

    def run_without(changed, adapter):  # an implementation whose weights are not those of the fault
        return on_checkpoint.load_subject(source, ["a", "a b c"]).run() if changed.portable else real(changed, adapter)

    monkeypatch.setattr(on_checkpoint, "run_stages", run_without)
    texts = tmp_path / "texts.txt"
    texts.write_text("a\na b c\n")
    status, out, _ = parity(source, "--faults", "--frameworks", "oracle", "--texts", texts)
    assert status == 1
    assert "not in" in out
    status, _, err = parity(source, "--faults", "--json")
    assert status == 2
    assert "--faults prints a table and takes no --json" in err


def test_a_fault_that_nothing_catches_ends_with_status_1(parity, only, monkeypatch):
    from conformance.faults import forward

    monkeypatch.setitem(forward.FAULTS, "nothing at all", lambda subject: subject)
    only(outputs=["nothing at all"])
    status, _, _ = parity("--faults")
    assert status == 1

"""`roberta parity CHECKPOINT --against module:callable` compares an implementation of a user by stage."""

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from roberta_core.cli import main

PORT = """
import numpy as np
from conformance.adapters.oracle import Reference
from roberta_core.checkpoints.conversion import open_checkpoint
from roberta_core.checkpoints import resolve

__version__ = "0.7"

def make(change):
    def load(folder):
        reference = Reference()
        model = reference.load(open_checkpoint(resolve(folder)).architecture, folder)
        def run(input_ids, attention_mask):
            stages = model.run(input_ids=input_ids, attention_mask=attention_mask)
            hidden = [value for name, value in stages.items() if name.startswith("hidden_states")]
            return change({"hidden_states": hidden, "logits": stages["logits"]})
        return run
    return load

right = make(lambda stages: stages)
logits = make(lambda stages: stages["logits"])
last = make(lambda stages: {"last_hidden_state": stages["hidden_states"][-1]})
def change_last(stages):
    *others, last = stages["hidden_states"]
    return stages | {"hidden_states": [*others, last * 1.01]}

wrong = make(change_last)
def swapped(folder):
    reference = Reference()
    model = reference.load("ForMaskedLM", folder)
    names = {name: name.replace("self.query", "self.key") for name in model.tensors if "self.query" in name}
    model.tensors |= {one: model.tensors[two] for one, two in names.items()} | {
        two: model.tensors[one] for one, two in names.items()
    }
    return lambda **inputs: dict(model.run(**inputs))

odd = make(lambda stages: {"scores": stages["logits"]})
unknown = make(lambda stages: stages | {"scores": stages["logits"]})
number = 3
failing = make(lambda stages: 1 / 0)
words = make(lambda stages: "yes")
def nothing(folder):
    pass
"""


@pytest.fixture
def against(checkpoint, tmp_path, monkeypatch, capsys):
    """Return `against(target)`, which returns the exit status, the stages by name, and stderr."""
    (tmp_path / "my_port.py").write_text(PORT, encoding="utf-8")
    (tmp_path / "my_broken_port.py").write_text("1 / 0", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)

    def run(target, architecture="ForMaskedLM"):
        with pytest.raises(SystemExit) as ended:
            main(["parity", checkpoint(architecture), "--against", target, "--json"])
        printed = capsys.readouterr()
        report = json.loads(printed.out)["frameworks"][target] if printed.out else None
        return ended.value.code, report, printed.err

    return run


def test_a_correct_port_passes_on_every_stage_that_it_returns(against):
    status, report, _ = against("my_port:right")
    assert status == 0
    assert list(report["stages"]) == ["hidden_states.0", "hidden_states.1", "logits"]
    assert report["version"] == "0.7"


@pytest.mark.parametrize(("target", "stage"), [("my_port:logits", "logits"), ("my_port:last", "hidden_states.1")])
def test_a_port_may_return_its_main_output_alone(against, target, stage):
    status, report, _ = against(target)
    assert status == 0
    assert list(report["stages"]) == [stage]


def test_a_wrong_port_fails_at_the_first_stage_that_differs(against):
    status, report, err = against("my_port:wrong")
    assert status == 1
    assert report["stages"]["hidden_states.0"]["ratio"] < 1
    assert report["stages"]["hidden_states.1"]["ratio"] > 1000
    assert "my_port:wrong: hidden_states.1: error" in " ".join(err.split())


def test_the_cause_of_a_known_fault_is_suggested(against):
    status, report, err = against("my_port:swapped")
    assert status == 1
    assert report["cause"].startswith("looks like: query and key swapped")
    assert "my_port:swapped: looks like: query and key swapped" in " ".join(err.split())


def test_the_cause_of_an_unknown_fault_is_not_guessed(against):
    status, report, _ = against("my_port:wrong")
    assert status == 1
    assert report["cause"].startswith("cause unknown: none of ")


def test_a_stage_that_the_model_does_not_have_fails(against):
    status, _, err = against("my_port:unknown")
    assert status == 1
    assert "scores: unexpected" in err


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("my_port:odd", "my_port:odd returned scores; the stages are hidden_states.0, attentions.0"),
        ("my_port", "'my_port' is none of MODULE:CALLABLE, onnx:FILE and http://HOST:PORT"),
        ("htp://foo", "'htp://foo' is none of MODULE:CALLABLE"),
        ("http:127.0.0.1", "'http:127.0.0.1' is none of MODULE:CALLABLE"),
        ("json:loads", "json:loads, called with the folder "),
        (
            "my_port:failing",
            "the function that my_port:failing returned, called with input_ids, attention_mask, raised ",
        ),
        ("my_port:failing", "my_port.py:40: division by zero"),
        ("my_port:words", "the function that my_port:words returned gave no numbers as logits"),
        ("my_port:nothing", "my_port:nothing returned NoneType, but it must return a function"),
        ("my_broken_port:load", "my_broken_port:load cannot be imported: ZeroDivisionError: division by zero"),
        ("my_port:missing", "my_port:missing cannot be imported: module 'my_port' has no attribute 'missing'"),
        ("no_such_port:load", "no_such_port:load cannot be imported: No module named 'no_such_port'"),
        ("my_port:number", "my_port:number is not callable"),
    ],
)
def test_a_target_that_cannot_be_run_is_refused_in_one_sentence(against, target, message):
    status, report, err = against(target)
    assert (status, report) == (1, None)
    assert message in err
    assert len(err.strip().splitlines()) == 1


@pytest.mark.parametrize(
    ("path", "message"),
    [("", "http://127.0.0.1:{port}/info answered 404: there is no server of models here"), (":1", "cannot be used")],
)
def test_an_address_without_a_server_is_refused_in_one_sentence(against, path, message):
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):  # the name that http.server calls
            self.send_response(404)
            self.end_headers()
            self.wfile.write(b'{"detail": "there is no server of models here"}')

        def log_message(self, *arguments):
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        port = server.server_address[1]
        status, report, err = against(f"http://127.0.0.1{path or f':{port}'}")
        server.shutdown()
        thread.join()
    assert (status, report) == (1, None)
    assert message.format(port=port) in err
    assert len(err.strip().splitlines()) == 1

"""`roberta serve`: its options, and what it refuses before a model is loaded."""

import socket
import sys

import pytest
import typer

from roberta_core import cli
from roberta_core.cli import serve as command
from roberta_core.serving import server


@pytest.fixture
def run(capsys, monkeypatch, serving):
    """`run(*arguments)`: the exit status, stderr, and the service that would be served with its address."""
    served = []
    monkeypatch.setattr(command, "resolve_frameworks", lambda *options: ["one"])
    monkeypatch.setattr(command, "load_backend", lambda name, device: serving.Stub())
    monkeypatch.setattr(
        "roberta_core.serving.models.load_model",
        lambda backend, architecture, source: serving.Model(architecture, serving.load_tiny_tokenizer()),
    )
    monkeypatch.setattr("roberta_core.serving.models.load_tokenizer", lambda folder: serving.load_tiny_tokenizer())
    monkeypatch.setattr("roberta_core.serving.server.bind", lambda host, port: [])
    monkeypatch.setattr("roberta_core.serving.server.serve", lambda *arguments: served.append(arguments))

    def run(*arguments):
        with pytest.raises(SystemExit) as ended:
            cli.main(["serve", *arguments])
        return ended.value.code, capsys.readouterr().err, served

    return run


def test_a_model_is_served_for_its_tasks_on_loopback(run):
    code, err, ((service, host, port, *_),) = run("roberta-tiny", "again=roberta-tiny", "--max-queue", "200")
    assert code == 0
    assert "roberta: roberta-tiny serves fill-mask, sentence-embedding, feature-extraction\n" in err
    assert "roberta: running Stub 1.0 on cpu; warming up\n" in err
    assert (host, port, service.settings.max_queue) == ("127.0.0.1", 8000, 200)
    assert list(service.models) == ["roberta-tiny", "again"]
    assert len(service.networks) == 4


def test_tasks_can_be_selected(run):
    _, _, ((service, *_),) = run("roberta-tiny", "--tasks", "sentence-embedding")
    assert list(service.models["roberta-tiny"].targets) == ["sentence-embedding"]
    code, err, _ = run("roberta-tiny", "--tasks", "ner")
    assert code == 1
    assert "roberta-tiny serves no task: its config.json names RobertaForMaskedLM" in err


def test_an_address_that_others_reach_needs_a_key_or_no_auth(run):
    code, err, served = run("roberta-tiny", "--host", "0.0.0.0")
    assert (code, served) == (2, [])
    assert "0.0.0.0 can be reached from other machines: specify --api-key ENV (an environment variable" in err


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1", "example.org"])
def test_a_key_or_no_auth_opens_any_address(monkeypatch, host):
    monkeypatch.setenv("KEY", "secret")
    assert command.read_key(host, "KEY", False) == "secret"
    assert command.read_key(host, None, True) == ""
    with pytest.raises(typer.BadParameter):
        command.read_key(host, None, False)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.8.8", "::1", "localhost"])
def test_loopback_needs_no_key(host):
    assert command.is_loopback(host)
    assert command.read_key(host, None, False) == ""


@pytest.mark.parametrize("key", ["", "two words", "schlüssel", "a\nb"])
def test_a_variable_without_a_usable_key_is_refused(monkeypatch, key):
    monkeypatch.setenv("KEY", key)
    with pytest.raises(typer.BadParameter, match="KEY must hold a key of printable ASCII characters"):
        command.read_key("127.0.0.1", "KEY", False)
    with pytest.raises(typer.BadParameter, match="not both"):
        command.read_key("127.0.0.1", "KEY", True)


def test_without_the_extra_the_command_names_it(run, monkeypatch):
    for name in [name for name in sys.modules if name.startswith("roberta_core.serving")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    code, err, _ = run("roberta-tiny")
    assert code == 1
    assert "serve needs uvicorn: pip install 'triberta[serve]'" in err


def test_a_port_in_use_is_one_message_before_a_model_is_loaded(capfd, monkeypatch):
    monkeypatch.setattr(command, "resolve_frameworks", lambda *options: ["one"])
    monkeypatch.setattr(command, "load_backend", lambda name, device: pytest.fail("a framework was loaded"))
    with socket.create_server(("127.0.0.1", 0)) as busy, pytest.raises(SystemExit) as ended:
        cli.main(["serve", "roberta-tiny", "--port", str(busy.getsockname()[1])])
    assert ended.value.code == 1
    message = capfd.readouterr().err
    assert message.startswith("roberta: the server cannot listen on 127.0.0.1:")
    assert message.endswith(": address already in use: stop the other program, or choose another --port\n")
    assert message.count("\n") == 1


def test_an_unknown_host_is_named():
    with pytest.raises(OSError, match="cannot listen on no such host:80: "):
        server.bind("no such host", 80)


def test_every_address_of_a_host_is_bound_and_a_failure_closes_all(monkeypatch):
    found = [(socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 0))] * 2
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: found)
    (only,) = server.bind("localhost", 0)
    with only, socket.create_server(("127.0.0.1", 0)) as busy:
        found[1] = (*found[0][:4], busy.getsockname())
        with pytest.raises(OSError, match="in use"):
            server.bind("localhost", 0)


def test_an_address_that_the_machine_does_not_have_is_passed_over_if_there_is_another(monkeypatch):
    absent = (socket.AF_INET, socket.SOCK_STREAM, 0, "", ("203.0.113.9", 0))
    found = [absent, (*absent[:4], ("127.0.0.1", 0))]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *arguments, **options: found)
    (only,) = server.bind("localhost", 0)
    only.close()
    del found[1]
    with pytest.raises(OSError, match="cannot assign"):
        server.bind("localhost", 0)

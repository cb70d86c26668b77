"""What stops processes of Flax before they join each other."""

import socket

import pytest

from roberta_flax.processes import COORDINATOR, COUNT, INDEX, join_processes


@pytest.mark.parametrize(
    ("variables", "message"),
    [
        ({COORDINATOR: "127.0.0.1:1"}, f"{COORDINATOR} is set, but not {COUNT}, {INDEX}"),
        ({COORDINATOR: "127.0.0.1:1", COUNT: "2", INDEX: "2"}, f"{INDEX} is '2' of {COUNT} '2'"),
        ({COORDINATOR: "127.0.0.1", COUNT: "2", INDEX: "0"}, "must be a host and a port"),
    ],
)
def test_wrong_variables_are_refused(monkeypatch, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=message):
        join_processes()


def test_a_port_in_use_is_refused(monkeypatch):
    with socket.create_server(("", 0)) as taken:
        place = f"127.0.0.1:{taken.getsockname()[1]}"
        for name, value in ((COORDINATOR, place), (COUNT, "2"), (INDEX, "0")):
            monkeypatch.setenv(name, value)
        with pytest.raises(ValueError, match=f"the port of {place} is in use on this machine"):
            join_processes()

"""The server on a socket, over stub models: slow and hostile clients, and a shutdown that answers what was accepted."""

import http.client
import json
import re
import signal
import socket
import sys
import threading
import time
import types
from contextlib import suppress

import pytest

from roberta_core.serving.server import Server, serve, trace

BODY = json.dumps({"inputs": "a door"})
REQUEST = (
    f"POST /embed HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(BODY)}\r\n\r\n{BODY}"
).encode()


class Running:
    """A server in a thread."""

    def __init__(self, service):
        self.service, self.ready = service, threading.Event()
        self.server = Server(service, "127.0.0.1", 0, self.announce)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        assert self.ready.wait(20)

    def announce(self, url):
        self.host, self.port = url.removeprefix("http://").split(":")
        self.ready.set()

    def connect(self, data=b"", size=None):
        connection = socket.socket()
        if size is not None:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size)
        connection.settimeout(10)
        connection.connect((self.host, int(self.port)))
        connection.sendall(data)
        return connection

    def ask(self, data):
        """The status and the body of one request."""
        with self.connect(data) as connection:
            response = http.client.HTTPResponse(connection)
            response.begin()
            return response.status, response.read()

    def stop(self):
        self.server.handle_exit(signal.SIGTERM, None)
        self.thread.join(20)
        assert not self.thread.is_alive()


@pytest.fixture(scope="module")
def pipelines(serving):
    return serving.build_pipelines("sentence-embedding", "feature-extraction", hidden_size=64)


@pytest.fixture(scope="module")
def running(serving, pipelines):
    limits = {"read_timeout": 0.25, "max_header": 2000, "max_connections": 40}
    found = Running(serving.build_service({"tiny": pipelines}, **limits))
    yield found
    found.stop()


def seconds_until_closed(connection):
    begin = time.monotonic()
    while connection.recv(1000):
        pass
    return time.monotonic() - begin


@pytest.mark.parametrize("data", [b"", b"POST /embed HT", REQUEST[:60], REQUEST + REQUEST[:60]])
def test_a_client_that_does_not_complete_its_header_is_disconnected(running, data):
    with running.connect(data) as connection:
        assert 0.1 < seconds_until_closed(connection) < 5


def test_a_header_that_arrives_byte_by_byte_has_the_same_limit(running):
    begin = time.monotonic()
    with running.connect() as connection, suppress(OSError):
        while time.monotonic() - begin < 8:
            connection.sendall(b"G")
            time.sleep(0.05)
    assert time.monotonic() - begin < 5


def test_a_body_that_does_not_arrive_is_answered_408(running):
    status, body = running.ask(REQUEST[:-3])
    assert (status, json.loads(body)["limit"]) == (408, 0.25)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"\x16\x03\x01\x00\xa5\x01\x00\x00", 400),
        (b"GET /\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 2100 + b"\r\n\r\n", 431),
        (b"GET /health HTTP/1.1\r\nHost: a\r\nCookie: " + b"a" * 200_000, 431),
        (REQUEST.replace(b"Content-Length: ", b"Content-Length: 5, "), 400),
    ],
)
def test_what_is_not_http_or_has_too_large_a_header_is_answered_with_a_problem(running, data, status):
    found, body = running.ask(data)
    assert found == status
    assert json.loads(body)["status"] == status


def test_a_client_that_does_not_read_is_disconnected(running, pipelines):
    body = json.dumps({"inputs": ["a door " * 10] * 128})
    head = (
        f"POST /embed_all HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    with running.connect((head + body).encode(), size=4096) as connection:
        first = connection.recv(1000)
        time.sleep(0.8)
        with suppress(OSError):
            while part := connection.recv(65536):
                first += part
    length = int(re.search(rb"content-length: (\d+)", first)[1])
    assert first.startswith(b"HTTP/1.1 200")
    assert length > 3_000_000
    assert len(first) < length  # it was cut off


def test_the_server_still_answers(running):
    assert running.ask(REQUEST)[0] == 200
    active = running.service.metrics.registry.get_sample_value("roberta_requests_active")
    assert active == 0


def test_a_shutdown_answers_what_was_accepted_and_refuses_what_comes_after(serving):
    opened = threading.Event()
    opened.set()
    stub = serving.Stub(lambda ids: opened.wait(20))
    running = Running(serving.build_service({"tiny": serving.build_pipelines("sentence-embedding", backend=stub)}))
    opened.clear()
    waiting = [running.connect(REQUEST) for _ in range(5)]
    while running.service.accepted < 5:
        time.sleep(0.005)
    running.server.handle_exit(signal.SIGTERM, None)
    time.sleep(0.3)
    late, body = running.ask(REQUEST)
    assert (late, json.loads(body)["detail"]) == (503, "the server is shutting down")
    opened.set()
    for connection in waiting:
        response = http.client.HTTPResponse(connection)
        response.begin()
        assert response.status == 200
        assert len(json.loads(response.read())[0]) == 8
        assert response.getheader("connection") == "close"
        connection.close()
    running.thread.join(20)
    assert not running.thread.is_alive()
    assert running.service.accepted == running.service.answered == 5
    with pytest.raises(ConnectionRefusedError):
        running.connect()


def test_requests_are_traced_if_opentelemetry_is_installed(monkeypatch):
    for name in ("opentelemetry", "opentelemetry.instrumentation", "opentelemetry.instrumentation.asgi"):
        monkeypatch.setitem(sys.modules, name, None)
    assert trace("app") == "app"
    module = types.ModuleType("opentelemetry.instrumentation.asgi")
    module.OpenTelemetryMiddleware = lambda app: ("traced", app)
    for name in ("opentelemetry", "opentelemetry.instrumentation"):
        monkeypatch.setitem(sys.modules, name, types.ModuleType(name))
    monkeypatch.setitem(sys.modules, module.__name__, module)
    assert trace("app") == ("traced", "app")


def test_a_port_in_use_and_a_failed_warm_up_are_errors(serving, running):
    service = serving.build_service({"tiny": serving.build_pipelines("sentence-embedding")})
    with pytest.raises(
        OSError, match=f"cannot listen on 127.0.0.1:{running.port}: address already in use: stop the oth"
    ):
        serve(service, "127.0.0.1", int(running.port), print)

    def fail(ids):
        raise RuntimeError("no memory")

    broken = serving.build_pipelines("sentence-embedding", backend=serving.Stub(fail))
    with pytest.raises(ValueError, match="the models could not be warmed up"):
        serve(serving.build_service({"tiny": broken}), "127.0.0.1", 0, print)

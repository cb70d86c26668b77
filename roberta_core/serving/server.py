"""The process: uvicorn with limits on slow clients, and a shutdown that answers every accepted request."""

import asyncio
import errno
import json
import logging
import os
import socket
import sys
import time
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from roberta_core.serving.app import build_app
from roberta_core.serving.problems import MEDIA_TYPE, Problem
from roberta_core.serving.service import Service

logger = logging.getLogger(__name__)

ABSENT = (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT)  # an address of the host's name that this machine does not have
KEEP_ALIVE = 5  # seconds that an idle connection stays open
FAREWELL = 1.0  # seconds in which a server that shuts down still answers new requests, with 503


class PatientProtocol(H11Protocol):
    """HTTP/1.1 with a time limit for a request's header and for reading an answer, and errors as problems."""

    def __init__(self, *arguments: Any, **settings: Any):
        super().__init__(*arguments, **settings)
        self.seconds: float = self.config.read_timeout  # type: ignore[attr-defined]  # see `Server`
        self.most: int = self.config.h11_max_incomplete_event_size or 0
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def connection_made(self, transport: Any) -> None:
        """Expect a header."""
        super().connection_made(transport)
        self._set_timer("header", transport.close)

    def data_received(self, data: bytes) -> None:
        """Read a part of a request; a header that is not complete has a time limit."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._clear_timer("header")
        elif "header" not in self._timers and not self.transport.is_closing():
            self._set_timer("header", self.transport.close)

    def on_response_complete(self) -> None:
        """Continue with the next request."""
        super().on_response_complete()
        if self.conn.their_state is h11.IDLE and self.conn.trailing_data[0]:
            self._set_timer("header", self.transport.close)

    def pause_writing(self) -> None:
        """Wait for a client that does not read its answer, for a time."""
        super().pause_writing()
        self._set_timer("answer", self.transport.abort)

    def resume_writing(self) -> None:
        """Continue, since the client reads."""
        super().resume_writing()
        self._clear_timer("answer")

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop all timers."""
        super().connection_lost(exc)
        for name in list(self._timers):
            self._clear_timer(name)

    def send_400_response(self, msg: str) -> None:
        """Answer a request that is not HTTP, or whose header is too large, with a problem."""
        error = sys.exc_info()[1]
        if getattr(error, "error_status_hint", 400) == 431:
            problem = Problem(431, f"the header is too large; at most {self.most} bytes are accepted", limit=self.most)
        else:
            problem = Problem(400, "the request is not valid HTTP/1.1")
        body = json.dumps(problem.to_dict()).encode()
        headers = [
            ("content-type", MEDIA_TYPE), ("content-length", str(len(body))), ("connection", "close"),
        ]  # fmt: skip
        for event in (
            h11.Response(status_code=problem.status, headers=headers),
            h11.Data(data=body),
            h11.EndOfMessage(),
        ):
            self.transport.write(self.conn.send(event) or b"")
        self.transport.close()

    def _set_timer(self, name: str, action: Callable[[], None]) -> None:
        self._clear_timer(name)
        self._timers[name] = self.loop.call_later(self.seconds, action)

    def _clear_timer(self, name: str) -> None:
        if name in self._timers:
            self._timers.pop(name).cancel()


class Server(uvicorn.Server):
    """A server that on SIGTERM or SIGINT answers what it has accepted, then ends; a second signal ends it at once.

    Args:
        service: the models and limits.
        host: the address to listen on.
        port: the port; 0 for any that is free.
        announce: called with the address once the models are warm.
    """

    def __init__(self, service: Service, host: str, port: int, announce: Callable[[str], None] = lambda url: None):
        self.service, self.announce = service, announce
        self._drained_at = 0.0
        settings = service.settings
        config = uvicorn.Config(
            trace(build_app(service, on_failure=self.stop)),
            host=host, port=port, http=PatientProtocol, ws="none", lifespan="on", log_level="warning", access_log=False,
            server_header=False, timeout_keep_alive=KEEP_ALIVE, limit_concurrency=settings.max_connections,
            h11_max_incomplete_event_size=settings.max_header,
            timeout_graceful_shutdown=int(settings.timeout + settings.read_timeout) + 1,
        )  # fmt: skip
        config.read_timeout = settings.read_timeout  # type: ignore[attr-defined]  # the protocol has no other way to it
        super().__init__(config)
        self._announced = False

    def stop(self) -> None:
        """End at the next tick."""
        self.should_exit = True

    def handle_exit(self, sig: int, frame: Any) -> None:
        """Begin to drain on the first signal; end at once on the second."""
        if self.service.draining:
            self.should_exit = self.force_exit = True
        self.service.draining = True
        self._drained_at = time.monotonic() + FAREWELL

    async def on_tick(self, counter: int) -> bool:
        """Announce that the server is ready; end once it has drained."""
        if self.service.ready and not self._announced:
            self._announced = True
            self.announce(self._get_url())
        drained = self.service.draining and self.service.accepted == self.service.answered
        if drained and time.monotonic() >= self._drained_at:
            self.stop()
        return await super().on_tick(counter)

    def _get_url(self) -> str:
        host, port, *_ = self.servers[0].sockets[0].getsockname()
        return f"http://{f'[{host}]' if ':' in host else host}:{port}"


def trace(app: Any) -> Any:
    """Return the application with a span for each request, if OpenTelemetry's instrumentation is installed."""
    try:
        tracing = import_module("opentelemetry.instrumentation.asgi")
    except ImportError:
        return app
    return tracing.OpenTelemetryMiddleware(app)


def bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets at all addresses of a host that this machine has; they do not listen yet.

    Args:
        host: the name or the address.
        port: the port; 0 for any that is free.

    Raises:
        OSError: the host is unknown, or the port cannot be used.
    """
    sockets: list[socket.socket] = []
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
        absent = None
        for family, kind, protocol, _, address in dict.fromkeys(found):
            try:
                sockets.append(_bind_one(family, kind, protocol, address))
            except OSError as error:
                if error.errno not in ABSENT:
                    raise
                absent = error
        if absent is not None and not sockets:
            raise absent
    except OSError as error:
        for one in sockets:
            one.close()
        raise _describe_unusable(host, port, error) from None
    return sockets


def _bind_one(family: int, kind: int, protocol: int, address: Any) -> socket.socket:
    """Return a socket at one address."""
    one = socket.socket(family, kind, protocol)
    try:
        if os.name == "posix":  # connections of an earlier server that are not quite closed are no hindrance
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        one.bind(address)
    except OSError:
        one.close()
        raise
    return one


def _describe_unusable(host: str, port: int, error: OSError) -> OSError:
    advice = ": stop the other program, or choose another --port" if error.errno == errno.EADDRINUSE else ""
    return OSError(f"the server cannot listen on {host}:{port}: {(error.strerror or str(error)).lower()}{advice}")


def serve(
    service: Service,
    host: str,
    port: int,
    announce: Callable[[str], None],
    sockets: Sequence[socket.socket] | None = None,
) -> None:
    """Serve until a signal ends the process.

    Args:
        service: the models and limits.
        host: the address to listen on.
        port: the port; 0 for any that is free.
        announce: called with the address once the models are warm.
        sockets: what `bind` returned for the address, if it was called before the models were loaded.

    Raises:
        ValueError: warming up failed.
        OSError: the port cannot be used.
    """
    bound = list(sockets or bind(host, port))
    server = Server(service, host, port, announce)
    try:
        server.run(bound)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        raise _describe_unusable(host, port, error) from None  # another program has begun to listen since
    if service.failure:
        raise ValueError(f"the models could not be warmed up: {service.failure}")

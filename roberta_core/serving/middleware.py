"""What happens to every request before and after its route: limits of the header, the API key, draining, counting."""

import hmac
import time
from collections.abc import Collection
from typing import Any

from roberta_core.serving.problems import Problem
from roberta_core.serving.service import Service

OPEN = ("/", "/page.css", "/page.js", "/health", "/openapi.json")  # need no API key
WHILE_DRAINING = ("/health", "/metrics")


class Guard:
    """Refuses requests with too large a header, without the API key, or while the server shuts down."""

    def __init__(self, app: Any, service: Service):
        self.app, self.service = app, service
        self.key = service.settings.api_key.encode()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on, or answer it."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        try:
            self._check(scope)
        except Problem as problem:
            await problem.to_response()(scope, receive, send)
            return
        self.service.accepted += 1
        self.service.metrics.active.inc()
        try:
            await self.app(scope, receive, send)
        finally:
            self.service.metrics.active.dec()
            self.service.answered += 1

    def _check(self, scope: Any) -> None:
        most = self.service.settings.max_header
        size = sum(len(name) + len(value) for name, value in scope["headers"]) + len(scope.get("raw_path") or b"")
        if size > most:
            raise Problem(431, f"the header has {size} bytes; at most {most} are accepted", limit=most)
        if self.service.draining and scope["path"] not in WHILE_DRAINING:
            detail = "the server is shutting down"
            raise Problem(503, detail, headers={"Retry-After": "5", "Connection": "close"})
        if self.key and scope["path"] not in OPEN:
            given = dict(scope["headers"]).get(b"authorization", b"")
            scheme, _, key = given.partition(b" ")
            if scheme.lower() != b"bearer" or not hmac.compare_digest(key.strip(), self.key):
                detail = "send the server's API key as `Authorization: Bearer KEY`"
                raise Problem(401, detail, headers={"WWW-Authenticate": "Bearer"})


class Meter:
    """Counts answers and their time, and closes connections while the server shuts down."""

    def __init__(self, app: Any, service: Service, paths: Collection[str]):
        self.app, self.service, self.paths = app, service, frozenset(paths)

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        route = scope["path"] if scope["path"] in self.paths else "other"
        begin, metrics = time.monotonic(), self.service.metrics

        async def count(message: Any) -> None:
            if message["type"] == "http.response.start":
                metrics.requests.labels(route, str(message["status"])).inc()
                metrics.seconds.labels(route).observe(time.monotonic() - begin)
                if self.service.draining and not _has_connection(message):
                    message["headers"] = [*message["headers"], (b"connection", b"close")]
            await send(message)

        await self.app(scope, receive, count)


def _has_connection(message: Any) -> bool:
    return any(name.lower() == b"connection" for name, _ in message["headers"])

"""Reads the JSON body of a request, within limits of bytes, time and depth."""

import asyncio
import json
import math
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Never

from roberta_core.serving.problems import Problem

Receive = Callable[[], Awaitable[Mapping[str, Any]]]

JSON_TYPES = ("application/json",)


class ClientDisconnected(Exception):  # noqa: N818  # not an error of the server
    """The client closed the connection before it was answered."""


async def read_json(
    headers: Mapping[str, str], receive: Receive, most: int, seconds: float, hold: Callable[[int], None]
) -> Any:
    """Return the value of a JSON body.

    Args:
        headers: the headers of the request.
        receive: the ASGI channel.
        most: the most bytes of the body.
        seconds: how long the client may take to send it.
        hold: called with the size of each part; it may refuse it.

    Raises:
        Problem: 400, 408, 413, 415 or 429.
        ClientDisconnected: the client left.
    """
    _check_headers(headers, most)
    try:
        async with asyncio.timeout(seconds):
            body = await _read(receive, most, hold)
    except TimeoutError:
        detail = f"the body took longer than {seconds:g} seconds to arrive"
        raise Problem(408, detail, limit=seconds, headers={"Connection": "close"}) from None
    return parse_json(body)


async def wait_for_disconnect(receive: Receive) -> None:
    """Return once the client has left."""
    while (await receive())["type"] != "http.disconnect":
        pass


def parse_json(body: bytes) -> Any:
    """Return the value of JSON bytes; raise `Problem` for text that is not JSON, as RFC 8259 defines it."""
    try:
        return json.loads(
            body.decode("utf-8"), parse_constant=_refuse_constant, parse_float=_parse_float,
            object_pairs_hook=_build_object,
        )  # fmt: skip
    except UnicodeDecodeError as error:
        raise Problem(400, f"the body is not UTF-8: byte {error.start} is wrong") from None
    except RecursionError:
        raise Problem(400, "the body is nested too deeply") from None
    except json.JSONDecodeError as error:
        raise Problem(400, f"the body is not JSON: {error.msg} at character {error.pos}") from None
    except ValueError as error:  # an integer of thousands of digits
        raise Problem(400, f"the body is not JSON that can be read: {str(error).split(';')[0]}") from None


def _check_headers(headers: Mapping[str, str], most: int) -> None:
    kind, _, parameters = headers.get("content-type", "").partition(";")
    charset = parameters.strip().lower().replace('"', "")
    if kind.strip().lower() not in JSON_TYPES or charset not in ("", "charset=utf-8"):
        shown = headers.get("content-type", "")[:60] or "missing"
        raise Problem(415, f"content-type is {shown}; it must be application/json")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise Problem(415, f"content-encoding is {headers['content-encoding'][:60]}; send the body uncompressed")
    length = headers.get("content-length", "")
    if length.isdecimal() and int(length) > most:
        raise _too_large(most)


async def _read(receive: Receive, most: int, hold: Callable[[int], None]) -> bytes:
    parts, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientDisconnected
        part = message.get("body", b"")
        size += len(part)
        if size > most:
            raise _too_large(most)
        hold(len(part))
        parts.append(part)
        more = message.get("more_body", False)
    return b"".join(parts)


def _too_large(most: int) -> Problem:
    return Problem(413, f"the body has more than {most} bytes", limit=most, headers={"Connection": "close"})


def _refuse_constant(name: str) -> Never:
    raise Problem(400, f"the body is not JSON: {name} is not a JSON number")


def _parse_float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise Problem(400, f"the number {text[:40]} is too large")
    return value


def _build_object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        twice = next(name for name, _ in pairs if name in seen or seen.add(name))
        raise Problem(400, f"the name {twice[:40]!r} appears twice in an object")
    return found

"""Errors as problem JSON (RFC 9457): what is wrong, the field, the limit. Nothing of the server's inside is shown."""

import json
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any

from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"


class Problem(Exception):  # noqa: N818  # the word of RFC 9457
    """An answer other than 200.

    Args:
        status: the HTTP status.
        detail: one sentence for the person who wrote the request.
        field: where in the body the fault is, such as `inputs[3].text`.
        limit: the limit that was exceeded.
        headers: further headers of the answer.
    """

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        field: str | None = None,
        limit: float | None = None,
        headers: Mapping[str, str] | None = None,
    ):
        super().__init__(detail)
        self.status, self.detail, self.field, self.limit = status, detail, field, limit
        self.headers = dict(headers or {})

    def to_dict(self) -> dict[str, Any]:
        """Return the members of the problem."""
        members = {
            "title": HTTPStatus(self.status).phrase,
            "status": self.status,
            "detail": self.detail,
            "field": self.field,
            "limit": self.limit,
        }
        return {name: value for name, value in members.items() if value is not None}

    def to_response(self, members: Mapping[str, Any] | None = None) -> Response:
        """Return the answer; `members` are further ones, which the clients of a route read."""
        body = json.dumps(
            {**self.to_dict(), **(members or {})}
        )  # escapes what is not ASCII: a wrong name may have half of a surrogate pair
        return Response(body, self.status, self.headers, MEDIA_TYPE)


def report_busy(detail: str, seconds: float, limit: int) -> Problem:
    """Return the answer to a request for which there is no room now."""
    return Problem(429, detail, limit=limit, headers={"Retry-After": str(max(1, round(seconds)))})

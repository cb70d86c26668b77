"""The OpenAPI document of a server, from the schemas that requests are checked against."""

from collections.abc import Mapping, Sequence
from typing import Any

from roberta_core import __version__
from roberta_core.serving.problems import MEDIA_TYPE
from roberta_core.serving.routes import Route
from roberta_core.serving.settings import ServerSettings

PROBLEMS = {
    "400": "The body is not JSON.",
    "401": "The API key is missing or wrong.",
    "404": "No model serves this.",
    "408": "The body took too long to arrive.",
    "413": "The body, a text or a list is too long.",
    "415": "The body is not of the type application/json.",
    "422": "A value is wrong.",
    "429": "The queue is full; Retry-After says when to try again.",
    "500": "The model failed.",
    "503": "The server is shutting down.",
    "504": "The time was not enough.",
}
PROBLEM = {
    "type": "object",
    "properties": {
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "field": {"type": "string"},
        "limit": {"type": "number"},
    },
}


def build_document(routes: Sequence[Route], readable: Mapping[str, str], settings: ServerSettings) -> dict[str, Any]:
    """Return the document.

    Args:
        routes: the routes that take JSON.
        readable: the routes that are only read: path and summary.
        settings: the limits that the schemas contain.
    """
    paths: dict[str, Any] = {path: {"get": _describe_get(summary)} for path, summary in readable.items()}
    for route in routes:
        paths[route.path] = {"post": _describe_post(route, settings)}
    document = {
        "openapi": "3.1.0",
        "info": {"title": "triberta", "version": __version__, "license": {"name": "Apache-2.0"}},
        "paths": paths,
        "components": {"schemas": {"Problem": PROBLEM}},
    }
    if settings.api_key:
        document["components"]["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    return document


def _describe_get(summary: str) -> dict[str, Any]:
    return {"summary": summary, "responses": {"200": {"description": "OK"}}}


def _describe_post(route: Route, settings: ServerSettings) -> dict[str, Any]:
    problem = {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {
        "summary": route.summary,
        "requestBody": {
            "required": True,
            "content": {"application/json": {"schema": route.request(settings), "example": route.example}},
        },
        "responses": {
            "200": {"description": "OK", "content": {"application/json": {"schema": route.answer}}},
            **{status: {"description": text, "content": problem} for status, text in PROBLEMS.items()},
        },
    }

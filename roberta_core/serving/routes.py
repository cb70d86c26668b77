"""What a route is: a path, the schemas of its request and answer, and a function from values to the answer."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from roberta_core.serving.problems import Problem
from roberta_core.serving.service import Service
from roberta_core.serving.settings import ServerSettings
from roberta_core.serving.validation import Schema


@dataclass(frozen=True)
class Route:
    """A route that takes and gives JSON.

    Args:
        path: such as `/embed`.
        summary: one sentence for the OpenAPI document.
        request: the schema of the body under the server's limits.
        answer: the schema of the answer.
        handle: the answer to a validated body.
        example: a body for the OpenAPI document.
        describe_problem: members of an error that the route's clients read besides those of a problem.
    """

    path: str
    summary: str
    request: Callable[[ServerSettings], Schema]
    answer: Schema
    handle: Callable[[Service, dict[str, Any]], Awaitable[Any]]
    example: dict[str, Any]
    describe_problem: Callable[[Problem], dict[str, Any]] = lambda problem: {}


def as_list(value: Any) -> list[Any]:
    """Return several inputs as they are, and one as a list."""
    return value if isinstance(value, list) else [value]


def as_texts_or_ids(value: Any) -> list[Any]:
    """Return the inputs of a field that takes a text, token ids, or an array of these."""
    return [value] if isinstance(value, str) or _is_ids(value) else value


def unwrap(value: Any, results: Sequence[Any]) -> Any:
    """Return the result of one input, or the results of several."""
    return list(results) if isinstance(value, list) else results[0]


def _is_ids(value: Sequence[Any]) -> bool:
    return isinstance(value[0], int)

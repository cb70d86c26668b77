"""OpenAI's routes for embeddings and models, with their fields."""

import base64
from typing import Any

from roberta_core.serving.problems import Problem
from roberta_core.serving.routes import Route, as_texts_or_ids
from roberta_core.serving.schemas import (
    INTEGER,
    MODEL,
    NUMBER,
    OPTIONAL_MODEL,
    STRING,
    build_array,
    build_object,
    build_texts_or_ids,
)
from roberta_core.serving.service import Service
from roberta_core.serving.settings import ServerSettings
from roberta_core.serving.validation import Schema

FORMATS = ("float", "base64")


async def create_embeddings(service: Service, values: dict[str, Any]) -> Any:
    """Return normalised vectors, as numbers or as the base64 of little-endian float32."""
    target = service.find("sentence-embedding", values.get("model"))
    items = as_texts_or_ids(values["input"])
    vectors, tokens = await service.run_counted(target, items, {"normalize": True}, field="input")
    size = len(vectors[0])
    if values.get("dimensions") not in (None, size):
        detail = f"dimensions is {values['dimensions']}; the vectors of {target.model} have {size} dimensions"
        raise Problem(422, detail, field="dimensions", limit=size)
    encoded = values.get("encoding_format") == "base64"
    data = [
        {
            "object": "embedding",
            "index": index,
            "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode() if encoded else vector.tolist(),
        }
        for index, vector in enumerate(vectors)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    return {"object": "list", "data": data, "model": target.model, "usage": usage}


def list_models(service: Service) -> dict[str, Any]:
    """Return the models by name."""
    data = [describe_model(name) for name in service.models]
    return {"object": "list", "data": data}


def describe_model(name: str) -> dict[str, Any]:
    """Return a model in OpenAI's fields."""
    return {"id": name, "object": "model", "created": 0, "owned_by": "triberta"}


def describe_problem(problem: Problem) -> dict[str, Any]:
    """Return the error that OpenAI's clients read."""
    kind = "server_error" if problem.status >= 500 else "invalid_request_error"
    return {"error": {"message": problem.detail, "type": kind, "param": problem.field, "code": problem.status}}


def _build_request(settings: ServerSettings) -> Schema:
    return build_object(
        {"input": build_texts_or_ids(settings)},
        {
            "model": OPTIONAL_MODEL,
            "encoding_format": {"type": "string", "enum": list(FORMATS), "default": "float"},
            "dimensions": {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "null"}]},
            "user": {"anyOf": [MODEL, {"type": "null"}], "description": "Ignored."},
        },
    )


EMBEDDING = build_object({"object": STRING, "index": INTEGER, "embedding": {"anyOf": [build_array(NUMBER), STRING]}})
ROUTES = (
    Route(
        "/v1/embeddings", "Normalised vectors of texts.", _build_request,
        build_object(
            {
                "object": STRING, "data": build_array(EMBEDDING), "model": STRING,
                "usage": build_object({"prompt_tokens": INTEGER, "total_tokens": INTEGER}),
            }
        ),
        create_embeddings, {"input": ["a door", "a window"]}, describe_problem,
    ),
)  # fmt: skip

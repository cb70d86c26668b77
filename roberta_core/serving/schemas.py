"""The JSON schemas that routes share. `validation` checks requests against them, and `/openapi.json` publishes them."""

from typing import Any

from roberta_core.serving.settings import ServerSettings
from roberta_core.serving.validation import Schema

LONGEST_LABEL = 200  # characters of a label, a target or a template
MOST_RESULTS = 100  # results for each input
BOOLEAN: Schema = {"type": "boolean", "default": False}
NUMBER: Schema = {"type": "number"}
INTEGER: Schema = {"type": "integer"}
STRING: dict[str, Any] = {"type": "string"}
MODEL: Schema = {
    "type": "string",
    "maxLength": 200,
    "description": "Name of the model; by default the first that fits.",
}
OPTIONAL_MODEL: Schema = {"anyOf": [MODEL, {"type": "null"}]}
TOP_K: Schema = {"type": "integer", "minimum": 1, "maximum": MOST_RESULTS}
SHORT: Schema = {"type": "string", "minLength": 1, "maxLength": LONGEST_LABEL}
LABELS: Schema = {"type": "array", "items": SHORT, "minItems": 1, "maxItems": MOST_RESULTS}
RIGHT: Schema = {
    "type": "string", "enum": ["Right", "right"], "default": "Right", 
    "description": "Texts are truncated at their end.",
}  # fmt: skip
PROMPT: Schema = {"anyOf": [STRING | {"maxLength": LONGEST_LABEL}, {"type": "null"}]}


def build_object(required: dict[str, Any], optional: dict[str, Any] | None = None) -> Schema:
    """Return the schema of an object from its properties."""
    return {
        "type": "object", "properties": {**required, **(optional or {})}, "required": list(required),
        "additionalProperties": False,
    }  # fmt: skip


def build_array(items: Schema, least: int = 1, most: int | None = None) -> Schema:
    """Return the schema of an array."""
    found = {"type": "array", "items": items, "minItems": least}
    return found if most is None else {**found, "maxItems": most}


def build_text(settings: ServerSettings, least: int = 0) -> Schema:
    """Return the schema of a text."""
    return {"type": "string", "minLength": least, "maxLength": settings.max_characters}


def build_several(item: Schema, settings: ServerSettings) -> Schema:
    """Return the schema of one input or an array of inputs."""
    return {"anyOf": [item, build_array(item, most=settings.max_inputs)]}


def build_ids(settings: ServerSettings) -> Schema:
    """Return the schema of token ids."""
    return build_array({"type": "integer", "minimum": 0}, most=settings.max_characters)


def build_texts_or_ids(settings: ServerSettings) -> Schema:
    """Return the schema of a text, token ids, or an array of these."""
    text, ids = build_text(settings), build_ids(settings)
    return {"anyOf": [text, ids, build_array({"anyOf": [text, ids]}, most=settings.max_inputs)]}


def build_pairs(settings: ServerSettings) -> Schema:
    """Return the schema of a text, a pair of texts, or an array of arrays of one or two texts."""
    text = build_text(settings)
    batch = build_array(build_array(text, most=2), most=settings.max_inputs)
    return {"anyOf": [text, build_array(text, 2, 2), batch]}

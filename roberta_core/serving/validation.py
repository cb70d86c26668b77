"""Checks values against the subset of JSON Schema in which the routes describe their requests."""

import re
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from roberta_core.data.records import is_unicode
from roberta_core.serving.problems import Problem

Schema = Mapping[str, Any]

TYPES: dict[str, Any] = {
    "string": str, "integer": int, "number": (int, float), "boolean": bool, "array": list, "object": dict,
    "null": type(None),
}  # fmt: skip
CONSTANTS = {"None": "null", "True": "true", "False": "false"}
SHOWN = 40  # characters of a wrong value that an error shows


def validate(schema: Schema, value: Any, field: str = "") -> Any:
    """Return a value with the schema's defaults filled in.

    Args:
        schema: the keywords `type`, `anyOf`, `enum`, `properties`, `required`, `items`, `minItems`, `maxItems`,
            `minLength`, `maxLength`, `pattern`, `minimum`, `maximum`, `exclusiveMinimum`, `default`. Objects have no
            other properties than those listed.
        value: what `json` has read.
        field: where the value is.

    Raises:
        Problem: 422, or 413 if a length or count is above its limit; it names the field and the limit.
    """
    if "anyOf" in schema:
        return _validate_any(schema["anyOf"], value, field)
    kind = schema.get("type")
    if kind and not _is_type(value, kind):
        raise Problem(422, f"{_name(field)} is {describe(value)}; it must be {_article(kind)}", field=field or None)
    if "enum" in schema and value not in schema["enum"]:
        known = ", ".join(map(str, schema["enum"]))
        raise Problem(422, f"{_name(field)} is {describe(value)}; expected one of {known}", field=field)
    check = CHECKS.get(kind or "")
    return check(schema, value, field) if check else value


def describe(value: Any) -> str:
    """Return a value, or what it is, for a sentence."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"an array of {len(value)} items"
    text = CONSTANTS.get(repr(value)) or repr(value)
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}..."


def _is_type(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, TYPES[kind])


def _name(field: str) -> str:
    return field or "the body"


def _article(kind: str) -> str:
    return kind if kind == "null" else f"{'an' if kind[0] in 'aio' else 'a'} {kind}"


def _validate_any(schemas: list[Schema], value: Any, field: str) -> Any:
    """Return the value under the schema that fits it; of several, the first under which it is valid."""
    fitting = [one for one in schemas if _fits(one, value)] or [one for one in schemas if _is_type(value, one["type"])]
    if not fitting:
        kinds = " or ".join(dict.fromkeys(_article(schema["type"]) for schema in schemas))
        raise Problem(422, f"{_name(field)} is {describe(value)}; it must be {kinds}", field=field or None)
    for schema in fitting[:-1]:
        with suppress(Problem):
            return validate(schema, value, field)
    return validate(fitting[-1], value, field)


def _fits(schema: Schema, value: Any) -> bool:
    """Whether a value has the type of a schema, and a list's first item that of the schema of its items."""
    if "anyOf" in schema:
        return any(_fits(one, value) for one in schema["anyOf"])
    if not _is_type(value, schema["type"]):
        return False
    return not isinstance(value, list) or not value or _fits(schema["items"], value[0])


def _check_string(schema: Schema, value: str, field: str) -> str:
    most, least = schema.get("maxLength"), schema.get("minLength", 0)
    if most is not None and len(value) > most:
        detail = f"{field} has {len(value)} characters; at most {most} are accepted"
        raise Problem(413, detail, field=field, limit=most)
    if len(value) < least:
        raise Problem(422, f"{field} is empty", field=field, limit=least)
    if not is_unicode(value):
        raise Problem(422, f"{field} has half of a surrogate pair, which is not a character", field=field)
    if "pattern" in schema and not re.search(schema["pattern"], value):
        raise Problem(422, f"{field} is {describe(value)}; {schema['description']}", field=field)
    return value


def _check_number(schema: Schema, value: float, field: str) -> float:
    least, most, above = schema.get("minimum"), schema.get("maximum"), schema.get("exclusiveMinimum")
    if least is not None and value < least:
        raise Problem(422, f"{field} is {describe(value)}; it must be at least {least}", field=field, limit=least)
    if above is not None and value <= above:
        raise Problem(422, f"{field} is {describe(value)}; it must be above {above}", field=field, limit=above)
    if most is not None and value > most:
        raise Problem(422, f"{field} is {describe(value)}; it must be at most {most}", field=field, limit=most)
    return value


def _check_array(schema: Schema, value: list[Any], field: str) -> list[Any]:
    most, least = schema.get("maxItems"), schema.get("minItems", 0)
    if most is not None and len(value) > most:
        detail = f"{_name(field)} has {len(value)} items; at most {most} are accepted"
        raise Problem(413, detail, field=field, limit=most)
    if len(value) < least:
        detail = f"{_name(field)} has {len(value)} items; at least {least} are required"
        raise Problem(422, detail, field=field, limit=least)
    return [validate(schema.get("items", {}), item, f"{field}[{place}]") for place, item in enumerate(value)]


def _check_object(schema: Schema, value: dict[str, Any], field: str) -> dict[str, Any]:
    properties = schema.get("properties", {})
    prefix = f"{field}." if field else ""
    for name in value:
        if name not in properties:
            shown = re.sub(r"[^\w.-]", "?", name[:SHOWN])
            detail = f"{prefix}{shown} is unknown; expected one of {', '.join(properties)}"
            raise Problem(422, detail, field=f"{prefix}{shown}")
    for name in schema.get("required", ()):
        if name not in value:
            raise Problem(422, f"{prefix}{name} is missing", field=f"{prefix}{name}")
    found = {name: one["default"] for name, one in properties.items() if "default" in one}
    return found | {name: validate(properties[name], one, f"{prefix}{name}") for name, one in value.items()}


CHECKS: dict[str, Any] = {
    "string": _check_string, "integer": _check_number, "number": _check_number, "array": _check_array,
    "object": _check_object,
}  # fmt: skip

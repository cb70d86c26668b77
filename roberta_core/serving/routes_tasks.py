"""Our routes for the tasks that other servers lack. Results are those of the pipelines."""

from typing import Any

from roberta_core.pipelines.token_classification import STRATEGIES
from roberta_core.serving.routes import Route, as_list, unwrap
from roberta_core.serving.schemas import (
    BOOLEAN,
    INTEGER,
    LABELS,
    LONGEST_LABEL,
    NUMBER,
    OPTIONAL_MODEL,
    STRING,
    TOP_K,
    build_array,
    build_object,
    build_several,
    build_text,
)
from roberta_core.serving.service import Service
from roberta_core.serving.settings import ServerSettings
from roberta_core.serving.validation import Schema

MOST_CHOICES = 16
CONTROL = ("inputs", "model", "stream")  # the fields of a body that are not options of the pipeline


def _handle(task: str) -> Any:
    """Return the function of a route whose options are those of a pipeline."""

    async def handle(service: Service, values: dict[str, Any]) -> Any:
        target = service.find(task, values.get("model"))
        options = {name: value for name, value in values.items() if name not in CONTROL}
        inputs = values["inputs"]
        results = await service.run(target, as_list(inputs), options)
        return unwrap(inputs, results)

    return handle


def _either(one: Schema) -> Schema:
    return {"anyOf": [one, build_array(one)]}


def build_generation(settings: ServerSettings) -> Schema:
    """Return the schema of a request to generate."""
    return build_object(
        {"inputs": build_text(settings)},
        {
            "max_new_tokens": {"type": "integer", "minimum": 1, "maximum": settings.max_new_tokens, "default": 32},
            "do_sample": BOOLEAN,
            "temperature": {"type": "number", "exclusiveMinimum": 0, "maximum": 100, "default": 1.0},
            "top_k": {"type": "integer", "minimum": 0, "default": 50},
            "top_p": {"type": "number", "exclusiveMinimum": 0, "maximum": 1, "default": 1.0},
            "repetition_penalty": {"type": "number", "exclusiveMinimum": 0, "default": 1.0},
            "seed": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1, "default": 0},
            "return_full_text": {"type": "boolean", "default": True},
            "add_special_tokens": BOOLEAN,
            "stream": {**BOOLEAN, "description": "Answer with server-sent events, one for each token."},
            "model": OPTIONAL_MODEL,
        },
    )


def _build_tagging(settings: ServerSettings) -> Schema:
    return build_object(
        {"inputs": build_several(build_text(settings), settings)},
        {
            "aggregation_strategy": {"type": "string", "enum": list(STRATEGIES), "default": "first"},
            "ignore_labels": {**LABELS, "minItems": 0},
            "stride": {"type": "integer", "minimum": 0},
            "model": OPTIONAL_MODEL,
        },
    )


def _build_answering(settings: ServerSettings) -> Schema:
    question = build_object({"question": build_text(settings, 1), "context": build_text(settings, 1)})
    return build_object(
        {"inputs": build_several(question, settings)},
        {
            "top_k": {**TOP_K, "default": 1},
            "max_answer_len": {"type": "integer", "minimum": 1, "maximum": 512, "default": 15},
            "max_seq_len": {"type": "integer", "minimum": 8},
            "doc_stride": {"type": "integer", "minimum": 0},
            "handle_impossible_answer": BOOLEAN,
            "align_to_words": {"type": "boolean", "default": True},
            "model": OPTIONAL_MODEL,
        },
    )


def _build_choosing(settings: ServerSettings) -> Schema:
    text = build_text(settings)
    item = build_object(
        {"context": build_text(settings, 1), "choices": build_array(text, 2, MOST_CHOICES)}, {"question": text}
    )
    return build_object({"inputs": build_several(item, settings)}, {"model": OPTIONAL_MODEL})


def _build_filling(settings: ServerSettings) -> Schema:
    return build_object(
        {"inputs": build_several(build_text(settings, 1), settings)},
        {
            "top_k": {**TOP_K, "default": 5},
            "targets": {**LABELS, "description": "Tokens that alone are considered."},
            "joint": {**BOOLEAN, "description": "Fill several masks together."},
            "model": OPTIONAL_MODEL,
        },
    )


def _build_zero_shot(settings: ServerSettings) -> Schema:
    template = {
        "type": "string", "maxLength": LONGEST_LABEL, "default": "This example is {}.",
        "pattern": r"^[^{}]*\{\}[^{}]*$",
        "description": "it must have {} once, where the label goes",
    }  # fmt: skip
    return build_object(
        {"inputs": build_several(build_text(settings, 1), settings), "candidate_labels": LABELS},
        {"hypothesis_template": template, "multi_label": BOOLEAN, "model": OPTIONAL_MODEL},
    )


FILLED = build_array(
    build_object(
        {"score": NUMBER, "sequence": STRING},
        {
            "token": INTEGER,
            "token_str": STRING,
            "tokens": build_array(INTEGER),
            "token_strs": build_array(STRING),
        },
    )
)
ENTITIES = build_array(
    build_object(
        {"score": NUMBER, "word": STRING, "start": INTEGER, "end": INTEGER},
        {"entity_group": STRING, "entity": STRING, "index": INTEGER},
    ),
    0,
)
ANSWER = build_object({"score": NUMBER, "start": INTEGER, "end": INTEGER, "answer": STRING})
ANSWERS: Schema = {"anyOf": [ANSWER, build_array(ANSWER, 0)]}
CHOICE = build_object({"label": INTEGER, "choice": STRING, "score": NUMBER, "scores": build_array(NUMBER)})
SCORED = build_object({"sequence": STRING, "labels": build_array(STRING), "scores": build_array(NUMBER)})
ROUTES = (
    Route(
        "/fill-mask", "Predictions for each mask of a text.", _build_filling, _either(_either(FILLED)),
        _handle("fill-mask"),
        {"inputs": "She opened the<mask> and went in."},
    ),
    Route(
        "/tag", "Entities of texts.", _build_tagging, _either(ENTITIES), _handle("token-classification"),
        {"inputs": "Ada Lovelace lived in London."},
    ),
    Route(
        "/answer", "Answers of questions from contexts.", _build_answering, _either(ANSWERS),
        _handle("question-answering"), {"inputs": {"question": "Who?", "context": "She opened the door."}},
    ),
    Route(
        "/choose", "The best of several choices.", _build_choosing, _either(CHOICE), _handle("multiple-choice"),
        {"inputs": {"context": "She opened", "choices": ["the door.", "the sea."]}},
    ),
    Route(
        "/zero-shot", "Scores of labels that the request names.", _build_zero_shot, _either(SCORED),
        _handle("zero-shot-classification"), {"inputs": "a fine film", "candidate_labels": ["praise", "blame"]},
    ),
)  # fmt: skip

"""The routes of text-embeddings-inference, with its fields and defaults."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from roberta_core import __version__
from roberta_core.pipelines.embeddings import SentenceEmbeddingPipeline
from roberta_core.serving.batcher import Call
from roberta_core.serving.models import ServedModel
from roberta_core.serving.problems import Problem
from roberta_core.serving.routes import Route, as_list, as_texts_or_ids
from roberta_core.serving.schemas import (
    BOOLEAN,
    INTEGER,
    NUMBER,
    OPTIONAL_MODEL,
    PROMPT,
    RIGHT,
    STRING,
    build_array,
    build_ids,
    build_object,
    build_pairs,
    build_several,
    build_text,
    build_texts_or_ids,
)
from roberta_core.serving.service import Service

TRUNCATION = {"truncate": {"anyOf": [BOOLEAN, {"type": "null"}]}, "truncation_direction": RIGHT}
VECTORS = build_array(build_array(NUMBER))


async def embed(service: Service, values: dict[str, Any]) -> Any:
    """Return one vector for each input."""
    vectors = await embed_texts(service, values, as_texts_or_ids(values["inputs"]), values["normalize"])
    return [vector.tolist() for vector in vectors]


async def embed_texts(
    service: Service, values: Mapping[str, Any], items: list[Any], normalize: bool, field: str = "inputs"
) -> list[np.ndarray]:
    """Return the vectors [D] of texts or token ids."""
    target = service.find("sentence-embedding", values.get("model"))
    options: dict[str, Any] = {"normalize": normalize, "truncation": bool(values.get("truncate"))}
    if values.get("prompt_name") is not None:
        options["prompt_name"] = values["prompt_name"]
    return await service.run(target, items, options, field=field)


async def embed_all(service: Service, values: dict[str, Any]) -> Any:
    """Return the hidden state of each token of each input."""
    target = service.find("feature-extraction", values.get("model"))
    items = as_texts_or_ids(values["inputs"])
    states = await service.run(target, items, {"truncation": bool(values.get("truncate"))})
    return [one[0] for one in states]


async def predict(service: Service, values: dict[str, Any]) -> Any:
    """Return the labels of texts or pairs, best first: a list for one input, a list of lists for a batch."""
    target = service.find("text-classification", values.get("model"))
    inputs = values["inputs"]
    batch = isinstance(inputs, list) and isinstance(inputs[0], list)
    items = [_as_pair(one) for one in (inputs if batch else [inputs])]
    options: dict[str, Any] = {"top_k": None, "truncation": bool(values.get("truncate"))}
    if values["raw_scores"]:
        options["function_to_apply"] = "none"
    results = await service.run(target, items, options)
    return results if batch else results[0]


def _as_pair(value: Any) -> Any:
    if isinstance(value, str):
        return value
    return value[0] if len(value) == 1 else {"text": value[0], "text_pair": value[1]}


async def rerank(service: Service, values: dict[str, Any]) -> Any:
    """Return the texts by how well they answer the query, best first."""
    target = service.find("text-ranking", values.get("model"))
    item = {"query": values["query"], "documents": values["texts"]}
    (ranks,) = await service.run(
        target, [item], {"truncation": bool(values.get("truncate"))}, field="texts", count=len(values["texts"]),
        decode=_rank_by_logit if values["raw_scores"] else None,
    )  # fmt: skip
    names = ("index", "text", "score") if values["return_text"] else ("index", "score")
    return [{name: rank[name] for name in names} for rank in ranks]


def _rank_by_logit(item: Any, rows: Sequence[Any], options: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Take the place of the ranking pipeline's `decode`: scores are the logits of the label that it scores."""
    scores = [float(output["logits"][0 if len(output["logits"]) == 1 else -1]) for _, output in rows]
    order = sorted(range(len(scores)), key=lambda place: -scores[place])
    return [{"index": place, "score": scores[place], "text": item["documents"][place]} for place in order]


async def compare(service: Service, values: dict[str, Any]) -> Any:
    """Return the cosine similarity of a text with each of several others."""
    inputs, parameters = values["inputs"], values.get("parameters") or {}
    items = [inputs["source_sentence"], *inputs["sentences"]]
    vectors = await embed_texts(service, {**values, **parameters}, items, normalize=True)
    return [float(vectors[0].astype(np.float64) @ vector) for vector in vectors[1:]]


async def tokenize(service: Service, values: dict[str, Any]) -> Any:
    """Return the tokens of texts with their places."""
    model = service.find_model(values.get("model"))
    texts = as_list(values["inputs"])

    def work(call: Call) -> list[list[dict[str, Any]]]:
        with model.lock:
            encoded = model.tokenizer(
                texts, add_special_tokens=values["add_special_tokens"], return_offsets_mapping=True,
                return_special_tokens_mask=True,
            )  # fmt: skip
        columns = ("input_ids", "offset_mapping", "special_tokens_mask")
        return [
            [_describe_token(model.tokenizer, text, *token) for token in zip(*rows, strict=True)]
            for text, *rows in zip(texts, *(encoded[name] for name in columns), strict=True)
        ]

    return await service.execute(next(iter(model.targets.values())).network, len(texts), work)


def _describe_token(tokenizer: Any, text: str, token: int, span: Sequence[int], special: int) -> dict[str, Any]:
    start, stop = (None, None) if special else span
    shown = tokenizer.convert_ids_to_tokens(token) if special else text[span[0] : span[1]]
    return {"id": token, "text": shown, "special": bool(special), "start": start, "stop": stop}


async def decode(service: Service, values: dict[str, Any]) -> Any:
    """Return the texts of token ids."""
    model = service.find_model(values.get("model"))
    ids = values["ids"]
    rows = ids if isinstance(ids[0], list) else [ids]
    known = len(model.tokenizer)
    for place, row in enumerate(rows):
        if max(row) >= known:
            detail = f"a token id is {max(row)}, but the vocabulary has {known} entries"
            raise Problem(422, detail, field=f"ids[{place}]", limit=known - 1)

    def work(call: Call) -> list[str]:
        return [model.tokenizer.decode(row, skip_special_tokens=values["skip_special_tokens"]) for row in rows]

    return await service.execute(next(iter(model.targets.values())).network, len(rows), work)


def describe_models(service: Service) -> dict[str, Any]:
    """Return what `/info` shows: the first model in the fields of text-embeddings-inference, then every model."""
    settings, first = service.settings, next(iter(service.models.values()))
    return {
        "model_id": first.name,
        "model_sha": None,
        "model_dtype": "float32",
        "model_type": _describe_type(first),
        "max_concurrent_requests": settings.max_queue,
        "max_input_length": first.length,
        "max_batch_tokens": settings.max_batch_tokens,
        "max_batch_requests": None,
        "max_client_batch_size": settings.max_inputs,
        "auto_truncate": False,
        "tokenization_workers": 1,
        "version": __version__,
        "models": [
            {
                "id": model.name,
                "tasks": list(model.targets),
                "framework": model.backend.title,
                "framework_version": model.backend.version,
                "device": model.backend.device or "cpu",
                "max_input_length": model.length,
                "labels": list(model.config.id2label.values()) if model.has_labels() else None,
            }
            for model in service.models.values()
        ],
    }


def _describe_type(model: ServedModel) -> dict[str, Any]:
    labels = {
        "id2label": {str(k): label for k, label in model.config.id2label.items()},
        "label2id": model.config.label2id,
    }
    if "text-ranking" in model.targets:
        return {"reranker": labels}
    if "text-classification" in model.targets:
        return {"classifier": labels}
    target = model.targets.get("sentence-embedding")
    if target is None:
        return {next(iter(model.targets)): {}}
    assert isinstance(target.pipeline, SentenceEmbeddingPipeline)
    return {"embedding": {"pooling": "+".join(target.pipeline.modules.pooling.modes)}}


def describe_problem(problem: Problem) -> dict[str, Any]:
    """Return the error that the clients of text-embeddings-inference read."""
    kind = "Overloaded" if problem.status == 429 else "Backend" if problem.status >= 500 else "Validation"
    return {"error": problem.detail, "error_type": kind}


def _several_texts(**more: Any) -> Any:
    return lambda settings: build_object(
        {"inputs": build_texts_or_ids(settings)}, {**TRUNCATION, **more, "model": OPTIONAL_MODEL}
    )


TOKEN = build_object(
    {"id": INTEGER, "text": STRING, "special": BOOLEAN},
    {name: {"anyOf": [INTEGER, {"type": "null"}]} for name in ("start", "stop")},
)
PREDICTIONS = build_array(build_object({"label": STRING, "score": NUMBER}))
ROUTES = (
    Route(
        "/embed", "One vector for each input.",
        _several_texts(normalize={"type": "boolean", "default": True}, prompt_name=PROMPT), VECTORS, embed,
        {"inputs": ["a door", "a window"]}, describe_problem,
    ),
    Route(
        "/embed_all", "The hidden state of each token.", _several_texts(), build_array(VECTORS),
        embed_all, {"inputs": "a door"}, describe_problem,
    ),
    Route(
        "/predict", "Labels of texts or pairs of texts.",
        lambda settings: build_object(
            {"inputs": build_pairs(settings)}, {**TRUNCATION, "raw_scores": BOOLEAN, "model": OPTIONAL_MODEL}
        ),
        {"anyOf": [PREDICTIONS, build_array(PREDICTIONS)]}, predict, {"inputs": "a fine film"}, describe_problem,
    ),
    Route(
        "/rerank", "Texts by how well they answer a query.",
        lambda settings: build_object(
            {
                "query": build_text(settings, least=1),
                "texts": build_array(build_text(settings), most=settings.max_inputs),
            },
            {**TRUNCATION, "raw_scores": BOOLEAN, "return_text": BOOLEAN, "model": OPTIONAL_MODEL},
        ),
        build_array(build_object({"index": INTEGER, "score": NUMBER}, {"text": STRING})), rerank,
        {"query": "Who opened the door?", "texts": ["She did.", "It rained."]}, describe_problem,
    ),
    Route(
        "/similarity", "Cosine similarity of a text with others.",
        lambda settings: build_object(
            {
                "inputs": build_object(
                    {
                        "source_sentence": build_text(settings),
                        "sentences": build_array(build_text(settings), most=settings.max_inputs),
                    }
                )
            },
            {
                "parameters": {"anyOf": [build_object({}, {**TRUNCATION, "prompt_name": PROMPT}), {"type": "null"}]},
                "model": OPTIONAL_MODEL,
            },
        ),
        build_array(NUMBER), compare, {"inputs": {"source_sentence": "a door", "sentences": ["a gate", "a cat"]}},
        describe_problem,
    ),
    Route(
        "/tokenize", "Tokens of texts.",
        lambda settings: build_object(
            {"inputs": build_several(build_text(settings), settings)},
            {
                "add_special_tokens": {"type": "boolean", "default": True},
                "model": OPTIONAL_MODEL,
            },
        ),
        build_array(build_array(TOKEN)), tokenize, {"inputs": "a door"}, describe_problem,
    ),
    Route(
        "/decode", "Texts of token ids.",
        lambda settings: build_object(
            {"ids": {"anyOf": [build_ids(settings), build_array(build_ids(settings), most=settings.max_inputs)]}},
            {"skip_special_tokens": {"type": "boolean", "default": True}, "model": OPTIONAL_MODEL},
        ),
        build_array(STRING), decode, {"ids": [0, 100, 2]}, describe_problem,
    ),
)  # fmt: skip

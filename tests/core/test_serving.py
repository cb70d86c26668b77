"""The routes of the server over stub models: their answers are those of the pipelines, in the documented fields."""

import asyncio
import base64
import json

import numpy as np
import pytest

from roberta_core.serving.validation import validate

EMBEDDING = ("sentence-embedding", "feature-extraction")
ALL = (
    "fill-mask", *EMBEDDING, "text-classification", "zero-shot-classification", "token-classification",
    "question-answering", "multiple-choice", "text-generation",
)  # fmt: skip
LONG = "a door and a window " * 20  # more than the model accepts
QUESTION = {"question": "who?", "context": "She opened the door and went in, he said."}
CHOICE = {"context": "She opened", "choices": ["the door", "a window and a gate", "it"]}


@pytest.fixture(scope="module")
def pipelines(serving):
    return serving.build_pipelines(*ALL)


@pytest.fixture
def ask(serving, pipelines):
    """`ask(path, value)`: the status and the value of one answer."""

    def ask(path, value, **settings):
        (answer,) = serving.ask(serving.build_service({"tiny": pipelines}, **settings), (path, value))
        return answer.status, answer.json

    return ask


@pytest.mark.parametrize(
    ("task", "path", "inputs", "options"),
    [
        ("fill-mask", "/fill-mask", "a<mask> and a<mask>", {"top_k": 3}),
        ("fill-mask", "/fill-mask", ["a<mask>", "the<mask> of<mask>"], {"targets": [" door", " window"], "top_k": 2}),
        ("fill-mask", "/fill-mask", "a<mask> and a<mask>", {"joint": True, "top_k": 2}),
        ("token-classification", "/tag", ["a door", LONG], {"aggregation_strategy": "simple", "ignore_labels": []}),
        ("question-answering", "/answer", QUESTION, {}),
        ("question-answering", "/answer", [QUESTION, {**QUESTION, "context": LONG}], {"top_k": 2, "doc_stride": 4}),
        ("multiple-choice", "/choose", [CHOICE, {**CHOICE, "choices": ["a", "b"]}], {}),
        ("zero-shot-classification", "/zero-shot", ["a door", "b"], {"candidate_labels": ["red", "blue sky"]}),
        ("zero-shot-classification", "/zero-shot", "a", {"candidate_labels": ["a", "b"], "multi_label": True}),
    ],
)  # fmt: skip
def test_our_routes_give_the_results_of_the_pipelines(ask, pipelines, task, path, inputs, options):
    several = isinstance(inputs, list)
    pipeline = pipelines[task]
    resolved = {**pipeline.settings, **({"aggregation_strategy": "first"} if path == "/tag" else {}), **options}
    expected = list(pipeline.stream(inputs if several else [inputs], resolved))
    status, found = ask(path, {"inputs": inputs, **options})
    assert status == 200
    assert found == json.loads(json.dumps(expected if several else expected[0]))


def test_embeddings_are_those_of_the_pipeline_and_normalised_by_default(ask, pipelines):
    texts = ["a door", "a window in the garden"]
    embed = pipelines["sentence-embedding"]
    assert ask("/embed", {"inputs": texts}) == (200, [one.tolist() for one in embed(texts, normalize=True)])
    assert ask("/embed", {"inputs": texts[0], "normalize": False}) == (200, [embed(texts[0]).tolist()])
    assert ask("/embed", {"inputs": LONG, "truncate": True})[1] == [
        embed(LONG, normalize=True, truncation=True).tolist()
    ]
    assert ask("/embed", {"inputs": LONG})[1]["detail"].endswith('shorten it, or pass "truncate": true')
    states = pipelines["feature-extraction"]
    assert ask("/embed_all", {"inputs": texts}) == (200, [one[0] for one in states(texts)])


def test_token_ids_are_an_input_with_or_without_their_frame(ask, pipelines):
    tokenizer = pipelines["sentence-embedding"].tokenizer
    framed = tokenizer("a door")["input_ids"]
    expected = [pipelines["sentence-embedding"]("a door", normalize=True).tolist()]
    assert ask("/embed", {"inputs": framed}) == ask("/embed", {"inputs": framed[1:-1]}) == (200, expected)
    assert ask("/embed", {"inputs": [framed, "a door"]}) == (200, expected * 2)
    status, problem = ask("/embed", {"inputs": ["a", [5, 10**6]]})
    assert (status, problem["field"]) == (422, "inputs[1]")
    assert "1000000" in problem["detail"]


def test_labels_are_all_returned_best_first(ask, pipelines):
    classify = pipelines["text-classification"]
    pair = {"text": "a door", "text_pair": "b"}
    assert ask("/predict", {"inputs": "a door"}) == (200, classify("a door", top_k=None))
    assert ask("/predict", {"inputs": ["a door", "b"]}) == (200, classify([pair], top_k=None)[0])
    assert ask("/predict", {"inputs": [["a door"], ["a door", "b"]]}) == (200, classify(["a door", pair], top_k=None))
    raw = classify("a door", top_k=None, function_to_apply="none")
    assert ask("/predict", {"inputs": "a door", "raw_scores": True}) == (200, raw)


def test_texts_are_ranked_in_the_published_fields(serving):
    pipelines = serving.build_pipelines("text-ranking", id2label={0: "LABEL_0"})
    texts = ["a", "door and window", "b c"]
    body = {"query": "which?", "texts": texts}
    calls = [("/rerank", body | more) for more in ({}, {"return_text": True}, {"raw_scores": True})]
    plain, with_text, raw = (one.json for one in serving.ask(serving.build_service({"one": pipelines}), *calls))
    expected = pipelines["text-ranking"]({"query": "which?", "documents": texts})
    assert with_text == expected
    assert plain == [{"index": one["index"], "score": one["score"]} for one in expected]
    assert [one["index"] for one in raw] == [one["index"] for one in expected]
    assert [1 / (1 + np.exp(-one["score"])) for one in raw] == pytest.approx([one["score"] for one in expected])


def test_similarities_are_cosines(ask, pipelines):
    first, *others = pipelines["sentence-embedding"](["a door", "a gate", "b"], normalize=True)
    body = {"inputs": {"source_sentence": "a door", "sentences": ["a gate", "b"]}}
    assert ask("/similarity", body)[1] == pytest.approx([float(first @ one) for one in others], abs=1e-6)
    assert ask("/similarity", body | {"parameters": {"truncate": True}})[0] == 200


def test_tokens_have_their_places_and_can_be_decoded(ask):
    status, (tokens,) = ask("/tokenize", {"inputs": "a door"})
    assert status == 200
    assert [(one["text"], one["special"], one["start"], one["stop"]) for one in tokens] == [
        ("<s>", True, None, None), ("a", False, 0, 1), ("door", False, 2, 6), ("</s>", True, None, None),
    ]  # fmt: skip
    ids = [one["id"] for one in tokens]
    assert ask("/decode", {"ids": ids}) == (200, ["a door"])
    assert ask("/decode", {"ids": [ids, ids[1:2]], "skip_special_tokens": False}) == (200, ["<s>a door</s>", "a"])
    assert ask("/decode", {"ids": [10**6]})[0] == 422


def test_openai_embeddings_come_as_numbers_or_base64(ask, pipelines):
    vector = pipelines["sentence-embedding"]("a door", normalize=True)
    status, found = ask("/v1/embeddings", {"input": "a door", "model": "tiny"})
    assert (status, found["object"], found["model"]) == (200, "list", "tiny")
    assert found["data"] == [{"object": "embedding", "index": 0, "embedding": vector.tolist()}]
    assert found["usage"] == {"prompt_tokens": 4, "total_tokens": 4}
    body = {"input": ["a door", "b"], "model": "tiny", "encoding_format": "base64", "user": "me"}
    _, found = ask("/v1/embeddings", body)
    assert np.array_equal(np.frombuffer(base64.b64decode(found["data"][0]["embedding"]), "<f4"), vector)
    assert [one["index"] for one in found["data"]] == [0, 1]
    assert ask("/v1/embeddings", {"input": "a", "dimensions": 8})[0] == 200
    assert ask("/v1/embeddings", {"input": "a", "dimensions": 4})[1]["limit"] == 8
    assert ask("/v1/embeddings", {"input": "a", "model": "gpt"})[1]["field"] == "model"


def test_errors_have_the_members_that_clients_read_too(ask):
    _, problem = ask("/v1/embeddings", {"input": "a", "model": "gpt"})
    error = {"type": "invalid_request_error", "param": "model", "code": 404}
    assert problem["error"] == {"message": problem["detail"], **error}
    _, problem = ask("/embed", {"inputs": LONG})
    assert (problem["error"], problem["error_type"], problem["limit"]) == (problem["detail"], "Validation", 24)


def test_generated_text_comes_at_once_or_in_events(serving, pipelines):
    body = {"inputs": "a door", "max_new_tokens": 5}
    service = serving.build_service({"tiny": pipelines})
    whole, stream = serving.ask(service, ("/generate", body), ("/generate", {**body, "stream": True}))
    options = {"max_new_tokens": 5, "do_sample": False, "add_special_tokens": False}
    assert whole.json == pipelines["text-generation"]("a door", **options)
    assert stream.headers["content-type"].startswith("text/event-stream")
    *events, done = stream.body.decode().strip().split("\n\n")
    tokens = [json.loads(event.removeprefix("data: ")) for event in events]
    assert [one["token"] for one in tokens] == [1059, 1060, 1061, 1062, 1063]
    name, data = done.split("\n")
    assert name == "event: done"
    assert json.loads(data.removeprefix("data: ")) == whole.json[0]
    assert "a door" + "".join(one["text"] for one in tokens) == whole.json[0]["generated_text"]


def test_what_a_stream_refuses_has_a_status(ask):
    status, problem = ask("/generate", {"inputs": LONG, "stream": True})
    assert status == 422
    assert "no room" in problem["detail"]


def test_requests_at_the_same_time_share_batches_and_get_their_own_results(serving):
    pipelines = serving.build_pipelines(*EMBEDDING)
    backend = pipelines["sentence-embedding"].backend
    texts = [("a door " * (1 + number % 5)).strip() for number in range(40)]
    expected = [pipelines["sentence-embedding"](text, normalize=True) for text in texts]
    backend.shapes.clear()
    answers = serving.ask(serving.build_service({"tiny": pipelines}), *(("/embed", {"inputs": text}) for text in texts))
    for answer, vector in zip(answers, expected, strict=True):
        np.testing.assert_allclose(answer.json[0], vector, atol=1e-6)
    assert len(backend.shapes) < len(texts)


def test_a_model_is_selected_by_name_or_by_task(serving):
    first = serving.build_pipelines(*EMBEDDING)
    second = serving.build_pipelines("text-classification", id2label={0: "no", 1: "yes"})
    service = serving.build_service({"first": first, "second": second})
    labels, wrong, unknown, listed, info, one, none = serving.ask(
        service, ("/predict", {"inputs": "a"}), ("/predict", {"inputs": "a", "model": "first"}),
        ("/predict", {"inputs": "a", "model": "third"}), ("/v1/models", None), ("/info", None),
        ("/v1/models/second", None), ("/v1/models/third", None),
    )  # fmt: skip
    assert {one["label"] for one in labels.json} == {"no", "yes"}
    assert (wrong.status, wrong.json["field"]) == (unknown.status, unknown.json["field"]) == (404, "model")
    assert "first, second" in unknown.json["detail"]
    assert [one["id"] for one in listed.json["data"]] == ["first", "second"]
    assert info.json["model_id"] == "first"
    assert info.json["model_type"] == {"embedding": {"pooling": "mean"}}
    assert info.json["models"][1]["tasks"] == ["text-classification"]
    assert info.json["models"][1]["labels"] == ["no", "yes"]
    assert (one.status, none.status) == (200, 404)


def test_the_document_has_every_route_and_its_examples_are_accepted(serving, pipelines):
    service = serving.build_service({"tiny": pipelines})
    (document,) = (one.json for one in serving.ask(service, ("/openapi.json", None)))
    posts = {path: one["post"] for path, one in document["paths"].items() if "post" in one}
    assert set(posts) == {
        "/embed", "/embed_all", "/predict", "/rerank", "/similarity", "/tokenize", "/decode", "/v1/embeddings",
        "/fill-mask", "/tag", "/answer", "/choose", "/zero-shot", "/generate",
    }  # fmt: skip
    assert {"/health", "/info", "/metrics", "/v1/models"} <= set(document["paths"])
    posts.pop("/rerank")
    examples = [(path, one["requestBody"]["content"]["application/json"]["example"]) for path, one in posts.items()]
    answers = serving.ask(serving.build_service({"tiny": pipelines}), *examples)
    assert [answer.status for answer in answers] == [200] * len(posts)
    for (path, _), answer in zip(examples, answers, strict=True):
        schema = posts[path]["responses"]["200"]["content"]["application/json"]["schema"]
        validate(schema, answer.json)


def test_health_waits_for_the_warm_up(serving):
    async def main():
        gate = asyncio.Event()
        loop = asyncio.get_running_loop()

        def hold(ids):
            asyncio.run_coroutine_threadsafe(gate.wait(), loop).result(10)

        service = serving.build_service({"tiny": serving.build_pipelines(*EMBEDDING, backend=serving.Stub(hold))})
        async with serving.running(service) as client:
            before = await client.get("/health")
            gate.set()
            await serving.wait_for(lambda: service.ready)
            after = await client.get("/health")
            service.draining = True
            draining = await client.get("/health")
            return before, after, draining

    before, after, draining = asyncio.run(main())
    assert (before.status, after.status, draining.status) == (503, 200, 503)
    assert "warming up" in before.json["detail"]
    assert "shutting down" in draining.json["detail"]


def test_a_model_that_cannot_warm_up_ends_the_server(serving):
    def fail(ids):
        raise RuntimeError("no memory")

    async def main():
        failed = asyncio.Event()
        service = serving.build_service({"tiny": serving.build_pipelines(*EMBEDDING, backend=serving.Stub(fail))})
        async with serving.running(service, on_failure=failed.set):
            await asyncio.wait_for(failed.wait(), 10)
        return service

    service = asyncio.run(main())
    assert "no memory" in service.failure
    assert not service.ready

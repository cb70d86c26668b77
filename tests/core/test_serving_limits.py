"""What the server refuses, with which status, field and limit; and that it never fails on what a client sends."""

import asyncio
import json
import random

import pytest

from roberta_core.serving.models import choose_tasks, parse_sources, parse_tasks
from roberta_core.serving.settings import ServerSettings

TASKS = ("fill-mask", "sentence-embedding", "feature-extraction", "zero-shot-classification", "text-generation")
LIMITS = {
    "max_inputs": 4, "max_characters": 200, "max_body": 2000, "max_header": 600, "max_rows": 8, "max_numbers": 500,
    "max_queue": 64, "read_timeout": 0.2,
}  # fmt: skip


@pytest.fixture(scope="module")
def pipelines(serving):
    return serving.build_pipelines(*TASKS)


@pytest.fixture(scope="module")
def send(serving, pipelines):
    """`send(path, body, headers, ...)`: the answer of a server with small limits, warm for all tests of this file."""
    loop = asyncio.new_event_loop()
    service = serving.build_service({"tiny": pipelines}, **LIMITS)
    running = serving.running(service)
    client = loop.run_until_complete(running.__aenter__())
    loop.run_until_complete(serving.wait_for(lambda: service.ready))

    def send(path, body, headers=None, method="POST", **more):
        body = body if isinstance(body, bytes) else json.dumps(body).encode()
        return loop.run_until_complete(
            client.request(method, path, body, serving.JSON if headers is None else headers, **more)
        )

    yield send
    loop.run_until_complete(running.__aexit__(None, None, None))
    loop.close()


def describe(answer):
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json["status"] == answer.status
    return answer.status, answer.json.get("field"), answer.json.get("limit")


@pytest.mark.parametrize(
    ("path", "body", "expected"),
    [
        ("/embed", {}, (422, "inputs", None)),
        ("/embed", [], (422, None, None)),
        ("/embed", {"inputs": None}, (422, "inputs", None)),
        ("/embed", {"inputs": []}, (422, "inputs", 1)),
        ("/embed", {"inputs": ["a", 1]}, (422, "inputs[1]", None)),
        ("/embed", {"inputs": [True]}, (422, "inputs[0]", None)),
        ("/embed", {"inputs": [-1]}, (422, "inputs[0]", 0)),
        ("/embed", {"inputs": [[]]}, (422, "inputs[0]", 1)),
        ("/embed", {"inputs": ["a"] * 5}, (413, "inputs", 4)),
        ("/embed", {"inputs": ["a", "b" * 201]}, (413, "inputs[1]", 200)),
        ("/embed", {"inputs": ["a", "b " * 90]}, (413, "inputs[1]", 24)),
        ("/embed", {"inputs": "a", "normalise": True}, (422, "normalise", None)),
        ("/embed", {"inputs": "a", "normalize": 1}, (422, "normalize", None)),
        ("/embed", {"inputs": "a", "prompt_name": "query"}, (422, "prompt_name", None)),
        ("/embed", {"inputs": "a", "truncation_direction": "Left"}, (422, "truncation_direction", None)),
        ("/embed", b'{"inputs": "\\ud800"}', (422, "inputs", None)),
        ("/embed", {"inputs": "a", "model": "b"}, (404, "model", None)),
        ("/embed_all", {"inputs": ["a " * 20] * 4, "truncate": True}, (413, None, 500)),
        ("/fill-mask", {"inputs": "no"}, (422, "inputs", None)),
        ("/fill-mask", {"inputs": ["a<mask>", "no"]}, (422, "inputs[1]", None)),
        ("/fill-mask", {"inputs": "a<mask>", "top_k": 0}, (422, "top_k", 1)),
        ("/fill-mask", {"inputs": "a<mask>", "top_k": 101}, (422, "top_k", 100)),
        ("/fill-mask", {"inputs": "a<mask>", "top_k": 2.5}, (422, "top_k", None)),
        ("/fill-mask", {"inputs": "<mask>" * 12, "top_k": 50}, (413, None, 500)),
        ("/fill-mask", {"inputs": "a<mask>", "joint": True, "targets": ["b"]}, (422, "joint", None)),
        ("/zero-shot", {"inputs": "a", "candidate_labels": []}, (422, "candidate_labels", 1)),
        ("/zero-shot", {"inputs": ["a"] * 4, "candidate_labels": ["b", "c", "d"]}, (413, None, 8)),
        ("/zero-shot", {"inputs": "a", "candidate_labels": ["b"], "hypothesis_template": "{0.__class__}"},
         (422, "hypothesis_template", None)),
        ("/zero-shot", {"inputs": "a", "candidate_labels": ["b"], "hypothesis_template": "{:>999999999}"},
         (422, "hypothesis_template", None)),
        ("/generate", {"inputs": "a", "temperature": 0}, (422, "temperature", 0)),
        ("/generate", {"inputs": "a", "max_new_tokens": 10**6}, (422, "max_new_tokens", 512)),
        ("/tag", {"inputs": "a"}, (404, None, None)),
        ("/decode", {"ids": [[1], [99999999]]}, (422, "ids[1]", 8191)),
        ("/nothing", {}, (404, None, None)),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused_with_its_field_and_the_limit(send, path, body, expected):
    assert describe(send(path, body)) == expected


@pytest.mark.parametrize(
    ("body", "part"),
    [
        (b"", "not JSON"),
        (b'{"inputs": "a"', "not JSON"),
        (b'{"inputs": NaN}', "NaN"),
        (b'{"inputs": [-Infinity]}', "Infinity"),
        (b'{"inputs": 1e999}', "too large"),
        (b'{"inputs": "a", "inputs": "b"}', "twice"),
        (b"[" * 1900, "nested"),
        (b'{"a":' * 390, "nested|not JSON"),
        (b"\xff\xfe", "UTF-8"),
        (b"1" * 1990, "digits|must be an object|body is"),
    ],
)
def test_what_is_not_json_is_refused(send, body, part):
    answer = send("/embed", body)
    assert answer.status in (400, 422)
    assert any(one in answer.json["detail"] for one in part.split("|")), answer.json


def test_a_body_has_limits_of_size_time_and_type(serving, send):
    assert describe(send("/embed", {"inputs": "a" * 3000})) == (413, None, 2000)
    answer = send("/embed", b"", {**serving.JSON, "content-length": "3000"}, parts=[None])
    assert describe(answer) == (413, None, 2000)  # before it arrives
    assert describe(send("/embed", b"", parts=[b'{"inputs":', None])) == (408, None, 0.2)
    assert send("/embed", b"{}", {"content-type": "text/plain"}).status == 415
    assert send("/embed", b"{}", {}).status == 415
    assert send("/embed", b"{}", {"content-type": "application/json; charset=latin-1"}).status == 415
    assert send("/embed", b"{}", {**serving.JSON, "content-encoding": "gzip"}).status == 415
    assert send("/embed", {"inputs": "a"}, {"content-type": 'application/json; charset="UTF-8"'}).status == 200
    assert send("/embed", b'{"inputs": "a"}', parts=[b'{"inp', b'uts": "a"}']).status == 200


def test_the_bodies_of_all_requests_have_a_limit_together(serving, pipelines):
    async def main():
        service = serving.build_service({"tiny": pipelines}, max_held=100)
        async with serving.running(service) as client:
            await serving.wait_for(lambda: service.ready)
            gone = asyncio.Event()
            part = b'{"inputs": "' + b"a" * 60
            waiting = asyncio.create_task(
                client.request("POST", "/embed", headers=serving.JSON, parts=[part, None], gone=gone)
            )
            await serving.wait_for(lambda: service.held)
            refused = await client.post("/embed", {"inputs": "a" * 60})
            gone.set()
            await waiting
            return refused, await client.post("/embed", {"inputs": "a door"}), service.held

    refused, accepted, held = asyncio.run(main())
    assert describe(refused) == (429, None, 100)
    assert (accepted.status, held) == (200, 0)


def test_a_header_and_a_method_have_limits_too(serving, send):
    assert describe(send("/embed", {"inputs": "a"}, {**serving.JSON, "cookie": "a" * 700})) == (431, None, 600)
    assert describe(send("/embed", b"", method="GET")) == (405, None, None)
    assert send("/embed", b"", method="GET").headers["allow"] == "POST"


def test_a_fuzzed_request_never_fails_the_server(send):
    generator = random.Random(5)
    values = [
        None,
        True,
        -1,
        1.5,
        10**30,
        "",
        "a",
        "<mask>",
        "\x00",
        [],
        {},
        [[]],
        ["a", ["b"]],
        [[1], [10**9]],
        {"a": 1},
    ]
    names = [
        "inputs", "input", "query", "texts", "ids", "top_k", "candidate_labels", "truncate", "parameters", "stream",
        "max_new_tokens", "model", "dimensions", "encoding_format", "source_sentence", "question", "context",
    ]  # fmt: skip
    paths = [
        "/embed", "/embed_all", "/predict", "/rerank", "/similarity", "/tokenize", "/decode", "/v1/embeddings",
        "/fill-mask", "/tag", "/answer", "/choose", "/zero-shot", "/generate",
    ]  # fmt: skip
    statuses = set()
    for _ in range(300):
        body = {name: generator.choice(values) for name in generator.sample(names, generator.randint(0, 4))}
        if generator.random() < 0.5:
            body = {"inputs": generator.choice(values)} | body
        raw = bytearray(json.dumps(body).encode())
        for _ in range(generator.choice((0, 0, 0, 1, 3))):
            raw[generator.randrange(len(raw))] = generator.randrange(256)
        statuses.add(send(generator.choice(paths), bytes(raw)).status)
    assert max(statuses) < 500, statuses
    assert {400, 404, 422} <= statuses


def test_an_api_key_is_required_except_for_the_page_and_health(serving, pipelines):
    service = serving.build_service({"tiny": pipelines}, api_key="secret", cors=("https://example.org",))

    async def main():
        async with serving.running(service) as client:
            await serving.wait_for(lambda: service.ready)
            right = {**serving.JSON, "authorization": "Bearer secret"}
            wrong = {**serving.JSON, "authorization": "Bearer secrets"}
            body = b'{"inputs": "a"}'
            statuses = [
                (await client.request("POST", "/embed", body, headers)).status
                for headers in (right, wrong, serving.JSON, {**serving.JSON, "authorization": "Basic secret"})
            ]
            opened = [(await client.get(path)).status for path in ("/health", "/", "/openapi.json")]
            closed = [(await client.get(path)).status for path in ("/info", "/metrics", "/v1/models")]
            asked = {"origin": "https://example.org", "access-control-request-method": "POST"}
            allowed = await client.request("OPTIONS", "/embed", headers=asked)
            other = await client.request("OPTIONS", "/embed", headers={**asked, "origin": "https://example.com"})
            return statuses, opened, closed, allowed, other

    statuses, opened, closed, allowed, other = asyncio.run(main())
    assert statuses == [200, 401, 401, 401]
    assert (opened, closed) == ([200] * 3, [401] * 3)
    assert allowed.headers["access-control-allow-origin"] == "https://example.org"
    assert "access-control-allow-origin" not in other.headers


def test_settings_that_make_no_sense_are_refused():
    with pytest.raises(ValueError, match="max_queue is 0; it must be at least 1"):
        ServerSettings(max_queue=0)
    with pytest.raises(ValueError, match="timeout is -1; it must be above 0"):
        ServerSettings(timeout=-1)
    with pytest.raises(ValueError, match="max_queue is 8, but one request may have 128 inputs"):
        ServerSettings(max_queue=8)


def test_models_have_names_and_tasks(tmp_path, pipelines):
    folder = tmp_path / "my-model"
    folder.mkdir()
    assert parse_sources([str(folder), "b=roberta-tiny"]) == {"my-model": str(folder), "b": "roberta-tiny"}
    with pytest.raises(ValueError, match="two models would be called a"):
        parse_sources(["a=b", "a=c"])
    with pytest.raises(ValueError, match="there is no task 'colouring'"):
        parse_tasks("ner,colouring")
    assert parse_tasks("ner, fill-mask") == ("token-classification", "fill-mask")
    config = pipelines["fill-mask"].config
    for named, labels, expected in (
        ("RobertaForMaskedLM", {}, ("fill-mask", "sentence-embedding", "feature-extraction")),
        ("XLMRobertaForSequenceClassification", {0: "no", 1: "yes"}, ("text-classification",)),
        ("RobertaForSequenceClassification", {0: "x"}, ("text-classification", "text-ranking")),
        ("RobertaForSequenceClassification", {0: "Entailment", 1: "b", 2: "c"},
         ("text-classification", "zero-shot-classification")),
    ):  # fmt: skip
        own = type(config).from_dict(
            {**config.to_dict(), "architectures": [named], **({"id2label": labels} if labels else {})}
        )
        assert choose_tasks(own, "x") == expected
    own = type(config).from_dict({**config.to_dict(), "architectures": ["RobertaForMaskedLM"]})
    with pytest.raises(ValueError, match=r"serves no task: .* names RobertaForMaskedLM"):
        choose_tasks(own, "x", ["text-ranking"])

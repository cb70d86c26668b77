"""A server without a framework and without a socket: stub models, and a client that speaks ASGI."""

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from roberta_core import RobertaConfig, RobertaTokenizerFast
from roberta_core.pipelines import PIPELINES
from roberta_core.serving.app import build_app
from roberta_core.serving.metrics import Metrics
from roberta_core.serving.models import build_served
from roberta_core.serving.service import Service
from roberta_core.serving.settings import ServerSettings
from roberta_core.serving.turns import Turns

LENGTH = 24  # tokens that the stub's models accept
LABELS = {
    "ForSequenceClassification": ("contradiction", "neutral", "entailment"),
    "ForTokenClassification": ("O", "B-PER", "I-PER"),
}
JSON = {"content-type": "application/json"}


class Stub:
    """A framework whose outputs are a function of the ids; `before` is called with the ids of each batch."""

    name, title, version, device = "stub", "Stub", "1.0", "cpu"

    def __init__(self, before=None):
        self.before, self.shapes = before, []

    def tensor(self, array):
        return array

    def run(self, model, inputs):
        ids, real = inputs["input_ids"], inputs["attention_mask"] == 1
        self.shapes.append(ids.shape)
        if self.before is not None:
            self.before(ids)
        kind, labels = model.architecture, model.config.num_labels
        if kind == "ForMaskedLM":
            return {"logits": _waves(ids, model.config.vocab_size)}
        if kind == "ForQuestionAnswering":
            both = _waves(ids, 2)
            return {"start_logits": both[..., 0], "end_logits": both[..., 1]}
        if kind == "ForTokenClassification":
            return {"logits": _waves(ids, labels)}
        if kind == "Model":
            return {"last_hidden_state": _waves(ids, model.config.hidden_size)}
        if kind == "ForMultipleChoice":
            return {"logits": np.where(real, np.cos(ids), 0).sum(-1)}
        return {"logits": np.where(real[..., None], _waves(ids, labels), 0).sum(-2)}


class Model:
    """A stub of a framework's model; it generates the ids 1059, 1060, ..., which are words."""

    def __init__(self, architecture, tokenizer, **fields):
        labels = LABELS.get(architecture, ("LABEL_0", "LABEL_1"))
        fields = {"id2label": dict(enumerate(labels)), "hidden_size": 8, "num_attention_heads": 2, **fields}
        self.architecture = architecture
        fields["is_decoder"] = architecture == "ForCausalLM"
        self.config = RobertaConfig(vocab_size=len(tokenizer), max_position_embeddings=LENGTH + 2, **fields)

    def generate(self, prompt, attention_mask, max_new_tokens, streamer=None, **options):
        if prompt.shape[1] + max_new_tokens > self.config.max_sequence_length:
            raise ValueError(f"a prompt of {prompt.shape[1]} tokens leaves no room")
        made = np.arange(1059, 1059 + max_new_tokens)
        for token in made:
            if streamer is not None:
                streamer(np.array([token]))
        return np.concatenate([prompt, made[None]], axis=1)


def _waves(ids, count):
    return np.cos(ids[..., None] * np.arange(1, count + 1)).astype(np.float32)


@cache
def load_tiny_tokenizer():
    """The tokenizer of the embedded model."""
    return RobertaTokenizerFast.from_pretrained("roberta-tiny")


def build_pipelines(*tasks, backend=None, **fields):
    """Pipelines over one stub; those of a class share their model."""
    backend, models, tokenizer = backend or Stub(), {}, load_tiny_tokenizer()
    for task in tasks:
        kind = PIPELINES[task].architecture
        models.setdefault(kind, Model(kind, tokenizer, **fields))
    return {task: PIPELINES[task](backend, models[PIPELINES[task].architecture], tokenizer) for task in tasks}


def build_service(models, **settings):
    """The service of models: name -> pipelines by task."""
    limits, turns, metrics = ServerSettings(**settings), Turns(), Metrics()
    served = [build_served(name, pipelines, limits, turns, metrics) for name, pipelines in models.items()]
    return Service(served, limits, turns, metrics)


@dataclass
class Answer:
    """A response."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """Calls an ASGI application."""

    def __init__(self, app):
        self.app = app

    async def get(self, path, **headers):
        return await self.request("GET", path, headers={key.replace("_", "-"): one for key, one in headers.items()})

    async def post(self, path, value, **more):
        return await self.request("POST", path, json.dumps(value).encode(), JSON, **more)

    async def request(self, method, path, body=b"", headers=None, *, parts=None, gone=None):
        """`parts` are the parts of the body, or None for one that never arrives; `gone` is set once the client left."""
        parts = [body] if parts is None else list(parts)
        gone = gone or asyncio.Event()
        sent: list[Any] = []

        async def receive():
            if parts and parts[0] is not None:
                return {"type": "http.request", "body": parts.pop(0), "more_body": bool(parts)}
            await gone.wait()
            return {"type": "http.disconnect"}

        async def send(message):
            sent.append(message)

        raw = [(name.encode(), value.encode()) for name, value in (headers or {}).items()]
        scope = {
            "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1", "method": method,
            "path": path, "raw_path": path.encode(), "query_string": b"", "root_path": "", "scheme": "http",
            "headers": raw, "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 8000),
        }  # fmt: skip
        await self.app(scope, receive, send)
        body = b"".join(message.get("body", b"") for message in sent[1:])
        return Answer(sent[0]["status"], {key.decode(): one.decode() for key, one in sent[0]["headers"]}, body)


@asynccontextmanager
async def running(service, **arguments):
    """A client of a service while its application runs and is warm."""
    app = build_app(service, **arguments)
    messages, replies = asyncio.Queue(), asyncio.Queue()
    task = asyncio.create_task(app({"type": "lifespan", "asgi": {"version": "3.0"}}, messages.get, replies.put))
    await messages.put({"type": "lifespan.startup"})
    assert (await replies.get())["type"] == "lifespan.startup.complete"
    try:
        yield Client(app)
    finally:
        await messages.put({"type": "lifespan.shutdown"})
        assert (await replies.get())["type"] == "lifespan.shutdown.complete"
        await task


async def wait_for(condition, seconds=10):
    """Return once a condition holds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.002)


def ask(service, *calls):
    """Run calls `(path, value)` at the same time on a warm server; a value of None is a GET. Returns the answers."""

    async def main():
        async with running(service) as client:
            await wait_for(lambda: service.ready or service.failure)
            return await asyncio.gather(
                *(client.get(path) if value is None else client.post(path, value) for path, value in calls)
            )

    return asyncio.run(main())

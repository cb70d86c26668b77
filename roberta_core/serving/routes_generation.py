"""The route that continues texts, at once or token by token as server-sent events."""

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import numpy as np

from roberta_core.serving.models import Target
from roberta_core.serving.routes import Route
from roberta_core.serving.routes_tasks import CONTROL, build_generation
from roberta_core.serving.schemas import STRING, build_array, build_object
from roberta_core.serving.service import Service

UNFINISHED = "\ufffd"  # the end of a text whose last character has further bytes in the next token


async def generate(service: Service, values: dict[str, Any]) -> Any:
    """Return the continuations of a text, or an iterator of events if `stream` is set."""
    target = service.find("text-generation", values.get("model"))
    options = {name: value for name, value in values.items() if name not in CONTROL}
    options["clean_up_tokenization_spaces"] = False  # so that the tokens of a stream add up to the text
    if values["stream"]:
        return await _start(service, target, values["inputs"], options)
    (results,) = await service.run(target, [values["inputs"]], options)
    return results


async def _start(
    service: Service, target: Target, text: str, options: dict[str, Any]
) -> AsyncIterator[tuple[str, Any]]:
    """Return the events once there is a first token: a request refused before that gets its own HTTP status."""
    loop, queue = asyncio.get_running_loop(), asyncio.Queue()

    def listen(tokens: np.ndarray) -> None:
        loop.call_soon_threadsafe(queue.put_nowait, int(tokens[0]))

    task = asyncio.create_task(service.run(target, [text], {**options, "streamer": listen}))
    task.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        first = await queue.get()
    except asyncio.CancelledError as error:
        task.cancel(*error.args)
        raise
    if first is None:
        task.result()  # raises the reason
    return _iterate(target, task, queue, first)


async def _iterate(target: Target, task: Any, queue: Any, token: int | None) -> AsyncIterator[tuple[str, Any]]:
    made: list[int] = []
    sent = ""
    try:
        while token is not None:
            made.append(token)
            text = target.pipeline.tokenizer.decode(made, skip_special_tokens=True)
            text = sent if text.endswith(UNFINISHED) else text
            yield "", {"token": token, "text": text[len(sent) :]}
            sent = text
            token = await queue.get()
        yield "done", task.result()[0][0]
    finally:
        task.cancel("disconnected")


RESULT = build_array(build_object({"generated_text": STRING}))
ROUTES = (
    Route(
        "/generate", "Continuations of a text; with `stream` as events.", build_generation, RESULT, generate,
        {"inputs": "She opened the", "max_new_tokens": 16},
    ),
)  # fmt: skip

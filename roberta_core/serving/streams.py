"""Answers that are sent as server-sent events."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator
from typing import Any

from starlette.responses import Response

from roberta_core.serving.batcher import CallDropped, ModelFailure
from roberta_core.serving.bodies import wait_for_disconnect
from roberta_core.serving.problems import Problem

logger = logging.getLogger(__name__)


class EventStream(Response):
    """One event for each item; if it fails, the last one is of the type `error` and has a problem.

    Args:
        items: pairs of the type of an event, empty for none, and its data.
        seconds: after which the stream ends with an error.
    """

    media_type = "text/event-stream"

    def __init__(self, items: AsyncIterator[tuple[str, Any]], seconds: float):
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self.items, self.seconds = items, seconds

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Send the events until they end or the client leaves."""
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        task = asyncio.create_task(self._send_all(send))
        gone = asyncio.create_task(wait_for_disconnect(receive))
        try:
            await asyncio.wait({task, gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            gone.cancel()
            task.cancel()
            await asyncio.gather(task, gone, return_exceptions=True)
            try:
                await self.items.aclose()  # type: ignore[attr-defined]  # of a generator
            except CallDropped:
                pass  # the client left, which is why the generator is closed
            except Exception:
                logger.exception("A stream could not be closed")

    async def _send_all(self, send: Any) -> None:
        try:
            async with asyncio.timeout(self.seconds):
                async for event, value in self.items:
                    await _send(send, value, event)
        except TimeoutError:
            await _send_problem(send, Problem(504, f"the answer took longer than {self.seconds:g} seconds"))
        except Problem as problem:
            await _send_problem(send, problem)
        except (ModelFailure, CallDropped):
            await _send_problem(send, Problem(500, "the model failed on this request; the server's log has the reason"))
        except Exception:
            logger.exception("A stream failed")
            await _send_problem(send, Problem(500, "the server failed on this request; its log has the reason"))
        await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send(send: Any, value: Any, event: str = "") -> None:
    name = f"event: {event}\n" if event else ""
    body = f"{name}data: {json.dumps(value, ensure_ascii=False)}\n\n".encode()
    await send({"type": "http.response.body", "body": body, "more_body": True})


async def _send_problem(send: Any, problem: Problem) -> None:
    await _send(send, problem.to_dict(), "error")

"""The ASGI application: routes, the page, health, metrics, and how a request is answered."""

import asyncio
import json
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import FileResponse, Response
from starlette.routing import Route as StarletteRoute

from roberta_core.serving import routes_embeddings, routes_generation, routes_openai, routes_tasks
from roberta_core.serving.batcher import CallDropped, ModelFailure
from roberta_core.serving.bodies import ClientDisconnected, Receive, read_json, wait_for_disconnect
from roberta_core.serving.middleware import Guard, Meter
from roberta_core.serving.openapi import build_document
from roberta_core.serving.problems import Problem
from roberta_core.serving.routes import Route
from roberta_core.serving.service import Service
from roberta_core.serving.streams import EventStream
from roberta_core.serving.validation import validate

logger = logging.getLogger(__name__)

ROUTES = (*routes_embeddings.ROUTES, *routes_openai.ROUTES, *routes_tasks.ROUTES, *routes_generation.ROUTES)
READABLE = {
    "/health": "Whether the server is ready.",
    "/info": "The models and the limits.",
    "/v1/models": "The models in OpenAI's fields.",
    "/metrics": "Counters for Prometheus.",
}
PAGE = Path(__file__).parent / "page"
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)


def build_app(service: Service, on_failure: Callable[[], None] = lambda: None) -> Any:
    """Return the ASGI application of a service.

    Args:
        service: the models and limits.
        on_failure: called if warming up fails.
    """
    post = [StarletteRoute(route.path, _build_endpoint(route, service), methods=["POST"]) for route in ROUTES]
    get = [
        StarletteRoute(path, endpoint)
        for path, endpoint in {**_build_readers(service), **_build_pages()}.items()
    ]  # fmt: skip
    paths = [route.path for route in (*post, *get)]
    middleware = [Middleware(Meter, service=service, paths=paths), Middleware(Guard, service=service)]
    if service.settings.cors:
        allowed = {"allow_origins": service.settings.cors, "allow_methods": ["GET", "POST"]}
        headers = ["Authorization", "Content-Type"]
        middleware.insert(0, Middleware(CORSMiddleware, **allowed, allow_headers=headers))
    return Starlette(
        routes=[*post, *get],
        middleware=middleware,
        exception_handlers={HTTPException: _answer_http_error},
        lifespan=_build_lifespan(service, on_failure),
    )


def _build_lifespan(service: Service, on_failure: Callable[[], None]) -> Any:
    async def warm_up() -> None:
        try:
            await service.warm_up()
        except Exception as error:
            service.failure = str(error) or str(error.__cause__) or type(error).__name__
            on_failure()

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        service.start()
        task = asyncio.create_task(warm_up())
        yield
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await asyncio.get_running_loop().run_in_executor(None, service.close)

    return lifespan


def _build_endpoint(route: Route, service: Service) -> Any:
    """Return the function that answers a request to a route that takes JSON."""
    settings = service.settings
    schema = route.request(settings)

    async def answer(request: Request) -> Response:
        try:
            with service.hold_bytes() as hold:
                body = await read_json(request.headers, request.receive, settings.max_body, settings.read_timeout, hold)
                values = validate(schema, body)
                result = await run_until(route.handle(service, values), request.receive, settings.timeout)
            if isinstance(result, AsyncIterator):
                return EventStream(result, settings.timeout)
            return Response(await _encode(result), media_type="application/json")
        except Problem as found:
            problem = found
        except (ClientDisconnected, CallDropped):
            return Response(status_code=499)  # it cannot be sent any more
        except ModelFailure:
            problem = Problem(500, "the model failed on this request; the server's log has the reason")
        except Exception:
            logger.exception("A request to %s failed", route.path)
            problem = Problem(500, "the server failed on this request; its log has the reason")
        return problem.to_response(route.describe_problem(problem))

    return answer


async def run_until(work: Awaitable[Any], receive: Receive, seconds: float) -> Any:
    """Return what a coroutine returns; cancel it once its client has left or its time is over.

    Raises:
        ClientDisconnected: the client left.
        Problem: 504.
    """
    task, gone = asyncio.ensure_future(work), asyncio.create_task(wait_for_disconnect(receive))
    reason = "cancelled"
    try:
        done, _ = await asyncio.wait({task, gone}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
        if task in done:
            return task.result()
        if gone in done:
            reason = "disconnected"
            raise ClientDisconnected
        reason = "timeout"
        raise Problem(504, f"the answer took longer than {seconds:g} seconds", limit=seconds)
    finally:
        gone.cancel()
        task.cancel(reason)
        await asyncio.gather(task, gone, return_exceptions=True)


async def _encode(value: Any) -> bytes:
    """Return a value as JSON; in a thread, since an answer may have millions of numbers."""
    loop = asyncio.get_running_loop()
    return await loop.run_in_executor(None, lambda: json.dumps(value, ensure_ascii=False, allow_nan=False).encode())


async def _answer_http_error(request: Request, error: Any) -> Response:
    """Return what Starlette refuses, such as an unknown path, as a problem."""
    details = {404: "there is no such path; /openapi.json lists them", 405: f"{request.method} is not accepted here"}
    detail = details.get(error.status_code, str(error.detail))
    return Problem(error.status_code, detail, headers=error.headers).to_response()


def _build_readers(service: Service) -> dict[str, Any]:
    """Return path -> function of the routes that are only read."""
    document = build_document(ROUTES, READABLE, service.settings)

    async def health(request: Request) -> Response:
        if service.draining:
            return Problem(503, "the server is shutting down").to_response()
        if not service.ready:
            return Problem(503, "the models are warming up", headers={"Retry-After": "1"}).to_response()
        return _dump({"status": "ready"})

    async def info(request: Request) -> Response:
        return _dump(routes_embeddings.describe_models(service))

    async def models(request: Request) -> Response:
        return _dump(routes_openai.list_models(service))

    async def model(request: Request) -> Response:
        name = request.path_params["name"]
        try:
            service.find_model(name)
        except Problem as problem:
            return problem.to_response()
        return _dump(routes_openai.describe_model(name))

    async def metrics(request: Request) -> Response:
        body, content_type = service.metrics.render(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": content_type})

    async def openapi(request: Request) -> Response:
        return _dump(document)

    return {
        "/health": health, "/info": info, "/v1/models": models, "/v1/models/{name:path}": model, "/metrics": metrics,
        "/openapi.json": openapi,
    }  # fmt: skip


def _build_pages() -> dict[str, Any]:
    """Return path -> function of the page's files."""

    def build(name: str) -> Any:
        async def page(request: Request) -> Response:
            headers = {
                "Content-Security-Policy": POLICY,
                "X-Content-Type-Options": "nosniff",
                "Cache-Control": "no-cache",
            }
            return FileResponse(PAGE / name, headers=headers)

        return page

    return {"/": build("page.html"), "/page.css": build("page.css"), "/page.js": build("page.js")}


def _dump(value: Any) -> Response:
    return Response(json.dumps(value, ensure_ascii=False), media_type="application/json")

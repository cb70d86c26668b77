"""`roberta serve`: models behind HTTP."""

from __future__ import annotations

import logging
import os
import sys
from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated

import typer

from roberta_core.cli.frameworks import (
    DEVICE,
    FRAMEWORK,
    describe_backend,
    hold_back_stderr,
    load_backend,
    resolve_frameworks,
)

if TYPE_CHECKING:
    from roberta_core.serving.service import Service
    from roberta_core.serving.settings import ServerSettings


def serve(
    models: Annotated[
        list[str],
        typer.Argument(
            metavar="MODEL...",
            help="Folders with a checkpoint, built-in models (roberta-tiny), or names on the Hugging Face Hub; "
            "NAME=MODEL gives a model another name.",
        ),
    ],
    framework: FRAMEWORK = None,
    device: DEVICE = "auto",
    host: Annotated[
        str,
        typer.Option(
            help="Address to listen on. The default accepts only this machine; 0.0.0.0 accepts others, and requires "
            "--api-key or --no-auth."
        ),
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port to listen on; 0 for any that is free.")] = 8000,
    tasks: Annotated[
        str | None,
        typer.Option(help="Tasks to serve, separated by commas; by default all that a model was trained for."),
    ] = None,
    max_batch_tokens: Annotated[
        int, typer.Option(min=1, help="Maximum number of tokens per batch, padding included.")
    ] = 2048,
    max_queue: Annotated[
        int,
        typer.Option(min=1, help="Maximum number of inputs that wait for a model; further requests get status 429."),
    ] = 512,
    max_inputs: Annotated[int, typer.Option(min=1, help="Maximum number of inputs of one request.")] = 128,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds after which a request gets the answer 504.")] = 30.0,
    api_key: Annotated[
        str | None,
        typer.Option(metavar="ENV", help="Environment variable that holds the key that requests must send."),
    ] = None,
    no_auth: Annotated[
        bool, typer.Option("--no-auth", help="Let everyone who reaches the address use the models, without a key.")
    ] = False,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Origin whose pages may call the server; may be repeated."),
    ] = None,
) -> None:
    """Serve models over HTTP: embeddings, labels, entities, answers, choices, masks, generation.

    Its routes include those of text-embeddings-inference and of OpenAI's embeddings; /openapi.json describes all. The
    address itself is a page to try the models in a browser.
    """
    try:
        from roberta_core.serving.server import bind
        from roberta_core.serving.server import serve as serve_models
        from roberta_core.serving.settings import ServerSettings
    except ImportError as error:
        raise ValueError(f"serve needs {(error.name or '').split('.')[0]}: pip install 'triberta[serve]'") from None
    key = read_key(host, api_key, no_auth)
    settings = ServerSettings(
        max_batch_tokens=max_batch_tokens, max_queue=max_queue, max_inputs=max_inputs, timeout=timeout, api_key=key,
        cors=tuple(cors or ()),
    )  # fmt: skip
    (name,) = resolve_frameworks(None, framework)
    logging.basicConfig(stream=sys.stderr, format="%(asctime)s %(levelname)s %(message)s")
    sockets = bind(host, port)  # before the models are loaded
    service = build_service(models, name, device, settings, tasks)
    serve_models(
        service, host, port, lambda url: print(f"roberta: ready at {url}", file=sys.stderr, flush=True), sockets
    )
    print(f"roberta: stopped; answered {service.answered} of {service.accepted} accepted requests", file=sys.stderr)


def read_key(host: str, variable: str | None, no_auth: bool) -> str:
    """Return the API key from an environment variable; empty if none is needed.

    Raises:
        typer.BadParameter: other machines could use the server without a key, or the variable has none.
    """
    if variable is None:
        if not no_auth and not is_loopback(host):
            raise typer.BadParameter(
                f"{host} can be reached from other machines: specify --api-key ENV (an environment variable that "
                "holds the key), or --no-auth to serve without a key"
            )
        return ""
    if no_auth:
        raise typer.BadParameter("specify --api-key or --no-auth, not both")
    key = os.environ.get(variable, "")
    if not key or not key.isascii() or not key.isprintable() or " " in key:
        raise typer.BadParameter(f"the environment variable {variable} must hold a key of printable ASCII characters")
    return key


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def build_service(
    models: list[str], framework: str, device: str, settings: ServerSettings, tasks: str | None
) -> Service:
    """Load the models and print what each serves."""
    from roberta_core.serving.metrics import Metrics
    from roberta_core.serving.models import load_served, parse_sources, parse_tasks
    from roberta_core.serving.service import Service
    from roberta_core.serving.turns import Turns

    sources, requested = parse_sources(models), parse_tasks(tasks) if tasks is not None else ()
    backend, turns, metrics = load_backend(framework, device), Turns(), Metrics()
    served = []
    for name, source in sources.items():
        with hold_back_stderr():
            served.append(load_served(name, source, backend, settings, turns, metrics, requested))
        print(f"roberta: {name} serves {', '.join(served[-1].targets)}", file=sys.stderr)
    print(f"roberta: running {describe_backend(backend)}; warming up", file=sys.stderr, flush=True)
    return Service(served, settings, turns, metrics)

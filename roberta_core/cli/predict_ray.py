"""The engine of `--engine ray`: actors of Ray, on this machine or on a cluster."""

from __future__ import annotations

import logging
from concurrent.futures import Future
from typing import Any

from roberta_core.cli.predict_blocks import BlockRunner, RunnerArguments
from roberta_core.cli.terminal import format_error


class Actor:
    """A `BlockRunner` that is loaded at the first call, so that its error is one of that call."""

    def __init__(self, arguments: RunnerArguments):
        self.arguments, self.runner = arguments, None

    def call(self, method: str, *given: Any) -> tuple[str, Any]:
        """Return the error and the result of a method of the runner."""
        try:
            self.runner = self.runner or BlockRunner(self.arguments)
            return "", getattr(self.runner, method)(*given)
        except (ValueError, OSError) as error:
            return format_error(error), None


class RayEngine:
    """Actors of Ray. One that dies is started again, and its calls are repeated once."""

    def __init__(self, arguments: RunnerArguments, count: int, address: str | None):
        self.count, self.ray = count, _import_ray()
        ray = self.ray
        try:
            ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
        except (ray.exceptions.RayError, ConnectionError, RuntimeError, ValueError) as error:
            raise ValueError(f"Ray cannot be reached at {address or 'this machine'}: {error}") from None
        nodes = [
            [int(node["Resources"].get(name, 0)) for name in ("CPU", "GPU")] for node in ray.nodes() if node["Alive"]
        ]
        cores, gpus = sum(node[0] for node in nodes), sum(node[1] for node in nodes)
        if count > cores or (arguments.device.startswith("cuda") and count > gpus):
            raise ValueError(f"--processes is {count}, but Ray has {cores} cores and {gpus} GPUs: each needs one")
        share = max(size for size in range(1, cores + 1) if sum(node[0] // size for node in nodes) >= count)
        gpu = int(arguments.device != "cpu" and count <= gpus)
        remote: Any = ray.remote(num_cpus=share, num_gpus=gpu, max_restarts=-1, max_task_retries=1)(Actor)
        self.actors: list[Any] = [remote.remote(arguments) for _ in range(count)]
        self.calls: list[list[Future[Any]]] = [[] for _ in self.actors]
        ready, missing = ray.wait(
            [actor.__ray_ready__.remote() for actor in self.actors], num_returns=count, timeout=120
        )
        if missing:
            raise ValueError(f"Ray started {len(ready)} of {count} actors in 2 minutes: its other cores are in use")
        for actor in self.actors:
            actor.call.remote("describe")  # all load the model at once

    def call(self, method: str, *arguments: Any) -> Future[Any]:
        """Call a method of `BlockRunner` in the actor that has the fewest calls to answer."""
        self.calls = [[one for one in calls if not one.done()] for calls in self.calls]
        calls, actor = min(zip(self.calls, self.actors, strict=True), key=lambda pair: len(pair[0]))
        calls.append(future := Future())
        actor.call.remote(method, *arguments).future().add_done_callback(lambda reply: self._pass_on(reply, future))
        return future

    def close(self) -> None:
        """End all actors, and Ray if it was started here."""
        self.ray.shutdown()

    def _pass_on(self, reply: Any, future: Future[Any]) -> None:
        try:
            error, value = reply.result()
        except self.ray.exceptions.RayActorError:
            error, value = "an actor of Ray ended twice in the calls that it had (see the logs of Ray)", None
        except Exception as problem:  # it belongs to the call, whatever it is
            return future.set_exception(problem)
        return future.set_exception(ValueError(error)) if error else future.set_result(value)


def _import_ray() -> Any:
    try:
        import ray  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ValueError(f"--engine ray needs Ray ({error}): pip install 'triberta[ray]'") from None
    return ray

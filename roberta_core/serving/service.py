"""Runs requests on the pipelines: admission, threads, batches, deadlines, warm-up."""

import asyncio
import copy
import functools
import logging
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

from roberta_core.interface import REQUEST, use_interface
from roberta_core.pipelines.base import Pipeline, RowError, advise_truncation
from roberta_core.serving.batcher import Call, CallDropped, ModelFailure
from roberta_core.serving.metrics import Metrics
from roberta_core.serving.models import Network, ServedModel, Target
from roberta_core.serving.problems import Problem, report_busy
from roberta_core.serving.settings import ServerSettings
from roberta_core.serving.turns import Turns
from roberta_core.tasks.features import Feature, Output

logger = logging.getLogger(__name__)

LONGEST_RETRY = 60  # seconds that Retry-After says at most
# How many numbers, or tokens of text, a row adds to an answer, where that can be much more than the row has tokens.
ANSWER_SIZES: dict[str, Callable[[Pipeline, Feature, Mapping[str, Any]], int]] = {
    "feature-extraction": lambda pipeline, row, options: row.length() * pipeline.config.hidden_size,
    "fill-mask": lambda pipeline, row, options: row.length() * len(row.notes) * options["top_k"],
}
# Inputs that warm up a task, as functions of the tokenizer.
SAMPLES: dict[str, Callable[[Any], Any]] = {
    "fill-mask": lambda tokenizer: f"She opened the{tokenizer.mask_token} and went in.",
    "question-answering": lambda tokenizer: {"question": "Who?", "context": "She opened the door."},
    "multiple-choice": lambda tokenizer: {"context": "She opened", "choices": ["the door.", "the window."]},
    "text-ranking": lambda tokenizer: {"query": "door", "documents": ["She opened the door."]},
}
SAMPLE_OPTIONS = {
    "zero-shot-classification": {"candidate_labels": ["door"]},
    "text-generation": {"max_new_tokens": 2},
}


class Service:
    """The models of a server and how requests run on them.

    Args:
        models: the models; where a request names none, the first that serves the task.
        settings: the limits.
        turns: what the models' batchers share.
        metrics: the counters.
    """

    def __init__(self, models: Sequence[ServedModel], settings: ServerSettings, turns: Turns, metrics: Metrics):
        self.models = {model.name: model for model in models}
        self.settings, self.turns, self.metrics = settings, turns, metrics
        self.ready = self.draining = False
        self.failure = ""  # why warming up failed
        self.accepted = self.answered = 0
        self.held = 0  # bytes of the bodies of requests that are not answered yet

    @property
    def networks(self) -> list[Network]:
        """All networks, each once."""
        found = [target.network for model in self.models.values() for target in model.targets.values()]
        return list(dict.fromkeys(found))

    def start(self) -> None:
        """Start the worker threads."""
        for network in self.networks:
            network.batcher.start()

    def close(self) -> None:
        """End all threads, once what waits has run."""
        for network in self.networks:
            network.close()

    async def warm_up(self) -> None:
        """Run every task once, since frameworks compile and reserve memory on the first call; then be ready."""
        for model in self.models.values():
            for task, target in model.targets.items():
                sample = SAMPLES.get(task, lambda tokenizer: "She opened the door.")(model.tokenizer)
                await self.run(target, [sample], SAMPLE_OPTIONS.get(task, {}))
        self.ready = True

    def find_model(self, name: str | None) -> ServedModel:
        """Return the model of a name, by default the first; raise `Problem` 404 if there is none."""
        if name is None:
            return next(iter(self.models.values()))
        if name not in self.models:
            detail = f"there is no model {name[:60]!r}; expected one of {', '.join(self.models)}"
            raise Problem(404, detail, field="model")
        return self.models[name]

    def find(self, task: str, name: str | None) -> Target:
        """Return the task of a model; raise `Problem` 404 if the model, or no model, serves it."""
        candidates = list(self.models.values()) if name is None else [self.find_model(name)]
        for model in candidates:
            if task in model.targets:
                return model.targets[task]
        served = "; ".join(f"{model.name} serves {', '.join(model.targets)}" for model in candidates)
        raise Problem(404, f"{task} is not served: {served}", field=None if name is None else "model")

    async def run(self, target: Target, items: Sequence[Any], options: Mapping[str, Any], **more: Any) -> list[Any]:
        """Return the pipeline's result of each input; the arguments are those of `run_counted`."""
        results, _ = await self.run_counted(target, items, options, **more)
        return results

    async def run_counted(
        self,
        target: Target,
        items: Sequence[Any],
        options: Mapping[str, Any],
        *,
        field: str = "inputs",
        count: int | None = None,
        decode: Callable[..., Any] | None = None,
    ) -> tuple[list[Any], int]:
        """Return the pipeline's result of each input, and the number of tokens that the inputs have.

        Args:
            target: the task.
            items: the inputs.
            options: call options of the pipeline.
            field: where in the request's body the inputs are.
            count: as how many inputs they count; by default their number.
            decode: takes the place of the pipeline's `decode`.

        Raises:
            Problem: an input or an option has a wrong value, there are too many rows, or the queue is full.
            ModelFailure: the model failed.
        """

        def work(call: Call) -> tuple[list[Any], int]:
            pipeline = self._bind(call, target)
            if decode is not None:
                pipeline.decode = decode
            with use_interface(REQUEST):
                return self._predict(call, target, pipeline, items, options, field), call.tokens

        return await self.execute(target.network, len(items) if count is None else count, work)

    @contextmanager
    def hold_bytes(self) -> Iterator[Callable[[int], None]]:
        """Count the bytes of a body until its request is answered.

        Yields:
            A function that takes the size of a part; it raises `Problem` 429 if all bodies together are too large.
        """
        own = 0

        def add(size: int) -> None:
            nonlocal own
            own += size
            self.held += size
            if self.held > self.settings.max_held:
                most = self.settings.max_held
                raise report_busy(f"the bodies of all requests have more than {most} bytes", 1, most)

        try:
            yield add
        finally:
            self.held -= own

    async def execute(self, network: Network, inputs: int, work: Callable[[Call], Any]) -> Any:
        """Run a function of a request in one of the network's threads.

        If the awaiting task is cancelled, the request is given up; the message of the cancellation is the reason.
        """
        with self._admit(network, inputs):
            call = Call()
            try:
                loop = asyncio.get_running_loop()
                return await loop.run_in_executor(network.pool, functools.partial(work, call))
            except asyncio.CancelledError as error:
                call.drop(str(error.args[0]) if error.args else "cancelled")
                raise

    @contextmanager
    def _admit(self, network: Network, inputs: int) -> Iterator[None]:
        most = self.settings.max_queue
        if network.waiting + inputs > most:
            seconds = min(LONGEST_RETRY, network.waiting * network.batcher.seconds_per_row)
            raise report_busy(f"{network.waiting} inputs wait; at most {most} may", seconds, most)
        network.waiting += inputs
        self.metrics.queue.labels(network.name).set(network.waiting)
        try:
            yield
        finally:
            network.waiting -= inputs
            self.metrics.queue.labels(network.name).set(network.waiting)

    def _predict(
        self,
        call: Call,
        target: Target,
        pipeline: Pipeline,
        items: Sequence[Any],
        options: Mapping[str, Any],
        field: str,
    ) -> list[Any]:
        try:
            resolved = {**pipeline.settings, **options}
            pipeline.check_options(resolved)
            if pipeline.task == "text-generation":
                results = self._generate(call, target, pipeline, items, resolved)
            else:
                results = list(pipeline.stream(items, resolved, keep_errors=True))
        except ValueError as error:
            first = str(error).split(" ")[0].split("=")[0]
            raise report_value(str(error), first if first in options else None) from error
        for place, result in enumerate(results):
            if isinstance(result, RowError):
                raise report_value(result.reason, f"{field}[{place}]" if len(items) > 1 else field)
        return results

    def _bind(self, call: Call, target: Target) -> Pipeline:
        """Return the pipeline of one request: its rows run in the shared batches."""
        pipeline = copy.copy(target.pipeline)
        model, inner = self.models[target.model], pipeline.build_features

        def build_features(inputs: Sequence[Any], options: Mapping[str, Any]) -> list[Feature]:
            call.check()
            with model.lock:
                if all(not _is_ids(item) for item in inputs):
                    return inner(inputs, options)
                return [
                    replace(row, example=number)
                    for number, item in enumerate(inputs)
                    for row in ([_frame(pipeline, item, options)] if _is_ids(item) else inner([item], options))
                ]

        def run(features: Sequence[Feature], options: Mapping[str, Any]) -> list[Output]:
            self._check_size(pipeline, features, options)
            call.tokens += sum(feature.tokens() for feature in features)
            return target.network.batcher.run(
                call, features, lambda feature, output: pipeline.keep(feature, output, options)
            )

        pipeline.build_features, pipeline.run = build_features, run
        return pipeline

    def _check_size(self, pipeline: Pipeline, features: Sequence[Feature], options: Mapping[str, Any]) -> None:
        most = self.settings.max_rows
        if len(features) > most:
            detail = f"the inputs need {len(features)} rows of the model; at most {most} are accepted in a request"
            raise Problem(413, detail, limit=most)
        size = ANSWER_SIZES.get(pipeline.task)
        numbers = sum(size(pipeline, feature, options) for feature in features) if size else 0
        if numbers > self.settings.max_numbers:
            detail = f"the answer would have {numbers} values; at most {self.settings.max_numbers} are returned"
            raise Problem(413, detail, limit=self.settings.max_numbers)

    def _generate(
        self, call: Call, target: Target, pipeline: Pipeline, items: Sequence[Any], options: Mapping[str, Any]
    ) -> list[Any]:
        """Return continuations; between two tokens other networks have a turn, and a request that was given up ends."""
        name, listener = target.network.name, options.get("streamer")

        def step(tokens: Any) -> None:
            call.check()
            if listener is not None:
                listener(tokens)
            self.turns.give_way(name)

        results = []
        for item in items:
            call.check()
            with self.turns.take(name):
                try:
                    results += list(pipeline.stream([item], {**options, "streamer": step}, keep_errors=True))
                except (CallDropped, ValueError):
                    raise
                except BaseException as error:  # a library in Rust or C++ raises its own kind
                    logger.exception("The model %s failed while generating", name)
                    self.metrics.failures.labels(name).inc()
                    raise ModelFailure from error
        return results


def report_value(reason: str, field: str | None = None) -> Problem:
    """Return the answer to an input or option that the pipeline refuses."""
    limit = re.search(r"at most (\d+)", reason)
    return Problem(413 if limit else 422, reason, field=field, limit=int(limit[1]) if limit else None)


def _is_ids(item: Any) -> bool:
    return isinstance(item, list)


def _frame(pipeline: Pipeline, ids: list[int], options: Mapping[str, Any]) -> Feature:
    """Return the row of token ids, framed by `<s>` and `</s>` unless they are already."""
    tokenizer, known = pipeline.tokenizer, pipeline.config.vocab_size
    for token in ids:
        if token >= known:
            raise ValueError(f"a token id is {token}, but the vocabulary has {known} entries")
    framed = len(ids) > 1 and (ids[0], ids[-1]) == (tokenizer.cls_token_id, tokenizer.sep_token_id)
    bare = ids[1:-1] if framed else ids
    room = pipeline.length - tokenizer.num_special_tokens_to_add()
    if len(bare) > room and not options["truncation"]:
        raise ValueError(
            f"a list has {len(bare)} token ids, but the model accepts at most {room}: "
            f"shorten it, or {advise_truncation()}"
        )
    return Feature(tokenizer.build_inputs_with_special_tokens(bare[:room]), {}, 0)

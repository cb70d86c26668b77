"""The models of a server: which tasks a checkpoint is served for, and the networks that its pipelines share."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roberta_core.backend import Backend
from roberta_core.checkpoints import resolve
from roberta_core.checkpoints.exported import find_graph
from roberta_core.config import RobertaConfig
from roberta_core.pipelines import ALIASES, PIPELINES, WANTS, Pipeline, check_framework, load_model
from roberta_core.sentences import find_encoder
from roberta_core.sentences.folders import MODULES
from roberta_core.serving.batcher import Batcher
from roberta_core.serving.metrics import Metrics
from roberta_core.serving.settings import ServerSettings
from roberta_core.serving.turns import Turns
from roberta_core.tasks.heads import require_head
from roberta_core.tokenization import load_tokenizer

THREADS = 64  # requests of a network that are tokenized, run and decoded at a time; further ones wait

# The tasks that a checkpoint is served for, by the class that its config.json names.
TASKS = {
    "ForMaskedLM": ("fill-mask", "sentence-embedding", "feature-extraction"),
    "Model": ("sentence-embedding", "feature-extraction"),
    "ForSequenceClassification": ("text-classification", "zero-shot-classification", "text-ranking"),
    "ForTokenClassification": ("token-classification",),
    "ForQuestionAnswering": ("question-answering",),
    "ForMultipleChoice": ("multiple-choice",),
    "ForCausalLM": ("text-generation",),
}
# Tasks that only some checkpoints of that class are fine-tuned for.
SUITS: dict[str, Callable[[RobertaConfig], bool]] = {
    "zero-shot-classification": lambda config: any(
        label.lower().startswith("entail") for label in config.id2label.values()
    ),
    "text-ranking": lambda config: config.num_labels == 1,
}

LABELLED = ("text-classification", "zero-shot-classification", "text-ranking", "token-classification")


class Network:
    """A framework's own model with its queue, its worker thread, and the threads of its requests."""

    def __init__(self, batcher: Batcher):
        self.batcher = batcher
        self.waiting = 0  # inputs of requests that are not answered yet
        self.pool = ThreadPoolExecutor(THREADS, thread_name_prefix=batcher.name)

    @property
    def name(self) -> str:
        """The model's name with the class of the network."""
        return self.batcher.name

    def close(self) -> None:
        """End its threads, once what waits has run."""
        self.pool.shutdown()
        self.batcher.close()


@dataclass(frozen=True)
class Target:
    """A task of a model: the pipeline and the network that runs it."""

    model: str
    pipeline: Pipeline
    network: Network


@dataclass
class ServedModel:
    """A checkpoint and its tasks.

    Args:
        name: the name by which requests select it.
        tokenizer: its tokenizer.
        config: its configuration.
        targets: its tasks.
        lock: held while the tokenizer is used.
    """

    name: str
    tokenizer: Any
    config: RobertaConfig
    targets: dict[str, Target]
    lock: Any = field(default_factory=threading.Lock)

    @property
    def length(self) -> int:
        """The most tokens of a row."""
        return next(iter(self.targets.values())).pipeline.length

    @property
    def backend(self) -> Backend:
        """The framework."""
        return next(iter(self.targets.values())).pipeline.backend

    def has_labels(self) -> bool:
        """Whether it was fine-tuned for labels."""
        return any(task in self.targets for task in LABELLED)


def parse_sources(sources: Sequence[str]) -> dict[str, str]:
    """Return name -> checkpoint of arguments such as `roberta-tiny`, `./my-model` or `NAME=./my-model`.

    Raises:
        ValueError: two models have the same name.
    """
    found: dict[str, str] = {}
    for source in sources:
        name, equals, place = source.partition("=")
        if not equals or Path(source).exists():
            name, place = (Path(source).resolve().name if Path(source).exists() else source), source
        if not name or not place:
            raise ValueError(f"{source!r} is not a model: specify MODEL or NAME=MODEL")
        if name in found:
            raise ValueError(
                f"two models would be called {name}, the last part of their paths: write NAME={place} for one of them"
            )
        found[name] = place
    return found


def parse_tasks(names: str) -> tuple[str, ...]:
    """Return the tasks of a list with commas; raise `ValueError` for one that is unknown."""
    tasks = tuple(ALIASES.get(name.strip(), name.strip()) for name in names.split(",") if name.strip())
    unknown = [task for task in tasks if task not in PIPELINES]
    if unknown or not tasks:
        raise ValueError(
            f"there is no task {', '.join(map(repr, unknown or [names]))}; expected one of {', '.join(PIPELINES)}"
        )
    return tasks


def choose_tasks(
    config: RobertaConfig, source: str, requested: Sequence[str] = (), *, embeds: bool = False
) -> tuple[str, ...]:
    """Return the tasks that a checkpoint is served for: the requested ones that its class has, by default all.

    Args:
        config: its configuration.
        source: the checkpoint, for the message.
        requested: tasks; empty for all.
        embeds: whether it is a sentence-transformers model, which is served for embeddings by default.

    Raises:
        ValueError: there is none.
    """
    named = (config.architectures or [""])[0]
    found = re.search(r"(Model|For[A-Za-z]+)$", named)
    known = TASKS.get(found[1], ()) if found else ()
    if requested:
        tasks = tuple(task for task in requested if task in known or not known or (embeds and task in TASKS["Model"]))
    elif embeds:
        tasks = TASKS["Model"]
    else:
        tasks = tuple(task for task in known if task not in SUITS or SUITS[task](config))
    if not tasks:
        reason = f"its config.json names {named}" if named else "its config.json names no architecture"
        raise ValueError(
            f"{source} serves no task: {reason}; the known classes are {', '.join(TASKS)}, with any prefix"
        )
    return tasks


def load_served(
    name: str,
    source: str,
    backend: Backend,
    settings: ServerSettings,
    turns: Turns,
    metrics: Metrics,
    tasks: Sequence[str] = (),
) -> ServedModel:
    """Load a checkpoint with the networks of its tasks.

    Raises:
        ValueError: the checkpoint serves none of the tasks, or lacks a head.
        OSError: the checkpoint cannot be read.
    """
    outer = resolve(source, WANTS)
    inner = find_encoder(outer)
    config = RobertaConfig.from_pretrained(inner)
    networks: dict[Any, Any] = {}
    tokenizers: dict[Path, Any] = {}
    pipelines: dict[str, Pipeline] = {}
    chosen = choose_tasks(config, source, tasks, embeds=(outer / MODULES).is_file())
    if not tasks and find_graph(inner):  # it has the head of one class, and no other outputs
        chosen = tuple(task for task in chosen if PIPELINES[task].architecture == PIPELINES[chosen[0]].architecture)
    for task in chosen:
        check_framework(task, backend.name)
        kind = PIPELINES[task]
        folder, found = kind.read_folder(outer)
        folder = inner if folder == outer else folder
        require_head(source if folder == outer else folder, kind.architecture, task)
        if (kind.architecture, folder) not in networks:
            networks[kind.architecture, folder] = load_model(backend, kind.architecture, folder)
            tokenizers.setdefault(folder, load_tokenizer(folder))
        model, budget = networks[kind.architecture, folder], settings.max_batch_tokens
        pipelines[task] = kind(backend, model, tokenizers[folder], budget=budget, **found)
    return build_served(name, pipelines, settings, turns, metrics)


def build_served(
    name: str, pipelines: Mapping[str, Pipeline], settings: ServerSettings, turns: Turns, metrics: Metrics
) -> ServedModel:
    """Return a model over pipelines; those with the same framework model share a queue."""
    networks: dict[int, Network] = {}
    targets = {}
    for task, pipeline in pipelines.items():
        if id(pipeline.model) not in networks:
            batcher = Batcher(
                f"{name}:{pipeline.architecture}", pipeline.backend, pipeline.model, pipeline.tokenizer.pad_token_id,
                settings.max_batch_tokens, turns, metrics,
            )  # fmt: skip
            networks[id(pipeline.model)] = Network(batcher)
        targets[task] = Target(name, pipeline, networks[id(pipeline.model)])
    first = next(iter(pipelines.values()))
    return ServedModel(name, first.tokenizer, first.config, targets)

"""`pipeline(task, model)`: a task of a fine-tuned model, from texts to results, in any framework.

Task names, call options and results are those of transformers 4.57.6; docs/differences.md lists what is different.
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from roberta_core import backend as backends
from roberta_core.checkpoints import hub, resolve
from roberta_core.pipelines.base import Pipeline
from roberta_core.pipelines.choices import MultipleChoicePipeline, TextRankingPipeline
from roberta_core.pipelines.embeddings import FeatureExtractionPipeline, SentenceEmbeddingPipeline
from roberta_core.pipelines.fill_mask import FillMaskPipeline
from roberta_core.pipelines.question_answering import QuestionAnsweringPipeline
from roberta_core.pipelines.text_classification import TextClassificationPipeline
from roberta_core.pipelines.text_generation import TextGenerationPipeline
from roberta_core.pipelines.token_classification import TokenClassificationPipeline
from roberta_core.pipelines.zero_shot_classification import ZeroShotClassificationPipeline
from roberta_core.tasks.heads import require_head
from roberta_core.tokenization import load_tokenizer

PIPELINES: dict[str, type[Pipeline]] = {
    kind.task: kind
    for kind in (
        FillMaskPipeline,
        TextClassificationPipeline,
        TokenClassificationPipeline,
        QuestionAnsweringPipeline,
        MultipleChoicePipeline,
        FeatureExtractionPipeline,
        SentenceEmbeddingPipeline,
        TextRankingPipeline,
        ZeroShotClassificationPipeline,
        TextGenerationPipeline,
    )
}
ALIASES = {
    "classification": "text-classification",  # as `roberta finetune` calls it
    "tagging": "token-classification",
    "sentiment-analysis": "text-classification",
    "ner": "token-classification",
}
WANTS = ("config", "weights", "tokenizer", "sentence")  # what a pipeline needs of a repository on the Hub
HARMLESS = ("trust_remote_code", "use_fast", "feature_extractor", "image_processor", "processor")

__all__ = ["ALIASES", "PIPELINES", "Pipeline", "pipeline"]


def pipeline(
    task: str,
    model: Any,
    tokenizer: Any = None,
    framework: str | None = None,
    *,
    device: Any = None,
    dtype: Any = None,
    model_kwargs: dict[str, Any] | None = None,
    **settings: Any,
) -> Pipeline:
    """Return the pipeline of a task.

    Args:
        task: one of `PIPELINES`, or "sentiment-analysis" or "ner".
        model: a folder with a checkpoint, an embedded name, a Hub id, or a model of one of the packages. A model
            that is loaded here is frozen: the pipeline's `model` is the view `model.frozen()`.
        tokenizer: a tokenizer or where to load it from; by default the model's own.
        framework: "pt", "tf", "flax", "onnx" or "openvino"; by default the first that is installed, or that of the
            model.
        device: "auto" (the default: an accelerator if the framework sees one), "cpu", "cuda", "cuda:N" or "mps"; a
            number is that of a GPU, and -1 is the CPU.
        dtype: type of the parameters, as the framework's `from_pretrained` takes it.
        model_kwargs: further arguments of `from_pretrained`, such as `revision`.
        settings: call options of the task that hold for every call, and `budget`, the tokens per batch.

    Raises:
        ValueError: the task or framework is unknown, or the checkpoint lacks the task's head.
        TypeError: a setting is not an option of the task.

    Example:
        >>> from roberta_core import pipeline
        >>> fill = pipeline("fill-mask", model="roberta-tiny")
        >>> fill("She opened the<mask> and went in.")[0]["token_str"]
        ' door'
    """
    name = ALIASES.get(task, task)
    if name not in PIPELINES:
        raise ValueError(f"task is {task!r}; expected one of {', '.join((*PIPELINES, *ALIASES))}")
    kind = PIPELINES[name]
    settings = {key: value for key, value in settings.items() if key not in HARMLESS}
    if isinstance(model, str | os.PathLike):
        framework = framework or backends.find_default()
        check_framework(name, framework)
        arguments = ({} if dtype is None else {"dtype": dtype}) | (model_kwargs or {})
        return load_pipeline(
            kind,
            lambda: backends.load(framework, _name_device(device)),
            model,
            tokenizer,
            arguments,
            **settings,
        )
    if device is not None or dtype is not None:
        raise ValueError("device and dtype are for models that are loaded here: move or cast yours before")
    backend = backends.load(framework or _framework_of(model))
    return kind(backend, model, _load_tokenizer(tokenizer, getattr(model, "_folder", None)), **settings)


def check_framework(task: str, framework: str) -> None:
    """Raise `BackendError` if a framework cannot run the pipeline of a task: some cannot generate text."""
    if PIPELINES[task].architecture == "ForCausalLM":
        backends.refuse_inference_only(framework, "generate text")


def load_pipeline(
    kind: type[Pipeline],
    load_backend: Callable[[], backends.Backend],
    source: str | os.PathLike[str],
    tokenizer: Any = None,
    arguments: Mapping[str, Any] | None = None,
    **settings: Any,
) -> Pipeline:
    """Return a pipeline of a checkpoint and of what its folder says about the task.

    Args:
        kind: the class of the pipeline.
        load_backend: loads the framework, after the checkpoint was checked.
        source: a folder, an embedded name or a Hub id.
        tokenizer: a tokenizer or where to load it from; by default the checkpoint's own.
        arguments: further arguments of `from_pretrained`.
        settings: arguments of the pipeline.

    Raises:
        ValueError: the checkpoint lacks the task's head.
        CheckpointError: a file is broken, or has a setting that is not supported.
    """
    arguments = dict(arguments or {})
    where = hub.pop_options(arguments)
    outer = resolve(source, WANTS, **where)
    folder, found = kind.read_folder(outer)
    if folder == outer:
        require_head(source, kind.architecture, kind.task, **where)
    else:
        require_head(folder, kind.architecture, kind.task)
    backend = load_backend()
    model = load_model(backend, kind.architecture, folder, **arguments)
    return kind(backend, model, _load_tokenizer(tokenizer, folder), **{**found, **settings})


def load_model(backend: backends.Backend, architecture: str, source: Any, **arguments: Any) -> Any:
    """Return a framework's frozen model for a pipeline; `require_head` has checked that the checkpoint has its head."""
    if architecture == "Model":
        arguments["add_pooling_layer"] = False
    model = backend.from_pretrained(architecture, source, **arguments)
    freeze = getattr(backend, "freeze", None)  # a user's own framework may have none
    return model if freeze is None else freeze(model)


def _name_device(device: Any) -> str:
    """Return a device by the name that backends take."""
    if isinstance(device, int):
        return "cpu" if device < 0 else f"cuda:{device}"
    return "auto" if device is None else str(device)


def _load_tokenizer(tokenizer: Any, folder: Any) -> Any:
    if tokenizer is not None and not isinstance(tokenizer, str | os.PathLike):
        return tokenizer
    if tokenizer is None and folder is None:
        raise ValueError("the model was not loaded from a folder: pass its tokenizer")
    return load_tokenizer(tokenizer or folder)


def _framework_of(model: Any) -> str:
    """Return the backend that a model names, or whose package its class, or one of its bases, comes from."""
    if getattr(model, "backend_name", None) in backends.registered():
        return model.backend_name  # one package has two backends
    packages = {point.module.partition(".")[0]: name for name, point in backends.registered().items()}
    for base in type(model).__mro__:
        if name := packages.get(base.__module__.partition(".")[0]):
            return name
    raise ValueError(f"model is {type(model).__name__}, not a model of {', '.join(packages)}, a folder or a name")

"""Decoding, once for all frameworks: greedy, sampling and beam search over a model's forward pass."""

from roberta_core.generation.callbacks import wrap_callbacks
from roberta_core.generation.decoder import CachedDecoder, Forward, PlainDecoder, choose_prompt, run
from roberta_core.generation.search import Decoder, generate
from roberta_core.generation.settings import Settings, add_model_defaults, is_output_requested

__all__ = [
    "CachedDecoder",
    "Decoder",
    "Forward",
    "PlainDecoder",
    "Settings",
    "add_model_defaults",
    "choose_prompt",
    "generate",
    "is_output_requested",
    "run",
    "wrap_callbacks",
]

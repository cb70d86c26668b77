"""Sentence-transformers models: what follows the encoder, and the folders that describe it.

`read_modules` turns a folder's files into a `SentenceModules`, and `read_cross_encoder` into a `CrossEncoder`: both are
plain data with NumPy functions, so every framework computes vectors and scores with the same code. A pipeline runs the
encoder in its framework and passes the hidden states of a text to `SentenceModules.embed`. `save_modules` writes the
same files, which sentence-transformers opens.
"""

from roberta_core.sentences.cross_encoder import CrossEncoder, read_cross_encoder, save_cross_encoder
from roberta_core.sentences.folders import find_encoder, read_modules, save_modules
from roberta_core.sentences.modules import POOLINGS, SIMILARITIES, Dense, Normalize, Pooling, SentenceModules, lower

__all__ = [
    "POOLINGS",
    "SIMILARITIES",
    "CrossEncoder",
    "Dense",
    "Normalize",
    "Pooling",
    "SentenceModules",
    "find_encoder",
    "lower",
    "read_cross_encoder",
    "read_modules",
    "save_cross_encoder",
    "save_modules",
]

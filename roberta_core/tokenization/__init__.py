"""RoBERTa's byte-level BPE: encoding and decoding text, and training a new vocabulary."""

from roberta_core.tokenization.batch_encoding import BatchEncoding
from roberta_core.tokenization.fast import RobertaTokenizerFast
from roberta_core.tokenization.loading import load_tokenizer
from roberta_core.tokenization.readable import RobertaTokenizer
from roberta_core.tokenization.training import train_tokenizer
from roberta_core.tokenization.whole import TokenizerFast

__all__ = [
    "BatchEncoding",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "TokenizerFast",
    "load_tokenizer",
    "train_tokenizer",
]

"""RoBERTa's byte-level BPE: encoding and decoding text, and training a new vocabulary."""

from roberta_core.tokenization.batch_encoding import BatchEncoding
from roberta_core.tokenization.roberta_tokenizer import RobertaTokenizer
from roberta_core.tokenization.roberta_tokenizer_fast import RobertaTokenizerFast
from roberta_core.tokenization.tokenizer_fast import TokenizerFast, load_tokenizer
from roberta_core.tokenization.training import train_tokenizer

__all__ = [
    "BatchEncoding",
    "RobertaTokenizer",
    "RobertaTokenizerFast",
    "TokenizerFast",
    "load_tokenizer",
    "train_tokenizer",
]

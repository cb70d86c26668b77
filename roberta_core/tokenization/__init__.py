"""RoBERTa's byte-level BPE: encoding and decoding text, and training a new vocabulary."""

from roberta_core.tokenization.training import train_tokenizer

__all__ = ["train_tokenizer"]

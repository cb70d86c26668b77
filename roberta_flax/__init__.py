"""RoBERTa in JAX (Flax NNX)."""

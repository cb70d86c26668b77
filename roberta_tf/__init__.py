"""RoBERTa in TensorFlow (Keras 3)."""

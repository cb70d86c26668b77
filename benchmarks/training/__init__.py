"""Time of a training step in each framework, compared with transformers."""

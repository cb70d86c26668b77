"""Faults: wrong models, gradients, training steps and decoders that the suite must catch."""

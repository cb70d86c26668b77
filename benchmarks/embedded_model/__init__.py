"""Pretraining of the embedded model, and baselines to compare it with."""

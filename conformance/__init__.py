"""The conformance suite: compares every implementation with one float64 model."""

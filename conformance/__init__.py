"""The conformance suite: every implementation measured against one float64 model."""

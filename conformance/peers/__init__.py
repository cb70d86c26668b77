"""Other implementations, judged by the suite: `python -m conformance.peers`."""

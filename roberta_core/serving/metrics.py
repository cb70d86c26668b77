"""What the server counts, for Prometheus."""

from typing import Any

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import choose_encoder

SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30)
ROWS = (1, 2, 4, 8, 16, 32, 64, 128, 256)


class Metrics:
    """The counters of one server; each server has a registry to itself."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        known: dict[str, Any] = {"registry": self.registry}
        self.requests = Counter("roberta_requests", "Answered requests.", ("route", "status"), **known)
        self.seconds = Histogram("roberta_request_seconds", "Time to answer.", ("route",), buckets=SECONDS, **known)
        self.active = Gauge("roberta_requests_active", "Accepted requests that are not answered yet.", **known)
        self.queue = Gauge("roberta_queue_inputs", "Inputs that wait or run.", ("network",), **known)
        self.batches = Histogram("roberta_batch_rows", "Rows per batch.", ("network",), buckets=ROWS, **known)
        self.compute = Counter("roberta_compute_seconds", "Time in the model.", ("network",), **known)
        self.tokens = Counter("roberta_tokens", "Tokens run, without padding.", ("network",), **known)
        self.padding = Counter("roberta_padding_tokens", "Padding run.", ("network",), **known)
        self.skipped = Counter(
            "roberta_rows_skipped", "Rows not run, since their request had ended.", ("network", "reason"), **known
        )
        self.failures = Counter("roberta_model_failures", "Batches in which the model failed.", ("network",), **known)

    def observe_batch(self, network: str, rows: int, tokens: int, padded: int, seconds: float) -> None:
        """Count a batch of `padded` tokens, of which `tokens` are not padding."""
        self.batches.labels(network).observe(rows)
        self.tokens.labels(network).inc(tokens)
        self.padding.labels(network).inc(padded - tokens)
        self.compute.labels(network).inc(seconds)

    def render(self, accept: str) -> tuple[bytes, str]:
        """Return the text of all counters and its content type, in a format that the client accepts."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

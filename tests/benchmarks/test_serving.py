"""The load script against a server over stub models."""

import signal
import threading

from roberta_core.serving.server import Server


def test_load_is_counted_with_its_latencies(serving):
    from benchmarks.serving.__main__ import measure

    ready, urls = threading.Event(), []
    service = serving.build_service({"tiny": serving.build_pipelines("sentence-embedding")})
    server = Server(service, "127.0.0.1", 0, lambda url: (urls.append(url), ready.set()))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    assert ready.wait(20)
    found = measure(urls[0], "/v1/embeddings", ["a door", "it"], clients=3, seconds=0.2, model="tiny")
    wrong = measure(urls[0], "/fill-mask", ["a door"], clients=1, seconds=0.1, model="tiny")
    server.handle_exit(signal.SIGTERM, None)
    thread.join(20)
    assert (found["clients"], found["failures"]) == (3, 0)
    assert found["texts_per_second"] > 0
    assert 0 < found["p50_ms"] <= found["p95_ms"] <= found["p99_ms"]
    assert wrong["failures"] > 0

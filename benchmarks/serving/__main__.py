"""`python -m benchmarks.serving URL`: throughput and latencies of a running server under load.

Clients send one text at a time, of mixed lengths, and wait for the answer. To compare servers, start one after another
on the same machine, and measure each with the same options; `--in-process` measures the pipeline alone.
"""

from __future__ import annotations

import argparse
import http.client
import json
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np

from roberta_bench.report import describe_machine

WORDS = ("the", "old", "man", "opened", "a", "door", "and", "went", "into", "garden", "where", "it", "was", "cold")
LENGTHS = (4, 8, 12, 16, 24, 32, 48, 64, 96)  # words
COUNT = 512  # different texts
CHOICES = ["He opened the door.", "It was cold."]
BODIES: dict[str, Callable[[str], dict[str, Any]]] = {
    "/embed": lambda text: {"inputs": text},
    "/v1/embeddings": lambda text: {"input": text, "model": "model"},
    "/fill-mask": lambda text: {"inputs": f"{text}<mask>."},
    "/predict": lambda text: {"inputs": text},
    "/tag": lambda text: {"inputs": text},
    "/answer": lambda text: {"inputs": {"question": "Where was the old man?", "context": text}},
    "/choose": lambda text: {"inputs": {"context": text, "choices": CHOICES}},
}
TASKS = {
    "/embed": "sentence-embedding", "/v1/embeddings": "sentence-embedding", "/fill-mask": "fill-mask",
    "/predict": "text-classification", "/tag": "token-classification", "/answer": "question-answering",
    "/choose": "multiple-choice",
}  # fmt: skip


def draw_texts(seed: int) -> list[str]:
    """Return texts of mixed lengths."""
    generator = np.random.default_rng(seed)
    return [" ".join(generator.choice(WORDS, generator.choice(LENGTHS))) for _ in range(COUNT)]


def measure(url: str, route: str, texts: Sequence[str], clients: int, seconds: float, model: str) -> dict[str, Any]:
    """Return throughput and latencies of a number of clients, each with a connection of its own.

    Args:
        url: the server.
        route: a route in `BODIES`.
        texts: what is sent, by each client from another place on.
        clients: how many there are.
        seconds: how long they send.
        model: the name of the model, for OpenAI's route.
    """
    place, latencies, failures = urlsplit(url), [[] for _ in range(clients)], [0] * clients
    end = time.perf_counter() + seconds

    def send(number: int) -> None:
        connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=120)
        turn = number * len(texts) // clients
        while (begin := time.perf_counter()) < end:
            body = BODIES[route](texts[turn % len(texts)])
            body |= {"model": model} if "model" in body else {}
            connection.request("POST", route, json.dumps(body), {"Content-Type": "application/json"})
            response = connection.getresponse()
            response.read()
            if response.status == 200:
                latencies[number].append(time.perf_counter() - begin)
            else:
                failures[number] += 1
            turn += 1
        connection.close()

    threads = [threading.Thread(target=send, args=(number,)) for number in range(clients)]
    begin = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    took, found = time.perf_counter() - begin, np.concatenate(latencies)
    return {
        "clients": clients, "texts_per_second": len(found) / took, "failures": sum(failures),
        **{f"p{rank}_ms": float(np.percentile(found, rank)) * 1000 if len(found) else None for rank in (50, 95, 99)},
    }  # fmt: skip


def measure_pipeline(model: str, framework: str | None, route: str, texts: Sequence[str], seconds: float) -> float:
    """Return the texts per second of the pipeline in this process, over lists of all texts."""
    from roberta_core import pipeline

    body = BODIES[route]
    inputs = [body(text).get("inputs", text) for text in texts]
    predict = pipeline(TASKS[route], model, framework=framework)
    predict(inputs[:64])
    begin, done = time.perf_counter(), 0
    while time.perf_counter() - begin < seconds:
        predict(inputs)
        done += len(inputs)
    return done / (time.perf_counter() - begin)


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a table, or write JSON."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.serving", description=__doc__)
    parser.add_argument("url", help="the server, such as http://127.0.0.1:8000")
    parser.add_argument("--route", choices=BODIES, default="/embed", help="(%(default)s)")
    parser.add_argument("--model", default="roberta-tiny", help="its name, also for --in-process (%(default)s)")
    parser.add_argument("--clients", default="1,8,32", help="numbers of clients (%(default)s)")
    parser.add_argument("--seconds", type=float, default=30, help="for each number of clients (%(default)s)")
    parser.add_argument("--in-process", action="store_true", help="measure the pipeline in this process too")
    parser.add_argument("--framework", help="of --in-process")
    parser.add_argument("--json-file", type=Path, help="write JSON to this file")
    options = parser.parse_args(arguments)
    texts, report = draw_texts(0), {"machine": describe_machine(), "route": options.route, "results": []}
    print(f"{'clients':>8} {'texts/s':>9} {'p50 ms':>8} {'p95 ms':>8} {'p99 ms':>8} {'failures':>9}")
    for clients in map(int, options.clients.split(",")):
        found = measure(options.url, options.route, texts, clients, options.seconds, options.model)
        report["results"].append(found)
        times = " ".join(f"{found[name] or 0:8.1f}" for name in ("p50_ms", "p95_ms", "p99_ms"))
        print(f"{clients:8} {found['texts_per_second']:9.1f} {times} {found['failures']:9}")
    if options.in_process:
        rate = measure_pipeline(options.model, options.framework, options.route, texts, options.seconds)
        report["in_process_texts_per_second"] = rate
        print(f"the pipeline in this process: {rate:.1f} texts/s")
    if options.json_file:
        options.json_file.write_text(json.dumps(report, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Stress the server over stub models: `python tests/core/stress_server.py fuzz 10000` or `... kill 20`.

`fuzz` sends malformed requests from 8 clients and reports the statuses, the slowest answer and the server's memory.
`kill` sends SIGTERM under load, again and again, and reports the accepted requests that were not answered.
"""

import argparse
import http.client
import json
import random
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

CLIENTS = 8
TASKS = ("fill-mask", "sentence-embedding", "feature-extraction", "token-classification", "question-answering")
BODIES = {
    "/embed": {"inputs": ["a door", [5, 6]], "normalize": True},
    "/embed_all": {"inputs": "a door"},
    "/fill-mask": {"inputs": "a<mask>", "top_k": 3},
    "/tag": {"inputs": ["a door", "b"]},
    "/answer": {"inputs": {"question": "who?", "context": "a door and a window"}},
    "/tokenize": {"inputs": "a door"},
    "/decode": {"ids": [[5, 6]]},
    "/similarity": {"inputs": {"source_sentence": "a", "sentences": ["b"]}},
    "/v1/embeddings": {"input": "a", "encoding_format": "base64"},
}
WRONG = (
    None,
    True,
    -1,
    1.5,
    10**30,
    10**400,
    "",
    "a" * 300_000,
    "\ud800",
    [],
    [[]],
    [[[[]]]],
    {},
    {"inputs": {}},
    ["a"] * 500,
)
NESTED = (
    "[" * 200_000,
    '{"inputs":' * 50_000,
    '{"inputs": NaN}',
    '{"inputs": 1e999}',
    '{"inputs": "a", "inputs": "b"}',
)


def serve() -> None:
    """Run a server in this process until it gets a signal."""
    sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
    import serving_client

    from roberta_core.serving.server import serve as run

    service = serving_client.build_service({"tiny": serving_client.build_pipelines(*TASKS)}, read_timeout=2.0)
    run(service, "127.0.0.1", 0, lambda url: print(url, flush=True))
    print(f"stopped: {service.accepted} {service.answered}", flush=True)


class Child:
    """A server in a process of its own."""

    def __init__(self) -> None:
        command = [sys.executable, __file__, "serve", "0"]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline().rsplit(":", 1)[1])

    def memory(self) -> int:
        """Return the resident memory in MiB."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1]) // 1024

    def stop(self) -> tuple[int, int]:
        """Send SIGTERM; return the numbers of accepted and of answered requests."""
        self.process.send_signal(signal.SIGTERM)
        out, _ = self.process.communicate(timeout=60)
        accepted, answered = map(int, re.search(r"stopped: (\d+) (\d+)", out).groups())
        return accepted, answered


def build_request(generator: random.Random) -> bytes:
    """Return a request that is wrong in one of many ways."""
    path = generator.choice([*BODIES, "/", "/none"])
    value = json.loads(json.dumps(BODIES.get(path, {})))
    for _ in range(generator.randint(0, 2)):
        value[generator.choice([*value, "x", "model", "truncate"])] = generator.choice(WRONG)
    body = bytearray((generator.choice(NESTED) if generator.random() < 0.1 else json.dumps(value)).encode())
    for _ in range(generator.choice((0, 0, 1, 4))):
        body[generator.randrange(len(body))] = generator.randrange(256)
    kind = generator.choice(("application/json",) * 8 + ("text/plain", "application/json; charset=utf-16", ""))
    size = len(body) if generator.random() < 0.9 else generator.randint(0, 10 ** generator.randint(1, 12))
    method = generator.choice(("POST",) * 12 + ("GET", "PUT", "BREW", "HEAD"))
    head = bytearray(
        f"{method} {path} HTTP/1.1\r\nHost: a\r\nContent-Type: {kind}\r\nContent-Length: {size}\r\n".encode()
    )
    if generator.random() < 0.05:
        head += b"X: " + b"a" * generator.choice((100, 20_000, 100_000)) + b"\r\n"
    head += b"Connection: close\r\n\r\n"
    if generator.random() < 0.1:
        head[generator.randrange(len(head))] = generator.randrange(256)
    return bytes(head + body)


def send(port: int, data: bytes) -> str:
    """Return the status of the answer to raw bytes, or what happened to the connection."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as connection:
        try:
            connection.sendall(data)
            connection.shutdown(socket.SHUT_WR) if len(data) % 7 == 0 else None
            response = http.client.HTTPResponse(connection, method="HEAD" if data.startswith(b"HEAD") else None)
            response.begin()
            response.read()
            return str(response.status)
        except TimeoutError:
            return "hang"
        except (OSError, http.client.HTTPException) as error:
            return type(error).__name__


def fuzz(count: int, seed: int) -> bool:
    """Send malformed requests; return whether the server withstood them."""
    child, statuses, slowest = Child(), Counter(), [0.0] * CLIENTS
    before = child.memory()
    peak = [before]

    def run(number: int) -> None:
        generator = random.Random(1000 * seed + number)
        for _ in range(count // CLIENTS):
            begin = time.monotonic()
            statuses[send(child.port, build_request(generator))] += 1
            slowest[number] = max(slowest[number], time.monotonic() - begin)
            peak[0] = max(peak[0], child.memory())

    threads = [threading.Thread(target=run, args=(number,)) for number in range(CLIENTS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    after = child.memory()
    accepted, answered = child.stop()
    print(f"{sum(statuses.values())} requests: {dict(sorted(statuses.items()))}; slowest answer {max(slowest):.1f} s")
    print(f"memory: {before} MiB before, {peak[0]} at most, {after} after; answered {answered} of {accepted} accepted")
    return accepted == answered and not any(status.startswith("5") or status == "hang" for status in statuses)


def kill(count: int, seed: int) -> bool:
    """Send SIGTERM under load; return whether every accepted request was answered."""
    lost = total = refused = 0
    for _ in range(count):
        child, ended, statuses = Child(), threading.Event(), Counter()

        def load(child=child, ended=ended, statuses=statuses) -> None:
            connection = http.client.HTTPConnection("127.0.0.1", child.port, timeout=20)
            while not ended.is_set():
                try:
                    connection.request(
                        "POST", "/fill-mask", json.dumps(BODIES["/fill-mask"]), {"Content-Type": "application/json"}
                    )
                    response = connection.getresponse()
                    response.read()
                    statuses[response.status] += 1
                except (OSError, http.client.HTTPException):
                    connection.close()
                    time.sleep(0.02)

        threads = [threading.Thread(target=load) for _ in range(CLIENTS)]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        accepted, answered = child.stop()
        ended.set()
        for thread in threads:
            thread.join()
        received = sum(statuses.values()) - statuses[503]
        lost += accepted - min(answered, received)
        total, refused = total + accepted, refused + statuses[503]
    print(f"{count} signals: {total} requests accepted, {lost} lost; {refused} answered 503 while shutting down")
    return lost == 0 and total > 0


def main() -> None:
    """Run a mode; exit with 1 if the server failed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("mode", choices=("fuzz", "kill", "serve"))
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    if options.mode == "serve":
        serve()
    elif not {"fuzz": fuzz, "kill": kill}[options.mode](options.count, options.seed):
        sys.exit(1)


if __name__ == "__main__":
    main()

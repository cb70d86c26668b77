"""`roberta serve` as a process, with PyTorch and the embedded model."""

import http.client
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
import urllib.request
from pathlib import Path

import numpy as np
import pytest
import torch

from roberta_core import backend, load_tokenizer, pipeline
from roberta_core.cli import main
from roberta_core.serving.metrics import Metrics
from roberta_core.serving.models import load_served
from roberta_core.serving.service import Service
from roberta_core.serving.settings import ServerSettings
from roberta_core.serving.turns import Turns
from roberta_pt import RobertaForMaskedLM

# A server whose model fails on the word "window" and needs three seconds for the word "garden".
PROGRAM = """
import sys, time
from roberta_core import RobertaTokenizerFast, cli
from roberta_pt.backend import PyTorchBackend
tokenizer = RobertaTokenizerFast.from_pretrained("roberta-tiny")
(bad,), (slow,) = tokenizer([" window", " garden"], add_special_tokens=False)["input_ids"]
run = PyTorchBackend.run
def failing(self, model, inputs, **options):
    if (inputs["input_ids"] == bad).any():
        raise RuntimeError("a secret of the model")
    if (inputs["input_ids"] == slow).any():
        time.sleep(3)
    return run(self, model, inputs, **options)
PyTorchBackend.run = failing
cli.main(sys.argv[1:])
"""
SETTINGS = ("--max-queue", "8", "--max-inputs", "8", "--timeout", "2", "--max-batch-tokens", "256")


class Process:
    """A running server; `statuses` counts what its clients were answered."""

    def __init__(self):
        command = [
            sys.executable,
            "-c",
            PROGRAM,
            "serve",
            "roberta-tiny",
            "--framework",
            "pt",
            "--port",
            "0",
            *SETTINGS,
        ]
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment)
        self.log = [self.process.stderr.readline()]
        while " ready at " not in self.log[-1]:
            assert self.log[-1], self.log
            self.log.append(self.process.stderr.readline())
        self.port = int(self.log[-1].rsplit(":", 1)[1])
        self.statuses = []

    def post(self, path, value):
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=20)
        try:
            connection.request("POST", path, json.dumps(value), {"Content-Type": "application/json"})
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        self.statuses.append(response.status)
        return response.status, json.loads(body)

    def start_posting(self, path, value):
        """Post in a thread; returns a function that waits for the answer."""
        found = []
        thread = threading.Thread(target=lambda: found.append(self.post(path, value)))
        thread.start()

        def wait():
            thread.join(20)
            return found[0]

        return wait


@pytest.fixture(scope="module")
def server():
    found = Process()
    yield found
    if found.process.poll() is None:
        found.process.kill()


def test_answers_are_those_of_the_pipelines(server):
    text = "She opened the<mask> and went in."
    fill = pipeline("fill-mask", "roberta-tiny", framework="pt")
    assert server.post("/fill-mask", {"inputs": text}) == (200, fill(text))
    embed = pipeline("sentence-embedding", "roberta-tiny", framework="pt", normalize=True)
    texts = ["a door", "the old man and the sea, the boy and the boat"]
    assert server.post("/embed", {"inputs": texts}) == (200, [one.tolist() for one in embed(texts)])
    waits = [server.start_posting("/v1/embeddings", {"input": one}) for one in texts * 4]
    for wait, expected in zip(waits, list(embed(texts)) * 4, strict=True):
        np.testing.assert_allclose(wait()[1]["data"][0]["embedding"], expected, atol=1e-6)


def test_the_examples_of_the_page_give_their_output(server):
    page = (Path(__file__).parents[2] / "docs" / "serving.md").read_text(encoding="utf-8")
    examples = re.findall(
        r"^\$ curl localhost:8000(\S+) -H 'Content-Type: application/json' -d '(.*)'\n(.*)$", page, re.M
    )
    assert len(examples) >= 4
    for path, body, expected in examples:
        _, found = server.post(path, json.loads(body))
        assert found == round_numbers(json.loads(expected))


def round_numbers(value):
    """The value with numbers that may differ by rounding."""
    if isinstance(value, float):
        return pytest.approx(value, abs=1e-5)
    if isinstance(value, list):
        return [round_numbers(one) for one in value]
    return {name: round_numbers(one) for name, one in value.items()} if isinstance(value, dict) else value


def test_parity_compares_the_server_with_float64(server, capsys, tmp_path):
    (tmp_path / "texts.txt").write_text("She opened the door and went in.\nthe old man and the sea\n", encoding="utf-8")
    model = RobertaForMaskedLM.from_pretrained("roberta-tiny")
    with torch.no_grad():
        model.roberta.encoder.layer[3].attention.self.query.weight.mul_(1.01)
    model.save_pretrained(tmp_path / "other")
    load_tokenizer("roberta-tiny").save_pretrained(tmp_path / "other")
    found = []
    for checkpoint in ("roberta-tiny", str(tmp_path / "other")):
        url, texts = f"http://127.0.0.1:{server.port}", str(tmp_path / "texts.txt")
        with pytest.raises(SystemExit) as ended:
            main(["parity", checkpoint, "--against", url, "--texts", texts, "--json"])
        (stages,) = [one["stages"] for one in json.loads(capsys.readouterr().out)["frameworks"].values()]
        assert list(stages) == ["hidden_states.4"]
        found.append((ended.value.code, stages["hidden_states.4"]["max_rel"]))
    (right, small), (wrong, large) = found
    assert (right, wrong) == (0, 1)
    assert 0 < small < 1e-5 < large


def test_a_folder_of_sentence_transformers_is_served_for_embeddings(serving, tmp_path):
    embed = pipeline("sentence-embedding", "roberta-tiny", framework="pt", pooling="cls", normalize=True)
    embed.save_pretrained(tmp_path / "model")
    settings, turns, metrics = ServerSettings(), Turns(), Metrics()
    model = load_served("one", str(tmp_path / "model"), backend.load("pt", "cpu"), settings, turns, metrics)
    assert list(model.targets) == ["sentence-embedding", "feature-extraction"]
    service = Service([model], settings, turns, metrics)
    found, info = serving.ask(service, ("/embed", {"inputs": "a door"}), ("/info", None))
    assert found.json == [embed("a door").tolist()]
    assert info.json["model_type"] == {"embedding": {"pooling": "cls"}}


def test_a_model_that_fails_answers_500_and_the_server_stays(server):
    status, problem = server.post("/embed", {"inputs": "a window"})
    assert status == 500
    assert "secret" not in json.dumps(problem)
    assert server.post("/embed", {"inputs": "a door"})[0] == 200


def test_a_slow_model_answers_504_and_a_full_queue_429(server):
    slow = server.start_posting("/embed", {"inputs": "a garden"})
    time.sleep(0.2)
    waiting = server.start_posting("/embed", {"inputs": ["a door"] * 7})
    time.sleep(0.2)
    status, problem = server.post("/embed", {"inputs": "a door"})
    assert (status, problem["limit"]) == (429, 8)
    assert (slow()[0], waiting()[0]) == (504, 504)
    assert server.post("/fill-mask", {"inputs": "a<mask>"})[0] == 200


def test_a_signal_under_load_loses_no_accepted_request(server):
    ended = threading.Event()
    with urllib.request.urlopen(f"http://127.0.0.1:{server.port}/metrics") as response:
        earlier = 1 + sum(map(float, re.findall(r"^roberta_requests_total.* (\S+)$", response.read().decode(), re.M)))
    server.statuses.clear()

    def load():
        while not ended.is_set():
            try:
                server.post("/fill-mask", {"inputs": "She opened the<mask> and went in. " * 4, "top_k": 3})
            except OSError:  # the server accepts no connections any more
                return

    threads = [threading.Thread(target=load) for _ in range(4)]
    for thread in threads:
        thread.start()
    end = time.monotonic() + 30
    while server.statuses.count(200) < 9 and time.monotonic() < end:
        time.sleep(0.02)
    server.process.send_signal(signal.SIGTERM)
    _, log = server.process.communicate(timeout=30)
    ended.set()
    for thread in threads:
        thread.join(20)
    answered, accepted = map(int, re.search(r"stopped; answered (\d+) of (\d+) accepted requests", log).groups())
    refused = server.statuses.count(503)
    assert server.process.returncode == 0
    assert answered == accepted == earlier + len(server.statuses) - refused
    assert refused > 0
    assert server.statuses.count(200) >= 9

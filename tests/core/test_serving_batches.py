"""Batches over all requests, fair turns, full queues, deadlines, clients that leave, and models that fail."""

import asyncio
import threading
import time

import pytest

from roberta_core.serving.turns import Turns

TASKS = ("sentence-embedding", "feature-extraction")


class Gate:
    """Holds the model until it is opened; `count` batches have arrived."""

    def __init__(self):
        self.opened, self.count = threading.Event(), 0
        self.opened.set()

    def __call__(self, ids):
        self.count += 1
        assert self.opened.wait(10)


@pytest.fixture
def gate():
    return Gate()


@pytest.fixture
def play(serving, gate):
    """`play(scene, **settings)`: run a coroutine with a warm client and its service over a model behind the gate."""

    def play(scene, **settings):
        async def main():
            stub = serving.Stub(gate)
            service = serving.build_service({"tiny": serving.build_pipelines(*TASKS, backend=stub)}, **settings)
            async with serving.running(service) as client:
                await serving.wait_for(lambda: service.ready)
                stub.shapes.clear()
                try:
                    return await scene(client, service, stub)
                finally:
                    gate.opened.set()

        return asyncio.run(main())

    return play


def read_counter(service, name, **labels):
    return service.metrics.registry.get_sample_value(name, labels) or 0.0


async def hold(serving, gate, client):
    """Close the gate and send a request that waits behind it."""
    gate.opened.clear()
    before = gate.count
    task = asyncio.create_task(client.post("/embed", {"inputs": "first"}))
    await serving.wait_for(lambda: gate.count > before)
    return task


def test_waiting_rows_share_batches_of_similar_length_within_the_budget(serving, gate, play):
    async def scene(client, service, stub):
        first = await hold(serving, gate, client)
        texts = [("a " * (20 if number % 2 else 2)).strip() for number in range(16)]
        others = [asyncio.create_task(client.post("/embed", {"inputs": text})) for text in texts]
        (network,) = service.networks
        await serving.wait_for(lambda: len(network.batcher._rows) == 16)
        gate.opened.set()
        answers = await asyncio.gather(first, *others)
        return [answer.status for answer in answers], stub.shapes

    statuses, shapes = play(scene, max_batch_tokens=64)
    assert statuses == [200] * 17
    assert sum(rows for rows, _ in shapes) == 17
    assert all(rows * length <= 64 for rows, length in shapes)
    assert (8, 4) in shapes  # the short ones together, without the padding of the long ones


def test_the_oldest_row_is_in_the_next_batch(serving, gate, play):
    async def scene(client, service, stub):
        first = await hold(serving, gate, client)
        (network,) = service.networks
        tasks = []
        for number, text in enumerate(["a", *["a " * 20] * 6], 1):
            tasks.append(asyncio.create_task(client.post("/embed", {"inputs": text})))
            await serving.wait_for(lambda number=number: len(network.batcher._rows) == number)
        gate.opened.set()
        await asyncio.gather(first, *tasks)
        return stub.shapes

    shapes = play(scene, max_batch_tokens=64)
    assert shapes[1][1] == 3  # the oldest is short: its batch comes before those of the long ones


def test_a_full_queue_answers_429_and_says_when_to_try_again(serving, gate, play):
    async def scene(client, service, stub):
        first = await hold(serving, gate, client)
        second = asyncio.create_task(client.post("/embed", {"inputs": ["b"] * 3}))
        await serving.wait_for(lambda: service.networks[0].waiting == 4)
        refused = await client.post("/embed", {"inputs": "c"})
        gate.opened.set()
        answers = await asyncio.gather(first, second)
        again = await client.post("/embed", {"inputs": "c"})
        return refused, [answer.status for answer in (*answers, again)]

    refused, statuses = play(scene, max_queue=4, max_inputs=4)
    assert (refused.status, refused.json["limit"]) == (429, 4)
    assert int(refused.headers["retry-after"]) >= 1
    assert statuses == [200, 200, 200]


def test_a_deadline_answers_504_and_its_rows_are_not_run(serving, gate, play):
    async def scene(client, service, stub):
        first = await hold(serving, gate, client)
        two = await client.post("/embed", {"inputs": "b"})
        one = await first
        gate.opened.set()
        await serving.wait_for(lambda: not service.networks[0].batcher._rows)
        after = await client.post("/embed", {"inputs": "c"})
        skipped = read_counter(
            service, "roberta_rows_skipped_total", network=service.networks[0].name, reason="timeout"
        )
        return one, two, after, skipped, sum(rows for rows, _ in stub.shapes)

    one, two, after, skipped, rows = play(scene, timeout=0.3)
    assert (one.status, two.status, one.json["limit"]) == (504, 504, 0.3)
    assert after.status == 200
    assert skipped + rows == 3
    assert skipped == 1


def test_a_client_that_leaves_costs_no_batch(serving, gate, play):
    async def scene(client, service, stub):
        first = await hold(serving, gate, client)
        (network,) = service.networks
        gone = asyncio.Event()
        left = asyncio.create_task(client.request("POST", "/embed", b'{"inputs": ["b", "c"]}', serving.JSON, gone=gone))
        await serving.wait_for(lambda: len(network.batcher._rows) == 2)
        gone.set()
        await left
        waiting = network.waiting
        gate.opened.set()
        answers = [await first, await client.post("/embed", {"inputs": "d"})]
        skipped = read_counter(service, "roberta_rows_skipped_total", network=network.name, reason="disconnected")
        return waiting, skipped, [answer.status for answer in answers], sum(rows for rows, _ in stub.shapes)

    waiting, skipped, statuses, rows = play(scene)
    assert waiting == 1  # its place in the queue is free at once
    assert (skipped, statuses, rows) == (2, [200, 200], 2)


def test_a_model_that_fails_answers_500_to_its_request_alone(serving, gate, play):
    tokenizer = serving.build_pipelines("fill-mask")["fill-mask"].tokenizer
    (poison,) = tokenizer(" window", add_special_tokens=False)["input_ids"]

    class Panic(BaseException):
        """What a library in Rust raises."""

    async def scene(client, service, stub):
        def fail(ids):
            gate(ids)
            if (ids == poison).any():
                raise Panic("secret")

        stub.before = fail
        first = await hold(serving, gate, client)
        texts = ["a door", "a window", "a gate"]
        others = [asyncio.create_task(client.post("/embed", {"inputs": text})) for text in texts]
        await serving.wait_for(lambda: len(service.networks[0].batcher._rows) == 3)
        gate.opened.set()
        answers = await asyncio.gather(first, *others)
        after = await client.post("/embed", {"inputs": "a door"})
        failures = read_counter(service, "roberta_model_failures_total", network=service.networks[0].name)
        return answers, after, failures

    answers, after, failures = play(scene)
    assert [answer.status for answer in answers] == [200, 200, 500, 200]
    assert b"secret" not in answers[2].body
    assert after.status == 200
    assert failures == 2  # the shared batch, then the one at fault alone


def test_outputs_that_are_not_finite_are_a_failure_of_the_model(serving, gate, play, monkeypatch):
    async def scene(client, service, stub):
        monkeypatch.setattr(serving, "_waves", lambda ids, count: ids[..., None] * float("nan"))
        return await client.post("/embed", {"inputs": "a"})

    assert play(scene).status == 500


def test_a_generation_ends_when_its_client_leaves(serving):
    steps = []

    async def main():
        pipelines = serving.build_pipelines("text-generation")
        service = serving.build_service({"tiny": pipelines})
        model, gone = pipelines["text-generation"].model, asyncio.Event()
        loop = asyncio.get_running_loop()

        def generate(prompt, streamer, **options):
            for token in range(100):
                steps.append(token)
                loop.call_soon_threadsafe(gone.set)
                time.sleep(0.002)
                streamer([token])

        async with serving.running(service) as client:
            await serving.wait_for(lambda: service.ready)
            model.generate = generate
            await client.request("POST", "/generate", b'{"inputs": "a", "max_new_tokens": 9}', serving.JSON, gone=gone)
            return service

    service = asyncio.run(main())
    assert len(steps) < 100
    assert service.accepted == service.answered


def test_turns_give_every_name_the_same_time():
    turns, spent, deadline = Turns(), {"slow": 0.0, "quick": 0.0}, time.monotonic() + 0.4

    def work(name, seconds):
        while time.monotonic() < deadline:
            with turns.take(name):
                begin = time.monotonic()
                time.sleep(seconds)
                spent[name] += time.monotonic() - begin

    threads = [threading.Thread(target=work, args=one) for one in (("slow", 0.02), ("quick", 0.002))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert 0.5 < spent["slow"] / spent["quick"] < 2


def test_a_name_that_was_idle_has_no_credit():
    turns = Turns()
    with turns.take("busy"):
        time.sleep(0.05)
    with turns.take("busy"):
        pass
    with turns.take("late"):
        pass
    assert turns._seconds["late"] >= 0.05


def test_others_have_a_turn_between_the_steps_of_a_long_computation():
    turns, order = Turns(), []

    def other():
        with turns.take("other"):
            order.append("other")

    with turns.take("long"):
        thread = threading.Thread(target=other)
        thread.start()
        while not turns._waiting:
            time.sleep(0.001)
        order.append("step")
        turns.give_way("long")
        order.append("step")
    thread.join()
    assert order == ["step", "other", "step"]

import time

from roberta_core.data import streams
from roberta_core.data.streams import choose_budget, find_budget, plan_batches, round_down


def test_a_batch_has_rows_of_similar_length_within_the_budget():
    lengths = [5, 40, 6, 41, 7, 90, 1]
    found = list(plan_batches(lengths, 82))
    assert found == [[5], [3, 1], [4, 2, 0, 6]]
    assert sorted(number for rows in found for number in rows) == list(range(7))
    for rows in found:
        assert len(rows) == 1 or len(rows) * max(lengths[row] for row in rows) <= 82


def test_batches_have_few_different_sizes():
    assert [round_down(size) for size in (1, 2, 3, 7, 8, 31, 32, 33, 63, 64, 100)] == [
        1,
        2,
        2,
        4,
        8,
        16,
        32,
        32,
        32,
        64,
        96,
    ]
    lengths = [1 + number * 7 % 50 for number in range(400)]
    assert {len(rows) for rows in plan_batches(lengths, 512)} == {8, 16, 32, 64}


def test_empty_rows_are_batched_too():
    assert list(plan_batches([0, 0, 0], 2)) == [[0, 1], [2]]


def test_the_smallest_budget_with_full_throughput_is_chosen(monkeypatch):
    clock, calls = [0.0], []
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])

    def run(size, length):
        calls.append((size, length))
        clock[0] += max(0.05, size * length / 1e4)  # up to 500 tokens take as long as one

    assert find_budget(run, 32) == 512
    assert set(calls) == {(8, 32), (16, 32), (32, 32), (64, 32)}
    assert len(calls) == 4 * (1 + streams.TRIALS)


def test_one_slow_measurement_does_not_stop_the_search_for_a_budget(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(streams.time, "perf_counter", lambda: clock[0])

    def run(size, length):
        clock[0] += 9.0 if size == 16 else 0.1  # all take the same time, except the measurement with 512 tokens

    assert find_budget(run, 32, budgets=(256, 512, 1024)) == 1024


def test_a_table_gives_the_budget_of_few_texts_by_cores():
    assert [choose_budget(cores) for cores in (1, 4, 5, 16, 64, 65, 999)] == [512, 512, 1024, 1024, 2048, 4096, 4096]
    assert choose_budget() >= 512

"""The learning rate schedule."""

import pytest

from roberta_core.training.schedule import LinearSchedule


def test_it_rises_to_the_peak_and_falls_to_zero():
    schedule = LinearSchedule(peak=0.8, warmup=4, steps=12)
    rates = [schedule(step) for step in range(13)]
    assert rates == pytest.approx([0.2, 0.4, 0.6, 0.8, 0.8, 0.7, 0.6, 0.5, 0.4, 0.3, 0.2, 0.1, 0.0])


def test_without_warm_up_it_starts_at_the_peak():
    assert LinearSchedule(peak=0.5, warmup=0, steps=5)(0) == 0.5


@pytest.mark.parametrize(("peak", "warmup", "steps"), [(0.0, 1, 5), (float("nan"), 1, 5), (1e-3, 5, 5), (1e-3, -1, 5)])
def test_wrong_values_are_refused_with_the_numbers(peak, warmup, steps):
    with pytest.raises(ValueError, match=r"\d|nan"):
        LinearSchedule(peak, warmup, steps)

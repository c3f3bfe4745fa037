"""Do durations and amounts read as people write them, and survive being written down?"""

from __future__ import annotations

import pytest

from tunefleet.base.units import Duration, Unit, clock, count, percent, steps

READINGS = {
    "100": Duration(100, Unit.STEPS),
    "1 step": Duration(1, Unit.STEPS),
    " 100 Steps ": Duration(100, Unit.STEPS),
    "1e3": Duration(1000, Unit.STEPS),
    "0.5 epochs": Duration(0.5, Unit.EPOCHS),
    "2epochs": Duration(2, Unit.EPOCHS),
    "1 epoch": Duration(1, Unit.EPOCHS),
    "3%": Duration(3, Unit.PERCENT),
    "2.5 percent": Duration(2.5, Unit.PERCENT),
    "0": Duration(0, Unit.STEPS),
}
NONSENSE = ["", "%", "three steps", "-1", "-3%", "1.5", "0.5 steps", "nan", "inf", "3 %%", "10 tokens", True, None]


@pytest.mark.parametrize(("text", "expected"), READINGS.items())
def test_reads_every_way_of_writing(text: str, expected: Duration) -> None:
    assert Duration.parse(text) == expected


@pytest.mark.parametrize("number", [7, 7.0])
def test_a_bare_number_counts_steps(number: float) -> None:
    assert Duration.parse(number) == steps(7)


@pytest.mark.parametrize("text", NONSENSE)
def test_refuses_nonsense_and_repeats_it(text: str) -> None:
    with pytest.raises(ValueError, match="is not a") as caught:
        Duration.parse(text)
    assert repr(text) in str(caught.value)


@pytest.mark.parametrize(
    ("duration", "expected"),
    [
        (steps(40), 40),
        (Duration(1.5, Unit.EPOCHS), 15),
        (percent(3), 6),
        (percent(0.2), 0),  # 0.4 steps
        (percent(0.3), 1),  # 0.6 steps
        (percent(100), 200),
    ],
)
def test_in_steps_of_a_run_of_200_steps_and_10_an_epoch(duration: Duration, expected: int) -> None:
    assert duration.in_steps(total_steps=200, steps_per_epoch=10) == expected


@pytest.mark.parametrize(
    "text", [*READINGS, "999999", "1000000", "1234567", "1e6 steps", "123456789012", "33.3333333%", "0.00001 epochs"]
)
def test_what_is_written_is_read_back_the_same(text: str) -> None:
    duration = Duration.parse(text)
    assert Duration.parse(str(duration)) == duration


@pytest.mark.parametrize(
    ("duration", "text"), [(steps(100), "100 steps"), (percent(3), "3%"), (Duration(0.5, Unit.EPOCHS), "0.5 epochs")]
)
def test_writes_as_a_person_would(duration: Duration, text: str) -> None:
    assert str(duration) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(1_315_758_080, "1.32B"), (45_200_000, "45.2M"), (9_600, "9.6k"), (512, "512"), (2.5e12, "2.5T"), (0.25, "0.25")],
)
def test_counts_in_three_digits(number: float, text: str) -> None:
    assert count(number) == text


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0s"), (59.4, "59s"), (59.6, "1m 00s"), (185, "3m 05s"), (3599.7, "1h 00m"), (7620, "2h 07m")],
)
def test_clock_rounds_before_it_chooses_the_unit(seconds: float, text: str) -> None:
    assert clock(seconds) == text

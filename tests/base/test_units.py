"""Do durations and amounts read as people write them, and survive being written down?"""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest

from tunefleet.base.units import Cadence, Duration, Size, Unit, clock, count, minutes, percent, steps

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
    ("cadence", "text"),
    [
        ("1 epochs", "1 epoch"),
        ("1", "1 step"),
        ("1%", "1%"),
        ("11 epochs", "11 epochs"),
        ("0.1 epoch", "0.1 epochs"),
        ("20% or 1 epoch or 1 minute", "20% or 1 epoch or 1 minute"),
        ("1.0 epochs or 2 min", "1 epoch or 2 minutes"),
    ],
)
def test_one_is_printed_in_the_singular_and_saved_as_before(cadence: str, text: str) -> None:
    assert Cadence.parse(cadence).text == text
    assert Cadence.parse(str(Cadence.parse(cadence))) == Cadence.parse(cadence)
    assert str(Duration.parse("1 epoch")) == "1 epochs"  # names of runs are made of it


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


# Time limits

MINUTES = {
    "30m": 30,
    "4h": 240,
    " 4 H ": 240,
    "2d": 2880,
    "90": 90,
    "1.5h": 90,
    "1d 12h": 2160,
    "1d12h": 2160,
    "1h 30m 1s": 91,
    "1s": 1,
    "60s": 1,
    "61s": 2,
    "4:00:00": 240,
    "04:00:00": 240,
    "0:00:01": 1,
    "0:01:00": 1,
    "100:00:00": 6000,
    "1-0": 1440,
    "1-12": 2160,
    "1-12:30": 2190,
    "1-12:00:00": 2160,
    "1-12:00:01": 2161,
    "8.3h": 498,  # 8.3 * 60 is a little more than 498
    "64.9h": 3894,
}
NO_TIME = ["", " ", "h", "-1h", "1w", "1 2", "1h30", ".5h", "1.5.2h", "1e3", "4:00", "1:2:3:4", "1-", "-1", "1-2-3"]
NO_TIME += ["0", "0m", "0:00:00", "0-0", "inf", "nan", "UNLIMITED", "4 hours", "4h;", "$(4h)", "4h --wrap=id"]


@pytest.mark.parametrize(("text", "expected"), MINUTES.items())
def test_minutes_of_every_way_of_writing(text: str, expected: int) -> None:
    assert minutes(text) == expected


@pytest.mark.parametrize("text", NO_TIME)
def test_what_is_no_length_of_time_is_refused_and_repeated(text: str) -> None:
    with pytest.raises(ValueError, match="is not a length of time") as caught:
        minutes(text)
    assert repr(text) in str(caught.value)


def test_spaces_around_a_length_of_time_do_not_matter() -> None:
    assert minutes(" 4h\n") == minutes("4h")


def test_minutes_are_rounded_up_whatever_the_form() -> None:
    """The same moment in seconds, as SLURM's clock and in words: all agree, and none is below the truth."""
    rng = random.Random(0)
    for seconds in [rng.randrange(1, 10 * 86400) for _ in range(300)]:
        whole = math.ceil(seconds / 60)
        days, rest = divmod(seconds, 86400)
        hours, minute, second = rest // 3600, rest % 3600 // 60, rest % 60
        assert minutes(f"{seconds}s") == whole
        assert minutes(f"{days}-{hours:02d}:{minute:02d}:{second:02d}") == whole
        assert minutes(f"{seconds // 3600}:{minute:02d}:{second:02d}") == whole
        assert minutes(f"{days}d {hours}h {minute}m {second}s") == whole
        assert minutes(str(whole)) == minutes(f"{whole}m") == whole


def test_tenths_of_an_hour_are_six_minutes_each() -> None:
    assert [minutes(f"{tenths / 10}h") for tenths in range(1, 2000)] == [6 * tenths for tenths in range(1, 2000)]


CADENCES = {
    "100": Cadence((steps(100),)),
    "30 minutes": Cadence(minutes=30),
    "30m": Cadence(minutes=30),
    "90 s": Cadence(minutes=1.5),
    "2h": Cadence(minutes=120),
    "1 day": Cadence(minutes=1440),
    "20% or 1 epoch": Cadence((percent(20), Duration(1, Unit.EPOCHS))),
    "500 steps or 1 hour OR 10 min": Cadence((steps(500),), 10),
    "0": Cadence((steps(0),)),
}


@pytest.mark.parametrize(("text", "expected"), CADENCES.items())
def test_a_cadence_reads_as_people_write_it_and_back(text: str, expected: Cadence) -> None:
    assert Cadence.parse(text) == Cadence.parse(str(Cadence.parse(text))) == expected
    assert expected.is_never is (text == "0")


@pytest.mark.parametrize(
    "text", ["", "or", "1 epoch or", "soon", "-5m", "0 minutes", "20% and 1 epoch", "5 m or x", True, None]
)
def test_a_cadence_refuses_nonsense(text: str) -> None:
    with pytest.raises(ValueError, match="is n"):
        Cadence.parse(text)


def test_a_duration_of_training_is_never_in_minutes() -> None:
    """A learning rate that follows the clock would differ from run to run."""
    with pytest.raises(ValueError, match="is n"):
        Duration.parse("3 minutes")


def test_the_shortest_of_a_cadence_counts() -> None:
    assert Cadence.parse("20% or 1 epoch or 2h").exactly(total_steps=200, steps_per_epoch=10) == 10
    assert Cadence.parse("20% or 1 epoch").exactly(total_steps=20, steps_per_epoch=10) == 4
    assert Cadence.parse("2h").exactly(total_steps=200, steps_per_epoch=10) == 0


@pytest.mark.parametrize(
    ("text", "number"),
    [("200 GB", 200e9), ("1.5TiB", 1.5 * 2**40), ("1e3 kb", 1e6), ("3M", 3e6), ("5 bytes", 5), (7, 7)],
)
def test_sizes_are_read_as_people_write_them(text: str | int, number: float) -> None:
    parsed = Size.parse(text)
    assert parsed.bytes == number
    assert Size.parse(str(parsed)) == Size(parsed.bytes, str(text))


@pytest.mark.parametrize("text", ["", "GB", "0", "-3 GB", "nan", "3 XB", True, None])
def test_what_is_no_size_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a size"):
        Size.parse(text)


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (Duration.parse, "1e999 steps"),
        (Duration.parse, "1e999 epochs"),
        (Cadence.parse, "20% or 1e999 minutes"),
        (Size.parse, "1e999 GB"),
    ],
)
def test_an_infinite_number_is_refused(parse: Callable[[str], object], text: str) -> None:
    with pytest.raises(ValueError, match="1e999 is too large a number"):
        parse(text)

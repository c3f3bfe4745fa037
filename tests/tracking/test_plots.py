"""Are the curves those of the records, in the terminal and as a picture?"""

from __future__ import annotations

from pathlib import Path

from tunefleet.tracking import plots

RECORDS = [
    {"step": 1, "train/loss": 3.0},
    {"step": 2, "train/loss": 2.0},
    {"step": 2, "evaluation/seen/loss": 2.5, "evaluation/seen/perplexity": 12.2},
    {"step": 3, "train/loss": None},
]


def test_a_series_has_the_records_with_a_value() -> None:
    assert plots.series(RECORDS, "train/loss") == ([1, 2], [3.0, 2.0])
    assert plots.series(RECORDS, "nothing") == ([], [])


def test_losses_are_the_training_loss_and_one_for_each_split() -> None:
    assert plots.losses(RECORDS) == {"train": ([1, 2], [3.0, 2.0]), "seen": ([2], [2.5])}


def test_the_terminal_gets_characters_without_colours() -> None:
    drawn = plots.terminal(RECORDS, width=60, height=8)
    assert "training loss against optimizer steps" in drawn
    assert "\x1b" not in drawn
    assert max(len(line) for line in drawn.splitlines()) <= 60


def test_the_picture_is_a_png_that_is_the_same_twice(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        plots.picture(RECORDS, tmp_path / name, "run")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()

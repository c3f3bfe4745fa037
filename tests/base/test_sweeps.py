"""Does the same grid have the same record, and is a damaged one no sweep?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from tunefleet.base import sweeps
from tunefleet.base.sweeps import SweepPoint

POINTS = [SweepPoint(("seed=1",), "a"), SweepPoint(("seed=2", "name=b"), "b")]


@pytest.fixture(autouse=True)
def _in_the_outputs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def test_what_was_written_is_read(tmp_path: Path) -> None:
    sweep = sweeps.sweep(POINTS)
    sweeps.write(tmp_path, sweep)
    assert sweeps.read(tmp_path, sweep.name) == sweep
    assert (tmp_path / "sweeps" / sweep.name / "sweep.json").exists()


def test_the_name_depends_on_the_runs_alone() -> None:
    name = sweeps.sweep(POINTS).name
    assert name.startswith("sweep-")
    assert len(name) == len("sweep-") + 8
    retyped = [replace(point, overrides=("train.seed=1",)) for point in reversed(POINTS)]
    assert sweeps.sweep(retyped).name == name
    assert sweeps.sweep([replace(point, run_dir=f"/elsewhere/{point.run_dir}") for point in POINTS]).name == name
    assert sweeps.sweep(POINTS[:1]).name != name  # control


def test_the_first_record_stays(tmp_path: Path) -> None:
    first = replace(sweeps.sweep(POINTS), created="2020-01-01T00:00:00+00:00")
    sweeps.write(tmp_path, first)
    sweeps.write(tmp_path, sweeps.sweep(POINTS))
    assert sweeps.read(tmp_path, first.name) == first


def test_the_newest_comes_first(tmp_path: Path) -> None:
    assert sweeps.listed(tmp_path) == []
    old = replace(sweeps.sweep(POINTS), created="2020-01-01T00:00:00+00:00")
    new = sweeps.sweep(POINTS[:1])
    for sweep in (old, new):
        sweeps.write(tmp_path, sweep)
    assert sweeps.listed(tmp_path) == [new, old]


def test_a_damaged_record_is_none_and_is_written_again(tmp_path: Path) -> None:
    sweep = sweeps.sweep(POINTS)
    sweeps.write(tmp_path, sweep)
    for text in ('{"name": "sw', "[]", '{"name": "x"}'):
        (tmp_path / "sweeps" / sweep.name / "sweep.json").write_text(text)
        assert sweeps.read(tmp_path, sweep.name) is None
        assert sweeps.listed(tmp_path) == []
    sweeps.write(tmp_path, sweep)
    assert sweeps.read(tmp_path, sweep.name) == sweep


def _moved(tmp_path: Path, *runs: str) -> tuple[Path, str]:
    """Outputs that were at /cluster/me/outputs when the grid began, with these runs; and the grid's name."""
    outputs = tmp_path / "mounted"
    grid = sweeps.sweep([replace(point, run_dir=f"/cluster/me/outputs/{point.run_dir}") for point in POINTS])
    sweeps.write(outputs, grid)
    for run in runs:
        (outputs / run).mkdir()
        (outputs / run / "plan.json").write_text("{}")
    return outputs, grid.name


def test_outputs_that_are_seen_from_elsewhere_have_their_grids(tmp_path: Path) -> None:
    outputs, name = _moved(tmp_path, "a")
    (outputs.with_name("link")).symlink_to(outputs)
    for folder in (outputs, outputs.with_name("link")):
        grid = sweeps.read(folder, name)
        assert grid
        assert [point.run_dir for point in grid.points] == [str(outputs / "a"), str(outputs / "b")]
        assert [grid.name for grid in sweeps.listed(folder)] == [name]


def test_a_grid_none_of_whose_runs_is_there_is_none(tmp_path: Path) -> None:
    assert sweeps.read(*_moved(tmp_path)) is None


def test_a_record_that_names_two_folders_was_edited(tmp_path: Path) -> None:
    outputs, name = _moved(tmp_path, "a", "b")
    path = outputs / "sweeps" / name / "sweep.json"
    path.write_text(path.read_text().replace("/cluster/me/outputs/b", "/elsewhere/b"))
    assert sweeps.read(outputs, name) is None


def test_a_sweep_of_an_earlier_version_is_read(tmp_path: Path) -> None:
    grid = sweeps.sweep(POINTS)
    sweeps.write(tmp_path, grid)
    path = tmp_path / "sweeps" / grid.name / "sweep.json"
    path.write_text(path.read_text().replace('"overrides"', '"words"'))
    assert '"words"' in path.read_text()
    assert sweeps.read(tmp_path, grid.name) == grid

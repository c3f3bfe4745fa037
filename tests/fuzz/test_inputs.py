"""A short form of `python -m tests.fuzz`: no mutant of an input is a traceback, a hang, a crash, or code that runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fuzz import runner, topics

SEED, COUNT = 16, 120
FEW = {"configs": 30}
"""Of a topic whose mutants take a third of a second each."""
OTHERS = ("own_files", "trained_run")
"""Topics of spoiled folders: the first is in `tests/faults/test_own_files.py`, and the second has to train first."""


@pytest.mark.parametrize("name", [name for name in topics.TOPICS if name not in OTHERS])
def test_mutants_are_read_or_refused(name: str, tmp_path: Path) -> None:
    count = FEW.get(name, COUNT)
    tally = runner.run(name, SEED, count)
    saved = [str(runner.save(name, SEED, number, tmp_path / str(number))) for number in tally.faults]
    assert tally.faults == {}, f"seed {SEED}: {tally.faults}, saved as {saved}"
    assert tally.counts["refused"] > count / 10
    assert tally.counts["read"] > count / 50


@pytest.mark.exhaustive
@pytest.mark.parametrize("name", OTHERS)
def test_spoiled_folders_are_read_or_refused(name: str) -> None:
    assert runner.run(name, SEED, COUNT).faults == {}


def test_control_faults_are_counted_and_outlived() -> None:
    """A topic whose reader raises, or ends its process."""
    tally = runner.run("faulty", SEED, 6)
    assert [tally.faults[number].split()[0] for number in range(4)] == ["fault", "crash", "fault", "crash"]
    assert tally.counts["read"] == 2

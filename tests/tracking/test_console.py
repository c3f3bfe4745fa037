"""Does the log of rank 0 hold the plain lines, with a terminal and without one?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunefleet.tracking.console import Console


def record(step: int) -> dict[str, Any]:
    return {"step": step, "train/loss": 1.5, "train/lr": 1e-3, "train/tokens_per_second": 10.0}


def steps(log: Path) -> list[str]:
    return [line.split("  ")[1] for line in log.read_text().splitlines() if line.startswith("  step ")]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_log_has_every_plain_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1" if terminal else "")  # Rich takes it for a terminal
    log = tmp_path / "logs" / "rank0.log"
    console = Console(True, total_steps=40, log=log)
    assert console.is_live == terminal
    console.print_line("before")
    for step in range(1, 41):
        console.log(record(step))
    console.finish({})
    console.print_table({"a": "b"})
    lines = log.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "a  b")
    assert steps(log) == [f"step {step}/40" for step in range(2, 41, 2)]


def test_steps_that_are_logged_now_and_then_have_lines_too(tmp_path: Path) -> None:
    """Every seventh of 1,000 steps: a line for each twentieth, at the next step that is logged."""
    log = tmp_path / "rank0.log"
    console = Console(True, total_steps=1000, log=log)
    for step in [*range(7, 1001, 7), 1000]:
        console.log(record(step))
    assert steps(log)[:3] == ["step 56/1000", "step 105/1000", "step 154/1000"]
    assert len(steps(log)) == 20
    assert steps(log)[-1] == "step 1000/1000"


def test_a_line_is_in_the_log_at_once_and_earlier_ones_stay(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    for line in ("first start", "second start"):
        Console(True, total_steps=4, log=log).print_line(line)
    assert log.read_text() == "first start\nsecond start\n"


def test_other_ranks_are_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(False, total_steps=4, log=tmp_path / "rank0.log")
    console.print_line("nothing")
    console.log(record(4))
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "rank0.log").exists()


def test_a_reader_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    """As with `python train.py | head -1`; rich ends the process with 1."""
    code = (
        "import sys, time, pathlib; from tunefleet.base import stdio; from tunefleet.tracking.console import Console\n"
        "stdio.protect()\n"
        "console = Console(True, 3, log=pathlib.Path(sys.argv[1]))\n"
        "for i in range(20): console.print_line(f'line {i}'); time.sleep(0.02)\n"
    )
    log = tmp_path / "rank0.log"
    piped = f'{sys.executable} -c "$0" {log} | head -n 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", piped, code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "line 0\n"), done.stderr
    assert log.read_text().splitlines()[-1] == "line 19"

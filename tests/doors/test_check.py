"""Does `tunefleet check` tell a strategy that is right from one that is not?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.ranks import ROOT

WRONG_ROWS = """
from tunefleet.plan.processes.layout import Layout
Layout.data_rank = lambda self, rank: 0  # every rank reads the first rank's rows
"""


def checked(folder: Path, *arguments: str, code: int = 0) -> str:
    """What the command prints; `folder` may hold a sitecustomize.py, which every rank executes first."""
    path = os.pathsep.join([str(folder), str(ROOT / "src")])
    command = [sys.executable, "-c", "from tunefleet.doors.cli import main; main()", "check", *arguments]
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_right_strategy_follows_the_plain_loop(tmp_path: Path) -> None:
    printed = checked(tmp_path, "parallel=zero1")
    assert "zero1 on 2 cpu processes" in printed
    assert printed.count(" right") == 6
    assert "zero1 follows the plain loop" in printed


def test_control_ranks_that_read_the_same_rows_are_found_out(tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text(WRONG_ROWS)
    printed = checked(tmp_path, "parallel=zero1", code=1)
    assert printed.count("WRONG") == 6
    assert "zero1 DOES NOT follow the plain loop" in printed


@pytest.mark.parametrize("name", ["parallel=nope", "parallel.zero_stage=7"])
def test_a_mistake_is_named(tmp_path: Path, name: str) -> None:
    printed = checked(tmp_path, name, code=2)
    assert "parallel" in printed
    assert "Traceback" not in printed

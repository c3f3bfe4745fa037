"""How much does a command import, on which a person waits? Modules are counted: seconds depend on the machine."""

from __future__ import annotations

import gc
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base import garbage

MAIN = """
import atexit, gc, json, sys
from tunefleet.doors import {door}
try:
    {door}.main({words})
except SystemExit:
    pass
atexit._run_exitfuncs()
print(json.dumps([len(sys.modules), gc.get_threshold()[0], gc.get_freeze_count(), *sys.modules]))
"""
TRAIN, TUNEFLEET = "train", "cli"
CEILINGS = {  # that only fall
    "Tab": (TUNEFLEET, ["completion", "query"], 140),
    "a version": (TUNEFLEET, ["--version"], 150),
    "help": (TRAIN, ["--help"], 385),
    "a config error": (TRAIN, ["optimizer.lr=abc", "train.micro_batch=0"], 390),
    "--cfg job": (TRAIN, ["--cfg", "job"], 385),
    "plan": (TUNEFLEET, ["plan"], 515),
}


def imported(folder: Path, door: str, words: list[str], before: str = "") -> list[Any]:
    code = before + MAIN.format(door=door, words=words)
    done = subprocess.run([sys.executable, "-c", code], cwd=folder, capture_output=True, text=True)
    assert not done.returncode, done.stderr
    counts: list[Any] = json.loads(done.stdout.splitlines()[-1])
    return counts


@pytest.mark.parametrize("name", CEILINGS)
def test_a_small_command_imports_little(tmp_path: Path, name: str) -> None:
    door, words, ceiling = CEILINGS[name]
    count, _, _, *modules = imported(tmp_path, door, words)
    assert count <= ceiling, sorted(modules)


def test_a_plan_imports_nothing_that_starts_it(tmp_path: Path) -> None:
    assert "tunefleet.doors.start" not in imported(tmp_path, TUNEFLEET, ["plan"])


def test_control_one_more_library_is_counted(tmp_path: Path) -> None:
    door, words, ceiling = CEILINGS["help"]
    assert imported(tmp_path, door, words, before="import numpy\n")[0] > ceiling


def test_garbage_is_looked_for_rarely_and_not_at_the_end(tmp_path: Path) -> None:
    usual = subprocess.run([sys.executable, "-c", "import gc; print(gc.get_threshold()[0])"], capture_output=True)
    _, threshold, frozen, *_ = imported(tmp_path, TRAIN, ["--help"])
    assert threshold > int(usual.stdout)
    assert frozen > 10_000


def test_it_is_looked_for_as_usual_where_models_are(monkeypatch: pytest.MonkeyPatch) -> None:
    garbage.search_as_usual()  # another test of this process may have run a command
    usual = gc.get_threshold()
    assert usual[0] < 50_000
    gc.set_threshold(50_000, *usual[1:])
    garbage.search_as_usual()
    assert gc.get_threshold() == usual

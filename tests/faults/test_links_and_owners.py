"""Does a link that somebody planted lead us to a file of the user's, and is a directory of somebody else refused?"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import files, ownership, status
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.sealed_files import SealedFile
from tunefleet.base.status import State, Status
from tunefleet.doors import start
from tunefleet.launch import attempts
from tunefleet.sweep.journal import Journal
from tunefleet.tracking.metrics import MetricsFile

PRECIOUS = "the only copy\n"


def sealed(path: Path) -> None:
    with SealedFile(path) as stream:
        stream.write(b"weights")


def measured(paths: RunPaths) -> None:
    metrics = MetricsFile(paths.metrics, 0)
    metrics.log({"step": 1})
    metrics.finish({})


WRITERS: dict[str, Callable[[RunPaths], object]] = {
    "status.json": lambda paths: status.write(paths.status, Status(State.RUNNING)),
    "status.json.PID.tmp": lambda paths: status.write(paths.status, Status(State.RUNNING)),
    "metrics.jsonl": measured,
    "stop": lambda paths: files.write_text(paths.stop, ""),
    "attempts.jsonl": lambda paths: attempts.begin(paths, "key", "1"),
    "journal.jsonl": lambda paths: Journal(paths.root / "journal.jsonl", [], []).append("closed"),
    "weights.pt": lambda paths: sealed(paths.root / "weights.pt"),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_planted_link_empties_no_file_of_the_users(name: str, tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text(PRECIOUS)
    paths = RunPaths(tmp_path / "run")
    paths.root.mkdir()
    (paths.root / name.replace("PID", str(os.getpid()))).symlink_to(precious)
    with suppress(OSError):
        WRITERS[name](paths)
    assert precious.read_text() == PRECIOUS


def test_control_a_plain_open_empties_it(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text(PRECIOUS)
    (tmp_path / "link").symlink_to(precious)
    with open(tmp_path / "link", "wb"):
        pass
    assert precious.read_text() == ""


def test_a_run_directory_that_everybody_may_write_is_refused(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    plan.save()
    start.expect_own(plan)
    plan.paths.root.chmod(0o777)
    with pytest.raises(RunError, match="may be written by everybody"):
        start.expect_own(plan)
    plan.paths.root.chmod(0o1777)  # as /tmp
    start.expect_own(plan)
    plan.paths.root.chmod(0o2770)  # of a group that shares it
    start.expect_own(plan)


def test_a_run_directory_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny_plan(tmp_path)
    plan.save()
    if os.geteuid() == 0:
        os.chown(plan.paths.root, 12345, -1)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(RunError, match="belongs to user"):
        start.expect_own(plan)


def test_an_outputs_folder_may_be_a_link(tmp_path: Path) -> None:
    (tmp_path / "scratch").mkdir()
    (tmp_path / "outputs").symlink_to(tmp_path / "scratch")
    files.write_text(tmp_path / "outputs" / "run" / "status.json", "{}")
    assert (tmp_path / "scratch" / "run" / "status.json").read_text() == "{}"
    assert ownership.complaint(tmp_path / "outputs" / "run") == ""

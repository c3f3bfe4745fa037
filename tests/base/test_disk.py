"""What is said of a disk without room, and is a final state written on it all the same?"""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from tests.faults.small_disk import filled, small_disk
from tunefleet.base import disk, failures, files, reserve, status
from tunefleet.base.errors import DISK, DiskError, exit_code_of
from tunefleet.base.failures import Failure
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.doors.error_output import exit_on_error

ENDED = Status(State.FAILED, cause=Cause.DISK, reason="full")


def test_a_full_disk_is_named_with_what_is_needed_and_free(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder:
        files.write_text(folder / "note.txt", "old")
        filled(folder)
        with pytest.raises(DiskError) as caught:
            files.write_text(folder / "note.txt", "n" * 5000)
        assert str(caught.value) == (
            f"{folder}/note.txt: No space left on device (4.9 KiB needed, 0 bytes free). Make room there."
        )
        assert (exit_code_of(caught.value), failures.cause_of(caught.value)) == (DISK, Cause.DISK)
        assert (folder / "note.txt").read_text() == "old"
        assert sorted(path.name for path in folder.iterdir()) == ["filler", "note.txt"]  # no half of the new one


def test_room_is_looked_for_before_anything_is_written(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder:
        disk.expect_room(folder / "checkpoints" / "step-1", 1 << 10)
        with pytest.raises(DiskError, match=r"step-1: No space left on device \(3\.0 MiB needed, .* free\)"):
            disk.expect_room(folder / "checkpoints" / "step-1", 3 << 20, files=3)


def test_the_last_state_is_written_in_the_room_of_the_reserve(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder:
        run = RunPaths(folder)
        reserve.keep(folder)
        status.write(run.status, Status(State.RUNNING))
        filled(folder)
        with pytest.raises(DiskError):
            status.write(run.status, Status(State.RUNNING, step=2))  # the reserve is not for this
        failures.write(run, Failure(0, "full", Cause.DISK, DISK))
        status.write(run.status, ENDED)
        assert status.read(run.status) == ENDED
        assert [failure.cause for failure in failures.read_all(run)] == [Cause.DISK]
        assert not (folder / reserve.FILE).exists()


def test_control_without_a_reserve_the_last_state_is_lost(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as folder:
        run = RunPaths(folder)
        status.write(run.status, Status(State.RUNNING))
        filled(folder)
        with pytest.raises(DiskError):
            status.write(run.status, ENDED)
        before = status.read(run.status)
        assert before
        assert before.state is State.RUNNING


def test_a_reserve_is_no_link_that_somebody_has_planted(tmp_path: Path) -> None:
    precious = tmp_path / "precious"
    precious.write_text("mine")
    (tmp_path / reserve.FILE).symlink_to(precious)
    with pytest.raises(OSError, match="symbolic links") as caught:
        reserve.keep(tmp_path)
    assert caught.value.errno == errno.ELOOP
    assert precious.read_text() == "mine"


def test_a_quota_is_named_although_the_disk_has_room(tmp_path: Path) -> None:
    error = OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))
    assert "Disk quota exceeded (2.0 GiB needed, " in str(disk.failure(tmp_path / "x", error, 2 << 30))


def test_a_write_of_a_library_that_names_no_file_ends_a_command_in_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught, exit_on_error():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.code == DISK
    assert capsys.readouterr().err.startswith(f"tunefleet: {Path.cwd()}: No space left on device (")

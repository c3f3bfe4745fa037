"""Is a directory that cannot be written named before any work, with the reason?"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.plan import writable


def test_a_folder_that_can_be_made_or_written(tmp_path: Path) -> None:
    assert writable.obstacle(tmp_path) == ""
    assert writable.obstacle(tmp_path / "not" / "yet" / "there") == ""


def test_a_file_where_a_folder_must_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for folder in (tmp_path / "file", tmp_path / "file" / "run"):
        assert writable.obstacle(folder) == f"{tmp_path / 'file'} is a file"


def test_a_link_to_nothing(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("gone")
    assert writable.obstacle(tmp_path / "link" / "run") == f"{tmp_path / 'link'} is a link to gone, which is not there"
    (tmp_path / "gone").mkdir()
    assert writable.obstacle(tmp_path / "link" / "run") == ""


def test_a_link_to_itself(tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    assert writable.obstacle(tmp_path / "loop" / "run") == f"{tmp_path}/loop/run: Too many levels of symbolic links"


def test_a_name_that_is_too_long(tmp_path: Path) -> None:
    assert "too long" in writable.obstacle(tmp_path / ("x" * 300)).lower()


def test_a_folder_of_somebody_elses(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As the superuser, as in many containers, tests may write everywhere: so the answer is given."""
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert writable.obstacle(tmp_path / "run") == f"{tmp_path} may not be written by you"


def test_a_disk_that_is_read_only() -> None:
    """Every Linux has one: no folder can be made below /proc."""
    assert writable.obstacle(Path("/proc/sys/run")) != ""


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"f_bavail": 3, "f_frsize": 4096}, "the disk of {} is full (1.0 MiB needed, 12.0 KiB free)"),
        ({"f_favail": 0}, "the disk of {} takes no more files"),
        ({"f_bavail": 0, "f_blocks": 0, "f_files": 0, "f_favail": 0}, ""),  # a file system that does not count
    ],
)
def test_a_full_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, change: dict[str, int], said: str) -> None:
    real = os.statvfs(tmp_path)
    names = ("f_bavail", "f_frsize", "f_blocks", "f_files", "f_favail", "f_flag")
    disk: Any = type("Disk", (), {name: getattr(real, name) for name in names} | change)
    monkeypatch.setattr(os, "statvfs", lambda path: disk)
    assert writable.obstacle(tmp_path) == said.format(tmp_path)


def test_the_complaint_names_the_setting(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    writable.expect_writable(plan)
    Path(plan.run_dir).touch()
    with pytest.raises(ConfigError, match=r"^output_dir: .* is a file\. Choose another output_dir=\.$"):
        writable.expect_writable(plan)

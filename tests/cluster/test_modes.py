"""Has all that a job leaves, with the copy of its code and SLURM's own log, the modes of launch.access?"""

from __future__ import annotations

import stat

import pytest

from tests.cluster.commands import Desk


@pytest.mark.parametrize("access", ["private", "umask"])
def test_a_private_job_leaves_nothing_that_others_may_read(access: str, desk: Desk) -> None:
    """Control: the default."""
    desk.pretend("train.max_steps=3", f"launch.access={access}")
    desk.until("finished")
    folder = desk.folder / "outputs"
    paths = [path for path in (folder, *folder.rglob("*")) if not path.is_symlink()]
    readable = [str(path) for path in paths if stat.S_IMODE(path.stat().st_mode) & 0o077]
    assert any("/code/" in str(path) for path in paths)
    assert any("/slurm/" in str(path) and path.suffix == ".out" for path in paths)
    assert any("/logs/" in str(path) for path in paths)
    assert (readable == []) is (access == "private"), readable

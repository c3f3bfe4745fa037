"""Does a link that somebody planted lead us to a file of the user's, and is a directory of somebody else refused?"""

from __future__ import annotations

import errno
import os
import shutil
import stat
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from tests.plans import tiny_plan
from tunefleet.base import files, ownership, pulse, reserve, stacks, status
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths
from tunefleet.base.sealed_files import Sealing
from tunefleet.base.status import State, Status
from tunefleet.data.store.npy_writer import NpyWriter
from tunefleet.doors import start
from tunefleet.doors.error_output import exit_on_error
from tunefleet.launch import attempts
from tunefleet.sweep.journal import Journal
from tunefleet.tracking.metrics import MetricsFile

PRECIOUS = b"the only copy\n"


def sealed(path: Path) -> None:
    with Sealing() as sealing:
        with sealing.file(path) as stream:
            stream.write(b"weights")
        stream.checksum()


def measured(paths: RunPaths) -> None:
    metrics = MetricsFile(paths.metrics, 0)
    metrics.log({"step": 1})
    metrics.finish({})


def stacked(paths: RunPaths) -> None:
    stacks.write_own(paths.root / "stacks.txt", "rank 0")


def pulsed(paths: RunPaths) -> None:
    pulse.Writer(paths.root / "rank0.pulse.json", 0).write(pulse.Shares())


REFUSED, REPLACED = "refused", "replaced"
WRITERS: dict[str, tuple[str, Callable[[RunPaths], object]]] = {
    "status.json": (REPLACED, lambda paths: status.write(paths.status, Status(State.RUNNING))),
    "status.json.tmp": (REPLACED, lambda paths: status.write(paths.status, Status(State.RUNNING))),
    "stop": (REPLACED, lambda paths: files.write_text(paths.stop, "")),
    "rank0.pulse.json": (REPLACED, pulsed),
    "rank0.pulse.place": (REPLACED, pulsed),
    "metrics.jsonl": (REPLACED, measured),
    "attempts.jsonl": (REFUSED, lambda paths: attempts.begin(paths, "key", "1")),
    "journal.jsonl": (REFUSED, lambda paths: Journal(paths.root / "journal.jsonl", [], []).append("closed")),
    "weights.pt": (REFUSED, lambda paths: sealed(paths.root / "weights.pt")),
    "tokens.npy": (REFUSED, lambda paths: NpyWriter(paths.root / "tokens.npy", np.int32)),
    "stacks.txt": (REFUSED, stacked),
    ".heartbeat": (REFUSED, lambda paths: files.touch(paths.heartbeat)),
    ".reserve": (REFUSED, lambda paths: reserve.keep(paths.root)),
}


def written_at_a_link(name: str, folder: Path) -> tuple[str, bool]:
    """(what became of the link, whether the user's file is as it was) after one of our writers met it."""
    precious, paths = folder / "precious", RunPaths(folder / "run")
    precious.write_bytes(PRECIOUS)
    os.utime(precious, (1, 1))
    paths.root.mkdir()
    link = paths.root / name
    link.symlink_to(precious)
    outcome = REPLACED
    try:
        WRITERS[name][1](paths)
    except OSError as error:
        outcome = REFUSED if error.errno == errno.ELOOP else str(error)
    return outcome, (precious.read_bytes(), precious.stat().st_mtime) == (PRECIOUS, 1)


@pytest.fixture(autouse=True)
def known_temporary_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Else nobody could plant a link there."""
    monkeypatch.setattr(files, "temporary_beside", lambda path: path.with_name(f"{path.name}.tmp"))


@pytest.mark.parametrize("name", WRITERS)
def test_a_planted_link_leads_to_no_file_of_the_users(name: str, tmp_path: Path) -> None:
    outcome, is_untouched = written_at_a_link(name, tmp_path)
    assert (outcome, is_untouched) == (WRITERS[name][0], True)
    assert (tmp_path / "run" / name).is_symlink() == (outcome == REFUSED)


@pytest.mark.parametrize("name", WRITERS)
def test_control_our_writers_follow_it_without_the_defence(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for opener in ("no_link", "new_file"):
        monkeypatch.setattr(files, opener, lambda path, flags: os.open(path, flags, 0o666))
    monkeypatch.setattr(os, "replace", shutil.copyfile)  # a rename takes the link's place, a copy follows it
    outcome, is_untouched = written_at_a_link(name, tmp_path)
    assert (outcome, is_untouched) == (REPLACED, False)


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


@pytest.fixture
def no_umask() -> Iterator[None]:
    umask = os.umask(0)
    yield
    os.umask(umask)


@pytest.mark.usefixtures("no_umask")
def test_a_run_directory_of_ours_is_not_refused_whatever_the_umask(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    with exit_on_error():  # as every command does
        plan.save()
    assert stat.S_IMODE(plan.paths.root.stat().st_mode) == 0o775
    start.expect_own(plan)


@pytest.mark.usefixtures("no_umask")
def test_control_with_that_umask_alone_it_is_refused(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path)
    plan.save()
    with pytest.raises(RunError, match="may be written by everybody"):
        start.expect_own(plan)


@pytest.mark.parametrize(
    ("mode", "owner", "is_refused"),
    [
        (0o755, os.geteuid(), False),
        (0o1777, 0, False),  # as /tmp
        (0o755, 0, False),
        (0o2775, 12345, False),  # a group of which this user is shares it
        (0o777, os.geteuid(), True),
        (0o777, 0, True),
        (0o1777, 12345, True),  # its owner may rename what others have there
    ],
)
@pytest.mark.parametrize("name", ["outputs", "cache"])
def test_a_shared_folder_is_refused_where_others_could_replace_what_is_in_it(
    name: str, mode: int, owner: int, is_refused: bool, tmp_path: Path
) -> None:
    if os.geteuid() != 0 and owner != os.geteuid():
        pytest.skip("only root gives files away")
    for folder in ("outputs", "cache"):
        (tmp_path / folder).mkdir()
    plan = tiny_plan(tmp_path / "outputs")
    data = replace(plan.config.data, cache=str(tmp_path / "cache"))
    plan = replace(plan, config=replace(plan.config, data=data))
    plan.save()
    os.chown(tmp_path / name, owner, os.getegid() if mode & stat.S_ISGID else 12345)
    (tmp_path / name).chmod(mode)
    if is_refused:
        with pytest.raises(RunError, match=name):
            start.expect_own(plan)
    else:
        start.expect_own(plan)

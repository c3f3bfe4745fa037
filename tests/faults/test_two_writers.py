"""Two processes that write to one place at the same time: does one win, whole, and does the other say why not?"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import pytest

from tests.ranks import ROOT
from tunefleet.base import delivery, files, owner_lock, swap
from tunefleet.base.errors import RunError

STAGER = """
import sys
from pathlib import Path
from tunefleet.base import delivery
folder = Path(sys.argv[1])
with delivery.staging(folder) as staged:
    for name in ("config.json", "a.safetensors", "b.safetensors"):
        (staged / name).write_text("first")
    print("staged", flush=True)
    sys.stdin.readline()
    delivery.deliver(staged, folder, {"content": "first"})
"""


@contextmanager
def stager(folder: Path, where: Path) -> Iterator[subprocess.Popen[str]]:
    """A process that has staged an export for `folder`, stands in `where`, and delivers when it is told to."""
    with subprocess.Popen(
        [sys.executable, "-c", STAGER, str(folder)],
        cwd=where,
        env={**os.environ, "PYTHONPATH": str(ROOT / "src")},
        text=True,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "staged\n"
        yield process
        process.kill()


def deliver(folder: Path, content: str, wait: float = 0.0) -> None:
    with delivery.staging(folder, wait) as staged:
        (staged / "config.json").write_text(content)
        (staged / "a.safetensors").write_text(content)
        delivery.deliver(staged, folder, {"content": content})


def contents(folder: Path) -> dict[str, str]:
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != delivery.RECORD}


FIRST = dict.fromkeys(("config.json", "a.safetensors", "b.safetensors"), "first")
SECOND = dict.fromkeys(("config.json", "a.safetensors"), "second")


@pytest.mark.parametrize("inside", [False, True], ids=["beside", "in-place"])
def test_the_second_is_refused_and_the_first_is_whole(tmp_path: Path, inside: bool) -> None:
    """Also where one of them stands in the folder, which then cannot be renamed."""
    folder = tmp_path / "export"
    deliver(folder, "old")
    with stager(folder, folder if inside else tmp_path) as first:
        with pytest.raises(RunError, match=rf"export: is being written by pid {first.pid} on .*, since .*\. Wait for"):
            deliver(folder, "second")
        old = {path.name: path.read_text() for path in folder.iterdir() if path.suffix in (".json", ".safetensors")}
        old.pop(delivery.RECORD)
        assert old == dict.fromkeys(SECOND, "old")
        first.communicate("\n")
        assert first.returncode == 0
    assert contents(folder) == FIRST
    assert delivery.changes(folder) == []
    assert os.listdir(tmp_path) == ["export"]


def test_one_that_may_wait_comes_after_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "export"
    with stager(folder, tmp_path) as first:
        assert first.stdin
        first.stdin.write("\n")
        first.stdin.flush()
        deliver(folder, "second", wait=60)
    assert contents(folder) == SECOND
    assert capsys.readouterr().err.count("\n") <= 1


def test_what_a_killed_one_left_goes(tmp_path: Path) -> None:
    folder = tmp_path / "export"
    deliver(folder, "old")
    with stager(folder, tmp_path) as first:
        first.kill()
        first.wait()
        assert len(os.listdir(tmp_path)) > 1, "the fault left nothing"
        deliver(folder, "second")
    assert contents(folder) == SECOND
    assert os.listdir(tmp_path) == ["export"]


def test_control_without_the_lock_the_first_loses_what_it_staged(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owner_lock, "hold", lambda *_, **__: nullcontext())
    folder = tmp_path / "export"
    with stager(folder, tmp_path) as first:
        deliver(folder, "second")
        _, errors = first.communicate("\n")
        assert first.returncode, errors


def test_two_hosts_with_the_same_pid_have_other_temporary_names(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Containers that share a disk may have the same name and the same numbers; the control is the pid alone."""
    names = {swap.name_beside(tmp_path / "export").name for _ in range(2)}
    assert len(names) == 2
    assert all(swap.is_leftover(name, tmp_path / "export") for name in names)
    monkeypatch.setattr(files.secrets, "token_hex", lambda _: "00000000")
    assert len({swap.name_beside(tmp_path / "export").name for _ in range(2)}) == 1


def test_of_two_imports_to_one_file_one_writes(tmp_path: Path) -> None:
    """Each has looked whether the file is there; the control replaces it."""
    files.write_new(tmp_path / "mine.yaml", "first")
    with pytest.raises(FileExistsError):
        files.write_new(tmp_path / "mine.yaml", "second")
    assert (tmp_path / "mine.yaml").read_text() == "first"
    assert os.listdir(tmp_path) == ["mine.yaml"]
    files.write_text(tmp_path / "mine.yaml", "second")
    assert (tmp_path / "mine.yaml").read_text() == "second"

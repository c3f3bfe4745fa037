"""Is a build of C++ that was killed no reason to wait for ever, and a living one left alone?

The builds are torch's own (`torch.utils.cpp_extension`); their compiler is a script, which waits for a file `go`.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.faults.waiting import until
from tunefleet.base import builds, processes
from tunefleet.base import owner as owners

BUILD = """
import sys
from torch.utils import cpp_extension
if sys.argv[1] == "guarded":
    from tunefleet.libraries import torch_private
    torch_private.guard_builds()
module = cpp_extension.load("answer", ["answer.cpp"])
print("built", module.answer(), flush=True)
"""
SOURCE = """
#include <Python.h>
static PyObject *answer(PyObject *, PyObject *) { return PyLong_FromLong(42); }
static PyMethodDef methods[] = {{"answer", answer, METH_NOARGS, ""}, {nullptr, nullptr, 0, nullptr}};
static PyModuleDef module = {PyModuleDef_HEAD_INIT, "answer", "", -1, methods};
PyMODINIT_FUNC PyInit_answer() { return PyModule_Create(&module); }
"""
COMPILER = """#!/bin/sh
case "$*" in
*answer.cpp*) echo $$ > {folder}/compiling; while [ ! -e {folder}/go ]; do sleep 0.05; done;;
esac
exec c++ "$@"
"""


class Desk:
    """A folder with a source, a compiler that waits, and torch's folder of extensions."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.lock = folder, folder / "extensions" / "answer" / "lock"
        (folder / "answer.cpp").write_text(SOURCE)
        (folder / "compiler").write_text(COMPILER.format(folder=folder))
        (folder / "compiler").chmod(0o755)
        (folder / "extensions").mkdir()

    def build(self, kind: str = "guarded") -> subprocess.Popen[str]:
        """A process that builds the extension and uses it."""
        path = f"{os.environ['PATH']}{os.pathsep}{Path(sys.executable).parent}"
        variables = {"TORCH_EXTENSIONS_DIR": str(self.folder / "extensions"), "CXX": str(self.folder / "compiler")}
        return subprocess.Popen(
            [sys.executable, "-c", BUILD, kind],
            cwd=self.folder,
            env={**os.environ, **variables, "PATH": path},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def compiling(self) -> int:
        """The compiler, when it is at work."""
        file = self.folder / "compiling"
        until(lambda: file.exists() and bool(file.read_text().strip()))
        return int(file.read_text())


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    if shutil.which("c++") is None:
        pytest.skip("no C++ compiler is installed")
    return Desk(tmp_path)


def test_a_build_that_was_killed_is_built_anew(desk: Desk) -> None:
    first = desk.build()
    compiler = desk.compiling()
    first.send_signal(signal.SIGKILL)
    first.communicate()
    assert desk.lock.exists(), "the fault did not fire"
    second = desk.build()  # ninja of the first is still at work: it waits for that
    until(lambda: "waiting" in (second.stdout.readline() if second.stdout else ""))
    assert processes.is_alive(compiler)
    (desk.folder / "go").touch()
    output, _ = second.communicate(timeout=300)
    assert "lock: removed; the build that it was of is dead" in output
    assert output.endswith("built 42\n")
    assert not desk.lock.exists()


@pytest.mark.exhaustive
def test_control_torch_alone_waits_for_ever(desk: Desk) -> None:
    (desk.folder / "go").touch()
    desk.lock.parent.mkdir()
    desk.lock.touch()
    with desk.build("plain") as process:
        with pytest.raises(subprocess.TimeoutExpired):
            process.wait(timeout=15)
        process.kill()
    assert desk.lock.exists()


def test_the_lock_of_a_living_build_stays(tmp_path: Path) -> None:
    """A process that is not of tunefleet has it open, as torch's own builds do."""
    lock = tmp_path / "lock"
    holds = f"import time; stream = open({str(lock)!r}, 'x'); print('held', flush=True); time.sleep(60)"
    takes = f"""
from pathlib import Path
from tunefleet.base import builds
with builds.turn(Path({str(tmp_path)!r})):
    print("mine", flush=True)
"""
    pipe = subprocess.PIPE
    with (
        subprocess.Popen([sys.executable, "-IS", "-c", holds], stdout=pipe, text=True) as owner,
        subprocess.Popen([sys.executable, "-c", takes], stdout=pipe, text=True) as other,
    ):
        assert owner.stdout
        assert other.stdout
        assert owner.stdout.readline() == "held\n"
        os.utime(lock, (0, 0))  # however old it is
        assert other.stdout.readline().startswith(f"waiting for {lock}: ")
        time.sleep(1)
        assert lock.exists()
        owner.kill()
        assert other.stdout.readline().startswith(f"{lock}: removed")
        assert other.stdout.readline() == "mine\n"


def test_one_of_another_machine_is_waited_for_until_it_is_old(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """On a shared disk nobody here can know whether its process lives."""
    owners.this_machine()  # is remembered for the whole process, and must not be what is patched next
    monkeypatch.setattr(os, "readlink", lambda path: "")  # this machine's processes are not all to be seen
    monkeypatch.setattr(builds, "PATIENCE", 2.0)
    (tmp_path / "lock").touch()
    began = time.monotonic()
    with builds.turn(tmp_path):
        assert not (tmp_path / "lock").exists()
    assert time.monotonic() - began > 1

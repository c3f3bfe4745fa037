"""strace for tests: the system calls of a process, and a process that is killed at one of them."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

_CALL = re.compile(r"(?:(?P<pid>\d+) +)?(?P<start>\d+\.\d+) (?P<name>\w+)\((?P<arguments>.*)")
_END = re.compile(r"(?P<pid>\d+) +(?P<end>\d+\.\d+) <\.\.\. (?P<name>\w+) resumed>.*<(?P<took>[\d.]+)>$")
_TOOK = re.compile(r"<(?P<took>[\d.]+)>$")
_PATH = re.compile(r"\d+<(?P<path>[^>]+)>")


def expect_strace() -> None:
    """Skips the test where strace is missing, or may not look at a process of its own user."""
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    if subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False).returncode:
        pytest.skip("strace may not trace a process here")


def allow_any_tracer() -> None:
    """Lets a process that is no ancestor trace this one, where the kernel asks (Yama)."""
    ctypes.CDLL(None).prctl(0x59616D61, ctypes.c_ulong(-1))  # PR_SET_PTRACER, PR_SET_PTRACER_ANY


@dataclass(frozen=True)
class Call:
    """One system call: its name, when it began and ended (seconds), the file it is about, and its arguments."""

    name: str
    start: float
    end: float
    path: str
    arguments: str


@contextmanager
def traced(log: Path, calls: str) -> Iterator[None]:
    """Within it, the `calls` of this process and its threads are written to `log`."""
    command = ["strace", "-f", "-y", "-ttt", "-T", "-e", f"trace={calls}", "-o", str(log), "-p", str(os.getpid())]
    with _attached(command):
        yield


@contextmanager
def refusing(call: str, error: str, path: Path, log: Path) -> Iterator[None]:
    """Within it the kernel answers every system call `call` of this process about `path` with `error`, as EIO.

    What it refused is in `log`.
    """
    inject = ["-P", str(path), "-e", f"trace={call}", "-e", f"inject={call}:error={error}"]
    with _attached(["strace", "-f", "-o", str(log), *inject, "-p", str(os.getpid())]):
        yield


@contextmanager
def _attached(command: list[str]) -> Iterator[None]:
    """Within it, strace looks at this process."""
    allow_any_tracer()
    process = subprocess.Popen(command, stderr=subprocess.DEVNULL)
    while not _tracer():
        assert process.poll() is None, "strace has ended"
        time.sleep(0.01)
    try:
        yield
    finally:
        process.send_signal(signal.SIGINT)
        process.wait()


def _tracer() -> int:
    status = Path("/proc/self/status").read_text()
    return int(status.split("TracerPid:")[1].split()[0])


def calls(log: Path) -> list[Call]:
    """What `traced` wrote, in the order of the ends."""
    begun: dict[str, tuple[str, float, str]] = {}
    finished = []
    for line in log.read_text(errors="replace").splitlines():
        if match := _END.match(line):
            name, start, arguments = begun.pop(match["pid"])
            finished.append(_call(name, start, float(match["took"]), arguments))
        elif match := _CALL.match(line):
            if line.endswith("<unfinished ...>"):
                begun[match["pid"]] = match["name"], float(match["start"]), match["arguments"]
            elif took := _TOOK.search(line):
                finished.append(_call(match["name"], float(match["start"]), float(took["took"]), match["arguments"]))
    return sorted(finished, key=lambda call: call.end)


def _call(name: str, start: float, took: float, arguments: str) -> Call:
    path = _PATH.match(arguments)
    return Call(name, start, start + took, path["path"] if path else "", arguments)


def killed_at(pid: int, call: tuple[str, int] | None, log: Path) -> subprocess.Popen[bytes]:
    """strace, attached to the stopped process `pid`; it kills it as the `call`, (name, which of this name), begins."""
    inject = ["-e", f"inject={call[0]}:signal=KILL:when={call[1]}"] if call else []
    process = subprocess.Popen(["strace", "-o", str(log), *inject, "-p", str(pid)], stderr=subprocess.PIPE)
    assert process.stderr
    assert b"attached" in process.stderr.readline()
    return process

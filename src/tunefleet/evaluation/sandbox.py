"""Sandbox: runs a Python program that a model wrote, for a while, with little memory and without a network."""

from __future__ import annotations

import contextlib
import functools
import os
import secrets
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass

_LOADER = """
import os, resource, sys
token, seconds, memory, size = sys.stdin.readline().split()
limits = {"CPU": int(seconds), "AS": int(memory), "FSIZE": int(size), "NPROC": 0, "NOFILE": 32, "CORE": 0}
for name, limit in limits.items():
    resource.setrlimit(getattr(resource, f"RLIMIT_{name}"), (limit, limit))
exec(compile(sys.stdin.read(), "answer.py", "exec"), {"__name__": "__main__"})
os.write(3, token.encode())
"""  # what ends early, even with 0, does not reach the last line
_ISOLATED = ("unshare", "--user", "--map-current-user", "--net", "--pid", "--fork", "--kill-child")


@dataclass(frozen=True)
class SandboxLimits:
    """Seconds of the whole program, bytes of its memory and of each file that it writes."""

    seconds: int = 10
    memory: int = 1 << 30
    file_size: int = 16 << 20


LIMITS = SandboxLimits()


def passes(program: str, limits: SandboxLimits = LIMITS) -> bool:
    """Whether `program` comes to its end without an error, in a process with an empty environment and folder.

    It can read what this user can read: a container is for code that is meant to do harm.
    """
    token = secrets.token_hex(16)
    request = f"{token} {limits.seconds} {limits.memory} {limits.file_size}\n{program}"
    with tempfile.TemporaryDirectory() as folder:
        return _run(request.encode(), folder, limits.seconds) == token


def _run(request: bytes, folder: str, seconds: int) -> str:
    """What the loader writes at its end."""
    result, writer = os.pipe()
    command = [*isolation(), sys.executable, "-I", "-c", f"import os; os.dup2({writer}, 3)\n{_LOADER}"]
    devnull = subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=devnull,
        stderr=devnull,
        cwd=folder,
        env={},
        pass_fds=(writer,),
        start_new_session=True,
    )
    os.close(writer)
    try:
        process.communicate(request, timeout=seconds)
        is_whole = process.returncode == 0
    except subprocess.TimeoutExpired:
        is_whole = False
    finally:
        _end(process)
    with os.fdopen(result, "rb") as stream:
        os.set_blocking(result, False)
        return (stream.read() or b"").decode() if is_whole else ""


def _end(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


@functools.cache
def isolation() -> tuple[str, ...]:
    """What starts a process without a network, whose children end with it; empty where that is not allowed."""
    try:
        is_allowed = subprocess.run([*_ISOLATED, "true"], capture_output=True, timeout=10, check=False).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        is_allowed = False
    return _ISOLATED if is_allowed else ()

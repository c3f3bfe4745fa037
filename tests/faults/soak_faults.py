"""The faults of a soak: each breaks a run in one way from outside, and returns what it did."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

STOPPED_SECONDS = (0.5, 4.0)
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_MARGIN = 4096


@dataclass(frozen=True)
class Scene:
    """A run that can be broken: its directory, the process that was started (None between two starts), and the dice."""

    run: Path
    dice: random.Random
    launcher: subprocess.Popen[bytes] | None = None

    def processes(self) -> list[int]:
        """The launcher and everything below it, now."""
        return descendants(self.launcher.pid) if self.launcher else []

    def checkpoints(self) -> list[Path]:
        """Folders of checkpoints that count or are thought to, the oldest first."""
        names = (self.run / "checkpoints").glob("step-*")
        return sorted(path for path in names if path.suffix == "" and path.is_dir())


Fault = Callable[[Scene], str]
"""What was done, for the log; empty where there was nothing to break."""


def descendants(process: int) -> list[int]:
    """A process and all below it that this machine has now."""
    try:
        children = Path(f"/proc/{process}/task/{process}/children").read_text().split()
    except OSError:
        return []
    return [process, *(deeper for child in children for deeper in descendants(int(child)))]


def kill_launcher(scene: Scene) -> str:
    """SIGKILL to the process that the user started."""
    return _send(scene, signal.SIGKILL, scene.processes()[:1])


def kill_process(scene: Scene) -> str:
    """SIGKILL to a rank or to a helper process of one."""
    return _send(scene, signal.SIGKILL, _any_but_the_launcher(scene))


def kill_all(scene: Scene) -> str:
    """SIGKILL to everything at once, as a machine does that goes down."""
    return _send(scene, signal.SIGKILL, scene.processes())


def stop_for_a_while(scene: Scene) -> str:
    """SIGSTOP to a rank, and SIGCONT some seconds later: a slow machine."""
    chosen = _any_but_the_launcher(scene)
    done = _send(scene, signal.SIGSTOP, chosen)
    time.sleep(scene.dice.uniform(*STOPPED_SECONDS))
    _send(scene, signal.SIGCONT, chosen)
    return done


def stop_and_interrupt(scene: Scene) -> str:
    """SIGSTOP to a rank that never goes on, and a Ctrl-C to the launcher, twice."""
    chosen = _any_but_the_launcher(scene)
    done = _send(scene, signal.SIGSTOP, chosen)
    for _ in range(2):
        _send(scene, signal.SIGINT, scene.processes()[:1])
        time.sleep(1)
    _send(scene, signal.SIGCONT, chosen)
    return f"{done}, then SIGINT twice" if done else ""


def signal_one(scene: Scene) -> str:
    """A signal that asks to leave, to the launcher or to any process of the run."""
    processes = scene.processes()
    return _send(scene, scene.dice.choice(_SIGNALS), [scene.dice.choice(processes)] if processes else [])


def stop_file(scene: Scene) -> str:
    """The file `stop` appears in the run directory."""
    if not scene.run.is_dir():
        return ""
    (scene.run / "stop").touch()
    return "wrote the file stop"


def fill_disk(scene: Scene) -> str:
    """Fills the file system of the run until the run has ended, and makes room again."""
    ballast = scene.run.parent.parent / "ballast"
    space = os.statvfs(ballast.parent)
    if space.f_bavail * space.f_frsize > 2**30 or not scene.launcher:  # the disk of somebody else
        return ""
    size = _fill(ballast)
    with suppress(subprocess.TimeoutExpired):
        scene.launcher.wait(timeout=60)
    ballast.unlink()
    return f"filled the disk with {size:,} bytes"


def flip_byte(scene: Scene) -> str:
    """One byte of any file of the newest checkpoint is another one."""
    return _damage(scene, lambda content, at: content[:at] + bytes([content[at] ^ 0xFF]) + content[at + 1 :])


def truncate(scene: Scene) -> str:
    """Any file of the newest checkpoint ends somewhere in its middle."""
    return _damage(scene, lambda content, at: content[:at])


def remove_file(scene: Scene) -> str:
    """Any file of the newest checkpoint is gone."""
    path = _file_of_newest(scene)
    if path is None:
        return ""
    path.unlink()
    return f"removed {path.relative_to(scene.run)}"


def break_record(scene: Scene) -> str:
    """The pointer or the status is empty, torn, binary, or gone."""
    path = scene.dice.choice([scene.run / "checkpoints" / "latest.json", scene.run / "status.json"])
    if not path.exists():
        return ""
    content = path.read_bytes()
    broken = scene.dice.choice([b"", content[: len(content) // 2], scene.dice.randbytes(50), None])
    path.unlink() if broken is None else path.write_bytes(broken)
    return f"left {path.name} {'out' if broken is None else f'with {len(broken)} bytes'}"


WHILE_RUNNING: tuple[Fault, ...] = (
    kill_launcher,
    kill_process,
    kill_all,
    stop_for_a_while,
    stop_and_interrupt,
    signal_one,
    stop_file,
    fill_disk,
)
BETWEEN_STARTS: tuple[Fault, ...] = (flip_byte, truncate, remove_file, break_record)


def _any_but_the_launcher(scene: Scene) -> list[int]:
    below = scene.processes()[1:]
    return [scene.dice.choice(below)] if below else []


def _send(scene: Scene, number: signal.Signals, processes: list[int]) -> str:
    """Signals processes that were below the launcher a moment ago."""
    reached = []
    for process in processes:
        with suppress(ProcessLookupError):
            os.kill(process, number)
            reached.append(process)
    return f"{number.name} to {len(reached)} of {len(scene.processes()) or len(reached)} processes" if reached else ""


def _fill(ballast: Path) -> int:
    """Writes until the disk is full to its last block; the bytes written."""
    with open(ballast, "wb", buffering=0) as stream, suppress(OSError):
        for block in (2**20, _MARGIN, 1):
            with suppress(OSError):
                while stream.write(b"\0" * block):
                    pass
    return ballast.stat().st_size


def _file_of_newest(scene: Scene) -> Path | None:
    """A file of the newest checkpoint; None where it is the only one, for that is not to be got over."""
    folders = scene.checkpoints()
    if len(folders) < 2:
        return None
    return scene.dice.choice(sorted(path for path in folders[-1].rglob("*") if path.is_file()))


def _damage(scene: Scene, change: Callable[[bytes, int], bytes]) -> str:
    path = _file_of_newest(scene)
    if path is None or not path.stat().st_size:
        return ""
    content = path.read_bytes()
    at = scene.dice.randrange(len(content))
    path.write_bytes(change(content, at))
    return f"changed byte {at:,} of {path.relative_to(scene.run)}"

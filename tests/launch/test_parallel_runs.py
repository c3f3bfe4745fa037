"""Are slots kept busy and apart, does no point stop the others, and do all end when a person says so?"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.launch import parallel_runs
from tunefleet.plan import Machine, Plan
from tunefleet.plan.processes.slots import Share

# A point without torch: it writes its process id and its GPUs, then does what the test wrote for it.
FAKE_POINT = '''"""A point that does what the file `body` in its directory says."""
import json, os, pathlib, signal, sys, time

from tunefleet.doors.rank import end_with_launcher

root = pathlib.Path(sys.argv[1])
folder = root.parent


def meet(other):
    """Waits until the other point is there."""
    while not (folder / other / "saw").exists():
        time.sleep(0.01)


def save(seconds, code):
    """Ends `seconds` after the first signal, at once at the second."""
    asked = []

    def ask(number, frame):
        asked.append(number)
        (root / "asked").write_text(str(len(asked)))
        (root / "signal").write_text(signal.Signals(number).name)
        if len(asked) > 1:
            sys.exit(130)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, ask)
    (root / "listens").touch()
    while not asked:
        time.sleep(0.01)
    time.sleep(seconds)
    sys.exit(code)


end_with_launcher()
(root / "saw").write_text(json.dumps([os.getpid(), os.environ.get("CUDA_VISIBLE_DEVICES"), time.time()]))
exec((root / "body").read_text())
(root / "left").write_text(str(time.time()))
'''
LAUNCHER = """
import sys
from pathlib import Path
from tests.launch.test_parallel_runs import Fake, SHARE
from tunefleet.launch import parallel_runs
from tunefleet.plan import Plan
parallel_runs.POINT_MODULE = "fake_point"
points = [Fake(Plan.read(Path(folder))) for folder in sys.argv[1:]]
interrupted = parallel_runs.run(points, SHARE)
print(interrupted, [point.code for point in points])
"""
SHARE = Share(2, Machine(gpus=2, cores=1), ("4", "5", "6", "7"))


@dataclass
class Fake:
    """A point that is told what happens to it."""

    plan: Plan
    there: bool = True
    code: int | None = None
    told: list[str] = field(default_factory=list)

    def ready(self) -> bool:
        self.told.append("ready")
        return self.there

    def started(self) -> None:
        self.told.append("started")

    def ended(self, code: int) -> None:
        self.code = code
        self.told.append("ended")


@pytest.fixture
def points(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., list[Fake]]]:
    """Points that do what their bodies say; afterwards no process of theirs may be left."""
    (tmp_path / "fake_point.py").write_text(FAKE_POINT)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(parallel_runs, "POINT_MODULE", "fake_point")
    monkeypatch.setattr(parallel_runs, "POLL", 0.02)

    def points(*bodies: str) -> list[Fake]:
        made = []
        for number, body in enumerate(bodies):
            plan = _named(tmp_path, f"p{number}")
            (plan.paths.root / "body").write_text(body)
            made.append(Fake(plan))
        return made

    yield points
    survivors = [pid for pid in (_saw(path)[0] for path in tmp_path.glob("p*/saw")) if _alive(int(pid))]
    for pid in survivors:
        os.kill(int(pid), signal.SIGKILL)
    assert survivors == []


def _named(folder: Path, name: str) -> Plan:
    plan = replace(tiny_plan(folder), name=name, run_dir=str(folder / name))
    plan.save()
    return plan


def _saw(path: Path) -> list[str]:
    return [str(value) for value in json.loads(path.read_text())]


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_codes_of_all_arrive_and_none_that_fails_stops_the_others(points: Callable[..., list[Fake]]) -> None:
    row = points("", "sys.exit(3)", "os.kill(os.getpid(), signal.SIGKILL)", "", "sys.exit(2)")
    assert parallel_runs.run(row, SHARE) is False
    assert [point.code for point in row] == [0, 3, -signal.SIGKILL, 0, 2]
    assert all(point.told == ["ready", "started", "ended"] for point in row)


def test_slots_run_side_by_side_each_with_its_gpus(points: Callable[..., list[Fake]]) -> None:
    row = points("meet('p1')", "meet('p0')", "meet('p3')", "meet('p2')")
    assert parallel_runs.run(row, SHARE) is False  # would wait for ever with one slot
    gpus = [_saw(point.plan.paths.root / "saw")[1] for point in row]
    assert sorted(gpus[:2]) == sorted(gpus[2:]) == ["4,5", "6,7"]


def test_there_are_never_more_than_the_slots(points: Callable[..., list[Fake]]) -> None:
    row = points(*["time.sleep(0.3)"] * 5)
    parallel_runs.run(row, SHARE)
    spans = [
        (float(_saw(point.plan.paths.root / "saw")[2]), float((point.plan.paths.root / "left").read_text()))
        for point in row
    ]
    assert max(sum(began <= moment <= survivors for began, survivors in spans) for moment, _ in spans) == 2


def test_what_is_not_ready_is_not_started(points: Callable[..., list[Fake]]) -> None:
    row = points("", "", "")
    row[1].there = False
    parallel_runs.run(row, SHARE)
    assert [point.told for point in row] == [["ready", "started", "ended"], ["ready"], ["ready", "started", "ended"]]
    assert not (row[1].plan.paths.root / "saw").exists()


def test_output_joins_that_of_earlier_starts(points: Callable[..., list[Fake]], capfd: Any) -> None:
    row = points("print('out', flush=True); print('err', file=sys.stderr)")
    parallel_runs.run(row, SHARE)
    parallel_runs.run(row, SHARE)
    assert row[0].plan.paths.console.read_text() == "out\nerr\nout\nerr\n"
    assert capfd.readouterr().out == ""


# Signals: the grid runs in a process of its own, as it does for a person


def launch(row: list[Fake]) -> subprocess.Popen[str]:
    """A grid whose first two points listen."""
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, *(point.plan.run_dir for point in row)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + 60
    while not all((point.plan.paths.root / "listens").exists() for point in row[:2]):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.killpg), (signal.SIGTERM, os.kill)],
    ids=["Ctrl-C in a terminal", "SIGTERM"],
)
def test_all_save_and_none_further_starts(
    points: Callable[..., list[Fake]], number: int, send: Callable[[int, int], None]
) -> None:
    row = points("save(0.2, 130)", "save(0.5, 130)", "")
    process = launch(row)
    send(process.pid, number)
    output = process.communicate(timeout=60)
    assert output[0] == "True [130, 130, None]\n"
    assert output[1] == "\ntunefleet: all points save, then stop; once more to stop at once.\n"
    assert [(point.plan.paths.root / "asked").read_text() for point in row[:2]] == ["1", "1"]
    assert {(point.plan.paths.root / "signal").read_text() for point in row[:2]} == {signal.Signals(number).name}
    assert not (row[2].plan.paths.root / "saw").exists()


def test_a_second_signal_is_passed_on(points: Callable[..., list[Fake]]) -> None:
    row = points("save(60, 0)", "save(60, 0)")
    process = launch(row)
    process.send_signal(signal.SIGINT)
    while not all((point.plan.paths.root / "asked").exists() for point in row):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    assert process.communicate(timeout=60)[0] == "True [130, 130]\n"


def test_points_end_with_a_grid_that_was_killed(points: Callable[..., list[Fake]]) -> None:
    row = points("save(0, 130)", "save(0, 130)", "")
    process = launch(row)
    process.kill()
    process.communicate(timeout=60)
    pids = [int(_saw(point.plan.paths.root / "saw")[0]) for point in row[:2]]
    deadline = time.monotonic() + 60
    while any(_alive(pid) for pid in pids) and time.monotonic() < deadline:
        time.sleep(0.05)
    signals = [int((point.plan.paths.root / "asked").read_text()) for point in row[:2]]
    assert (
        min(signals) >= 1
    )  # Linux asks once for each thread of the dead launcher; `signals.caught` takes that for one
    assert not (row[2].plan.paths.root / "saw").exists()

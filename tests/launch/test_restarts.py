"""Does a run here start again after what another start fixes, after nothing else, and never beside itself?"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tests.launch.test_local import LONG, alive, bodies, plan, rank_ids, state
from tests.plans import tiny_plan
from tunefleet.base import failures, processes, status
from tunefleet.base.errors import ConfigError
from tunefleet.base.status import Cause, State
from tunefleet.doors.compose import from_overrides
from tunefleet.launch import attempts, restarts
from tunefleet.plan import Machine, Plan, make

__all__ = ["plan"]  # the fixture of a run of two ranks without torch
SAVES = """
def save(step):
    path = root / "status.json"
    record = json.loads(path.read_text())
    path.write_text(json.dumps({**record, "saved_step": step}))
starts = root / f"starts{rank}"
with open(starts, "a") as stream:
    stream.write(f"{os.getpid()}\\n")
start = len(starts.read_text().splitlines())
"""
DIES = "os.kill(os.getpid(), signal.SIGKILL)"
LAUNCHER = """
import sys
from pathlib import Path
from tunefleet.launch import local, restarts
from tunefleet.plan import Plan
local.RANK_MODULE = "fake_rank"
restarts.FIRST_PAUSE = 60.0
sys.exit(restarts.run(Plan.read(Path(sys.argv[1]))))
"""


def allowed(run: Plan, count: int) -> Plan:
    """The run, which may start again `count` times."""
    launch = replace(run.config.launch, restarts=count)
    return replace(run, config=replace(run.config, launch=launch))


def starts(run: Plan) -> int:
    return len((run.paths.root / "starts1").read_text().splitlines())


def ends_with(run: Plan, last: str, saves: bool = True) -> None:
    """Rank 1 does `last` in every start; rank 0 waits, and saves a further step before if `saves`."""
    first = "save(start); " if saves else ""
    bodies(run, SAVES + LONG, f"{SAVES}{first}{last}")


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(restarts, "FIRST_PAUSE", 0.6)


def test_a_killed_rank_is_started_again_until_the_run_is_done(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    """Both ranks of a start end before the next begins, and status.json has no final state in between."""
    looks = "(root / f'look{start}').write_text((root / 'status.json').read_text())"
    rank_0 = f"{SAVES}{looks}\n_ = [time.sleep(0.05) for _ in range(1200 if start < 3 else 1)]"
    waits = "while not (root / f'look{start}').exists():\n    time.sleep(0.02)"
    bodies(plan, rank_0, f"{SAVES}{waits}\nsave(start); {DIES} if start < 3 else None")
    assert restarts.run(allowed(plan, 5)) == 0
    console = capsys.readouterr().err
    assert "tunefleet: restart 1 of 5 in 1 s: rank 1 of 2 was killed by SIGKILL" in console
    assert "tunefleet: restart 2 of 5 in 1 s: rank 1 of 2 was killed by SIGKILL" in console
    records = [json.loads((plan.paths.root / f"look{number}").read_text()) for number in (2, 3)]
    assert [(record["state"], record["restarts"]) for record in records] == [("starting", 1), ("starting", 2)]
    lines = [json.loads(line) for line in plan.paths.attempts.read_text().splitlines()]
    done = attempts.read(plan.paths, lines[0]["submission"])
    assert [attempt.cause for attempt in done] == [Cause.KILLED, Cause.KILLED, Cause.NONE]
    assert [(attempt.first, attempt.last) for attempt in done] == [(0, 1), (1, 2), (2, 3)]
    assert done[0].reason.startswith("rank 1 of 2 was killed by SIGKILL")


def test_by_itself_nothing_is_started_again(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    ends_with(plan, DIES)
    assert restarts.run(plan) == 1
    assert starts(plan) == 1
    assert state(plan).state is State.FAILED
    assert "restart" not in capsys.readouterr().err


def test_restarts_are_used_up(plan: Plan) -> None:
    ends_with(plan, DIES)
    assert restarts.run(allowed(plan, 1)) == 1
    assert starts(plan) == 2
    assert state(plan).reason.endswith("(launch.restarts=1 are used up)")


def test_two_starts_without_a_new_step_are_enough(plan: Plan) -> None:
    ends_with(plan, DIES, saves=False)
    assert restarts.run(allowed(plan, 9)) == 1
    assert starts(plan) == 2
    assert state(plan).reason.endswith("(the last 2 attempts saved no new step: save more often)")


@pytest.mark.parametrize(
    ("cause", "code"),
    [(Cause.USER_ERROR, 2), (Cause.NON_FINITE, 3), (Cause.OUT_OF_MEMORY, 1), (Cause.ERROR, 1), (Cause.EXPORT, 1)],
    ids=lambda value: getattr(value, "value", str(value)),
)
def test_what_would_come_again_is_final(plan: Plan, cause: Cause, code: int) -> None:
    ends_with(plan, f"fail('no', {code}, {cause.value!r})")
    assert restarts.run(allowed(plan, 9)) == code
    assert starts(plan) == 1
    assert (state(plan).state, state(plan).cause) == (State.FAILED, cause)


def test_control_a_rank_that_lost_the_others_is_started_again(plan: Plan) -> None:
    ends_with(plan, f"fail('Connection closed by peer', 1, {Cause.LOST_PEER.value!r}) if start == 1 else None")
    (plan.paths.root / "body0.py").write_text(f"{SAVES}os._exit(0)")
    assert restarts.run(allowed(plan, 9)) == 0
    assert starts(plan) == 2


CHILD = """
if start == 1:
    save(1)
    ignore = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); time.sleep(60)"
    import subprocess
    child = subprocess.Popen([sys.executable, "-IS", "-c", ignore], stdout=subprocess.PIPE)
    child.stdout.readline()
    (root / "child").write_text(str(child.pid))
    os.kill(os.getpid(), signal.SIGKILL)
from tunefleet.base import processes
(root / "left").write_text(str(processes.is_alive(int((root / "child").read_text()))))
"""


@pytest.mark.parametrize("ended", [True, False], ids=["defence", "control"])
def test_what_a_rank_has_started_is_gone_before_the_next_start(
    plan: Plan, monkeypatch: pytest.MonkeyPatch, ended: bool
) -> None:
    """A worker of rank 1 outlives it, and does not listen to SIGTERM."""
    monkeypatch.setattr(restarts, "ORPHANS_GRACE", 0.2)
    if not ended:
        monkeypatch.setattr(processes, "end_sessions", lambda leaders, grace: None)
    bodies(plan, f"{SAVES}_ = [time.sleep(0.05) for _ in range(1200 if start == 1 else 1)]", SAVES + CHILD)
    assert restarts.run(allowed(plan, 1)) == 0
    child = int((plan.paths.root / "child").read_text())
    assert (plan.paths.root / "left").read_text() == str(not ended)
    monkeypatch.undo()
    processes.end_sessions([int((plan.paths.root / "starts1").read_text().split()[0])], 0)
    assert not processes.is_alive(child)


@pytest.mark.parametrize(
    ("number", "cancelled", "expected"),
    [
        (signal.SIGINT, False, (State.INTERRUPTED, Cause.INTERRUPT)),
        (signal.SIGTERM, False, (State.INTERRUPTED, Cause.TERMINATED)),
        (signal.SIGTERM, True, (State.CANCELLED, Cause.CANCELLED)),
        (None, False, (State.INTERRUPTED, Cause.STOP_FILE)),
    ],
    ids=["Ctrl-C", "SIGTERM", "tunefleet cancel", "the file stop"],
)
def test_a_pause_can_be_ended(plan: Plan, number: int | None, cancelled: bool, expected: tuple[State, Cause]) -> None:
    ends_with(plan, DIES)
    patient = allowed(plan, 3)
    patient.save()
    process = subprocess.Popen([sys.executable, "-c", LAUNCHER, plan.run_dir], stderr=subprocess.PIPE, text=True)
    assert process.stderr
    with process.stderr as errors:
        line = next(line for line in errors if "restart" in line)
    assert line.startswith("tunefleet: restart 1 of 3 in 60 s: rank 1 of 2 was killed by SIGKILL")
    waiting = state(plan)
    assert (waiting.state, waiting.pid) == (State.REQUEUED, process.pid)
    assert waiting.reason == line.strip().removeprefix("tunefleet: ")
    assert [pid for pid in rank_ids(plan) if alive(pid)] == []
    if cancelled:
        plan.paths.cancelled.touch()
    if number:
        process.send_signal(number)
    else:
        plan.paths.stop.touch()
    assert process.wait(timeout=30) == 130
    assert (state(plan).state, state(plan).cause) == expected
    assert starts(plan) == 1


def test_a_long_pause_is_no_silence(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who looks at a run that waits sees signs of life."""
    ends_with(plan, f"{DIES} if start == 1 else None")
    (plan.paths.root / "body0.py").write_text(f"{SAVES}os._exit(0)")
    began = time.time()
    assert restarts.run(allowed(plan, 1)) == 0
    assert began < plan.paths.heartbeat.stat().st_mtime + 1
    assert status.seconds_since_heartbeat(plan.paths.heartbeat) < 60
    assert failures.read_all(plan.paths) == []


def test_who_started_the_processes_starts_them_again(tmp_path: Path) -> None:
    (tmp_path / "tokenizer.json").write_text("{}")
    overrides = [f"model.tokenizer={tmp_path}", f"output_dir={tmp_path}", "launch.restarts=2"]
    under = Machine(world_size=2, processes_here=2, launcher="torchrun")
    with pytest.raises(ConfigError, match=r"torchrun has started .* again itself: torchrun --max-restarts=2\. Use"):
        make(from_overrides(overrides), under)
    with pytest.raises(ConfigError, match=r"srun has started .* again itself\. Use launch.restarts=0"):
        make(from_overrides(overrides), replace(under, launcher="srun"))
    with pytest.raises(ConfigError, match=r"A SLURM job has launch\.max_restarts=2"):
        make(from_overrides([*overrides, "launch=slurm"]), Machine())
    make(from_overrides(overrides), Machine())  # control


def test_restarts_change_no_weights(tmp_path: Path) -> None:
    identities = {tiny_plan(tmp_path, launch={"restarts": count}).identity for count in (0, 3)}
    assert len(identities) == 1

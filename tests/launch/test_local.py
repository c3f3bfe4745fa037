"""Do ranks on this machine end together, whatever happens, and does the person hear which failed and why?"""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tunefleet.base import failures, status
from tunefleet.base.errors import RunError
from tunefleet.base.failures import Failure
from tunefleet.base.status import Cause, State, Status
from tunefleet.doors.compose import from_overrides
from tunefleet.launch import local
from tunefleet.plan import Machine, Plan, make

# A rank without torch: it writes its process id, then does what the test wrote for it.
FAKE_RANK = '''"""A rank that does what body<RANK>.py says."""
import json, os, pathlib, signal, sys, time

root, rank = pathlib.Path(sys.argv[1]), int(os.environ["RANK"])
logs = root / "logs"
logs.mkdir(exist_ok=True)


def fail(message, code, cause="error"):
    record = {"rank": rank, "message": message, "cause": cause, "exit_code": code, "traceback": ""}
    (logs / f"rank{rank}.failure.json").write_text(json.dumps(record))
    os._exit(code)


def meet(other):
    """Waits until the other rank says that it is there."""
    (root / f"here{rank}").touch()
    while not (root / f"here{other}").exists():
        time.sleep(0.01)


def on_term(act):
    signal.signal(signal.SIGTERM, lambda number, frame: act())


def on_signal(act):
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda number, frame: act(signal.Signals(number).name))


(root / f"pid{rank}").write_text(str(os.getpid()))
exec((root / f"body{rank}.py").read_text())
'''
LONG = "[time.sleep(0.05) for _ in range(1200)]; os._exit(99)"  # a signal just before one long sleep would wait for it
LAUNCHER = """
import sys
from pathlib import Path
from tunefleet.launch import local
from tunefleet.plan import Plan
local.RANK_MODULE = "fake_rank"
sys.exit(local.run(Plan.read(Path(sys.argv[1]))))
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Plan]:
    """A run of two fake ranks; afterwards none of them may be left."""
    (tmp_path / "tokenizer.json").write_text("{}")
    (tmp_path / "fake_rank.py").write_text(FAKE_RANK)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}{os.pathsep}{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setattr(local, "RANK_MODULE", "fake_rank")
    monkeypatch.setattr(local, "POLL", 0.02)
    overrides = ["launch.processes=2", f"model.tokenizer={tmp_path}", f"output_dir={tmp_path}", "name=run"]
    plan = make(from_overrides(overrides), Machine(gpus=0, cores=2))
    plan.save()
    status.write(plan.paths.status, Status(State.RUNNING, step=7, total_steps=40))
    yield plan
    survivors = [pid for pid in rank_ids(plan) if alive(pid)]
    for pid in survivors:
        os.kill(pid, signal.SIGKILL)
    assert survivors == []


def bodies(plan: Plan, *what: str) -> None:
    """What each rank does."""
    for rank, body in enumerate(what):
        (plan.paths.root / f"body{rank}.py").write_text(body)


def rank_ids(plan: Plan) -> list[int]:
    return [int(path.read_text()) for path in sorted(plan.paths.root.glob("pid*"))]


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def state(plan: Plan) -> Status:
    run_status = status.read(plan.paths.status)
    assert run_status is not None
    return run_status


# Good ends


def test_all_succeed(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    bodies(plan, "meet(1)", "meet(0)")
    assert local.run(plan) == 0
    assert len(rank_ids(plan)) == 2
    assert state(plan).state is State.RUNNING  # how it ended is the rank's to write
    assert capsys.readouterr().err == ""


def test_each_rank_finds_the_others(plan: Plan) -> None:
    keys = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT", "OMP_NUM_THREADS")
    body = f"(root / f'saw{{rank}}').write_text(json.dumps([os.environ[key] for key in {keys}] + [os.getppid()]))"
    bodies(plan, body, body)
    assert local.run(plan) == 0
    first, second = (json.loads((plan.paths.root / f"saw{rank}").read_text()) for rank in (0, 1))
    assert first[:2] + second[:2] == ["0", "0", "1", "1"]
    assert first[2:] == second[2:]
    assert first[2:5] == ["2", "2", "127.0.0.1"]
    assert first[6:] == [str(plan.threads), os.getpid()]


def test_each_rank_has_its_own_place_to_write(plan: Plan, capfd: pytest.CaptureFixture[str]) -> None:
    bodies(plan, "print('from zero')", "print('from one'); print('and more', file=sys.stderr)")
    local.run(plan)
    assert capfd.readouterr().out == "from zero\n"
    assert sorted(plan.paths.log(1).read_text().splitlines()) == ["and more", "from one"]
    assert not plan.paths.log(0).exists()


def test_what_an_earlier_start_left_does_not_count(plan: Plan) -> None:
    plan.paths.failure(1).parent.mkdir()
    plan.paths.failure(1).write_text('{"message": "of yesterday", "cause": "error"}')
    plan.paths.stop.touch()
    bodies(plan, "assert not (root / 'stop').exists()", "")
    assert local.run(plan) == 0
    assert not plan.paths.failure(1).exists()


# Failures


def test_a_rank_that_says_why_it_failed(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    bodies(plan, f"meet(1); {LONG}", "meet(0); fail('rows.jsonl:3: no answer', 2)")
    assert local.run(plan) == 2
    reason = f"rank 1 of 2 failed: rows.jsonl:3: no answer Its log: {plan.paths.log(1)}"
    assert capsys.readouterr().err == f"tunefleet: {reason}\n"
    assert (state(plan).state, state(plan).reason, state(plan).step) == (State.FAILED, reason, 7)


def test_rank_0_has_said_it_already(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    bodies(plan, "meet(1); fail('why', 3)", f"meet(0); {LONG}")
    assert local.run(plan) == 3
    assert capsys.readouterr().err == ""
    assert state(plan).reason == "rank 0 of 2 failed: why"


@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_was_killed(plan: Plan, capsys: pytest.CaptureFixture[str], rank: int) -> None:
    doomed, patient = "os.kill(os.getpid(), signal.SIGKILL)", LONG
    bodies(plan, *(f"meet({1 - mine}); {doomed if mine == rank else patient}" for mine in (0, 1)))
    assert local.run(plan) == 1
    assert f"rank {rank} of 2 was killed by SIGKILL (the system may be out of memory)." in capsys.readouterr().err
    assert state(plan).state is State.FAILED
    assert "SIGKILL" in state(plan).reason


def test_a_rank_that_leaves_without_a_word(plan: Plan, capsys: pytest.CaptureFixture[str]) -> None:
    bodies(plan, f"meet(1); {LONG}", "meet(0); sys.exit(9)")
    assert local.run(plan) == 9
    assert "rank 1 of 2 ended with exit code 9." in capsys.readouterr().err


def test_the_cause_is_named_before_those_who_only_lost_it(plan: Plan) -> None:
    """Both have ended when the launcher looks."""
    for rank, cause in enumerate((Cause.LOST_PEER, Cause.ERROR)):
        failures.write(plan.paths, Failure(rank, f"{cause.value} trouble", cause, 1))
    processes = [subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]) for _ in range(2)]
    for process in processes:
        process.wait(timeout=30)
    ranks = local.Ranks(plan.paths, processes)
    ranks.watch()
    assert ranks.verdict() == 1
    assert state(plan).reason == "rank 1 of 2 failed: error trouble"


def test_a_final_state_is_not_written_over(plan: Plan) -> None:
    status.write(plan.paths.status, Status(State.FAILED, reason="loss is nan at step 3"))
    bodies(plan, f"meet(1); {LONG}", "meet(0); fail('something later', 3)")
    assert local.run(plan) == 3
    assert state(plan).reason == "loss is nan at step 3"


def test_the_others_are_asked_politely(plan: Plan) -> None:
    polite = "on_term(lambda: ((root / 'asked').touch(), os._exit(0))); meet(1); " + LONG
    bodies(plan, polite, "meet(0); fail('why', 1)")
    assert local.run(plan) == 1
    assert (plan.paths.root / "asked").exists()


def test_a_rank_that_does_not_listen_is_killed_after_the_grace(plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(local, "GRACE", 0.4)
    bodies(plan, f"signal.signal(signal.SIGTERM, signal.SIG_IGN); meet(1); {LONG}", "meet(0); fail('why', 1)")
    began = time.monotonic()
    assert local.run(plan) == 1
    assert 0.4 < time.monotonic() - began < 20
    assert state(plan).reason.startswith("rank 1 of 2 failed: why")  # not the one that we killed


# Ctrl-C: the launcher runs in a process of its own, as it does for a person

SAVES = """
def save(name):
    with open(root / f"asked{rank}", "a") as asked:
        asked.write(name)
on_signal(save)
meet(1 - rank)
while not (root / f"asked{rank}").exists():
    time.sleep(0.01)
time.sleep(SECONDS)  # saving
sys.exit(CODE)
"""


def saves(seconds: float = 0.3, code: int = 130) -> str:
    """A rank that saves when it is asked to stop, as long as `seconds`."""
    return SAVES.replace("SECONDS", str(seconds)).replace("CODE", str(code))


def launch(plan: Plan) -> subprocess.Popen[str]:
    """A launcher whose two ranks are there."""
    process = subprocess.Popen(
        [sys.executable, "-c", LAUNCHER, plan.run_dir],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,  # a process group of its own, as a shell makes for every command
    )
    deadline = time.monotonic() + 60
    while not all((plan.paths.root / f"here{rank}").exists() for rank in (0, 1)):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return process


def signal_seen(plan: Plan, rank: int) -> str:
    return (plan.paths.root / f"asked{rank}").read_text()


@pytest.mark.parametrize(
    ("number", "send"),
    [(signal.SIGINT, os.killpg), (signal.SIGINT, os.kill), (signal.SIGTERM, os.kill)],
    ids=["Ctrl-C in a terminal", "SIGINT", "SIGTERM"],
)
def test_ctrl_c_lets_every_rank_save(plan: Plan, number: int, send: Callable[[int, int], None]) -> None:
    bodies(plan, saves(), saves())
    process = launch(plan)
    send(process.pid, number)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    name = signal.Signals(number).name
    assert (signal_seen(plan, 0), signal_seen(plan, 1)) == (name, name)
    assert state(plan).cause is (Cause.INTERRUPT if number == signal.SIGINT else Cause.TERMINATED)
    assert state(plan).state is State.INTERRUPTED
    assert errors == "\ntunefleet: saving, then stopping; once more to stop at once.\n"


def test_ranks_that_could_not_write_that_they_were_cancelled(plan: Plan) -> None:
    bodies(plan, saves(), saves())
    process = launch(plan)
    plan.paths.cancelled.touch()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert (state(plan).state, state(plan).cause) == (State.CANCELLED, Cause.CANCELLED)


def test_ranks_that_save_at_different_speeds_are_asked_once(plan: Plan) -> None:
    bodies(plan, saves(seconds=0.2), saves(seconds=1.0))
    process = launch(plan)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert (signal_seen(plan, 0), signal_seen(plan, 1)) == ("SIGINT", "SIGINT")


def test_a_second_ctrl_c_stops_at_once(plan: Plan) -> None:
    bodies(plan, saves(seconds=60), saves(seconds=60))
    process = launch(plan)
    process.send_signal(signal.SIGINT)
    while not all((plan.paths.root / f"asked{rank}").exists() for rank in (0, 1)):
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "out of memory" not in errors
    assert state(plan).state is State.INTERRUPTED


def test_ctrl_c_before_the_ranks_can_listen(plan: Plan) -> None:
    """While they import torch, it ends them: that is an interruption, not a failure."""
    listen = "signal.signal(signal.SIGINT, signal.SIG_DFL)"  # as doors.rank does
    bodies(plan, f"{listen}; meet(1); {LONG}", f"{listen}; meet(0); {LONG}")
    process = launch(plan)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=30)
    assert process.returncode == 130
    assert state(plan).state is State.INTERRUPTED


def test_a_rank_that_fails_while_it_saves_is_a_failure(plan: Plan) -> None:
    bodies(plan, saves(code=0), saves(code=5))
    process = launch(plan)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=30)
    assert process.returncode == 5
    assert "rank 1 of 2 ended with exit code 5" in errors


# Ports


def test_a_free_port_can_be_bound() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", local.free_port()))


def test_a_free_port_is_given_to_no_connection_while_ranks_start() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    assert first >= 32_768, "this machine gives other ports to connections than Linux does by itself"
    ports = {local.free_port() for _ in range(50)}
    assert max(ports) < first
    assert len(ports) > 40  # runs that start at once get different ones


def test_a_port_that_somebody_listens_on_is_not_free(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("", 0))
        taken = listener.getsockname()[1]
        monkeypatch.setattr(local, "PORTS", [taken, taken, taken, local.free_port()])
        assert {local.free_port() for _ in range(20)} == {local.PORTS[-1]}


def test_the_port_that_was_asked_for(plan: Plan) -> None:
    overrides = ["launch.processes=2", f"model.tokenizer={plan.sources.tokenizer}", "launch.port=4321"]
    plan_made = make(from_overrides(overrides), Machine())
    assert local.rank_environment(plan_made, 1, 4321)["MASTER_PORT"] == "4321"
    assert {port for _, port in local.ranks_and_ports(plan_made)} == {4321}


def test_a_port_that_somebody_takes_meanwhile_is_replaced(plan: Plan, capfd: pytest.CaptureFixture[str]) -> None:
    body = """
with open(root / "ports", "a") as ports:
    ports.write(os.environ["MASTER_PORT"] + " ")
if not (root / "again").exists():
    (root / "again").touch()
    fail("RuntimeError: EADDRINUSE, address already in use", 1)
os._exit(0)
"""
    (plan.paths.root / "body0.py").write_text(body)
    (plan.paths.root / "body1.py").write_text("os._exit(0)")
    assert local.run(plan) == 0
    assert len({*(plan.paths.root / "ports").read_text().split()}) == 2
    assert "another process took the port meanwhile" in capfd.readouterr().err


def test_a_port_that_is_always_taken_fails(plan: Plan) -> None:
    (plan.paths.root / "body0.py").write_text("fail('EADDRINUSE', 1)")
    (plan.paths.root / "body1.py").write_text("os._exit(0)")
    assert local.run(plan) == 1


def test_a_taken_port_is_one_line_before_ranks_start() -> None:
    with socket.socket() as taken:
        taken.bind(("", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(RunError, match=rf"launch\.port: {port} cannot be used here: Address already in use"):
            local.expect_free(port)
    local.expect_free(port)
    local.expect_free(None)

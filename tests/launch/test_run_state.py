"""Does everybody who looks at a run see where it stands, whatever SLURM says or leaves unsaid?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.launch.fakes import FakeSlurm, installed, queued
from tunefleet.base import status
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.launch import queue, run_state, submission
from tunefleet.launch.run_state import StatusReader

LONG_AGO = 3600.0
FORGETS = """[ "$*" != "show job --oneliner" ] || exit 0
echo 'slurm_load_jobs error: Invalid job id specified' >&2; exit 1"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = installed(tmp_path / "bin", monkeypatch)
    fake.says("sacct", code=1, error="Slurm accounting storage is disabled")
    fake.does("scontrol", FORGETS)
    return fake


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    """A run of its own job, 12, whose last word is an hour old."""
    run = RunPaths(tmp_path / "outputs" / "run")
    queued(tmp_path / "outputs", [run])
    return says(run, State.QUEUED)


def says(run: RunPaths, state: State, seconds: float = LONG_AGO, **more: Any) -> RunPaths:
    """What the run's own processes wrote last, so long ago, without a heartbeat since."""
    status.write(run.status, Status(state, updated=time.time() - seconds, **more))
    run.heartbeat.unlink(missing_ok=True)
    return run


def look(run: RunPaths) -> Status:
    run_status = StatusReader().status(run)
    assert run_status
    return run_status


def outcome_of(run: RunPaths) -> tuple[State, Cause, str]:
    run_status = look(run)
    return run_status.state, run_status.cause, run_status.reason


def saved_status(run: RunPaths) -> Status:
    """What the file says, without a look."""
    run_status = status.read(run.status)
    assert run_status
    return run_status


def entry(job: str, state: str, reason: str = "None", comment: str = "") -> str:
    return f"{job}|{state}|{reason}|{comment}"


def dead() -> int:
    """The number of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-IS", "-c", ""])
    process.wait(timeout=30)
    return process.pid


# In the queue


def test_a_job_that_waits(fake: FakeSlurm, run: RunPaths) -> None:
    fake.says("squeue", entry("12", "PENDING", "Resources"))
    previous = saved_status(run)
    assert outcome_of(run) == (State.QUEUED, Cause.NONE, "waits: Resources")
    assert saved_status(run) == previous  # a look at what goes on writes nothing


@pytest.mark.parametrize("state", ["PENDING", "REQUEUED", "REQUEUE_HOLD", "SPECIAL_EXIT"])
def test_a_job_that_waits_again_says_why_it_went_back(fake: FakeSlurm, run: RunPaths, state: str) -> None:
    fake.says("squeue", entry("12", state, "BeginTime"))
    says(run, State.REQUEUED, reason="saved before the time limit, at step 7", restarts=1, job="12")
    run_status = look(run)
    assert (run_status.state, run_status.reason) == (
        State.REQUEUED,
        "saved before the time limit, at step 7; waits: BeginTime",
    )


def test_slurm_took_a_job_back_before_it_could_say_so(fake: FakeSlurm, run: RunPaths) -> None:
    """After the failure of a machine: the run still says that it trains."""
    fake.says("squeue", entry("12", "PENDING", "BeginTime"))
    says(run, State.RUNNING, job="12")
    assert look(run).state is State.REQUEUED


@pytest.mark.parametrize("job_state", ["RUNNING", "COMPLETING", "CONFIGURING", "SUSPENDED"])
@pytest.mark.parametrize("state", [State.QUEUED, State.STARTING, State.RUNNING, State.CHECKPOINTING])
def test_a_job_that_goes_on_is_as_its_own_file_says(
    fake: FakeSlurm, run: RunPaths, job_state: str, state: State
) -> None:
    fake.says("squeue", entry("12", job_state))
    says(run, state, step=7).heartbeat.touch()
    assert look(run) == saved_status(run)
    assert saved_status(run).state is state


def test_a_job_that_goes_on_in_silence_is_told_and_not_ended(fake: FakeSlurm, run: RunPaths) -> None:
    fake.says("squeue", entry("12", "RUNNING"))
    previous = saved_status(says(run, State.RUNNING, step=7))
    assert outcome_of(run) == (State.RUNNING, Cause.NONE, "no sign of life for 1h 00m; SLURM says RUNNING")
    assert saved_status(run) == previous


def test_slurm_is_asked_once_for_all_runs_and_only_for_ours(fake: FakeSlurm, tmp_path: Path) -> None:
    runs = [RunPaths(tmp_path / "outputs" / f"r{number}") for number in range(5)]
    queued(tmp_path / "outputs", runs)
    fake.says("squeue", "\n".join(entry(f"12_{number}", "RUNNING") for number in range(5)))
    reader = StatusReader()
    assert [reader.status(run) for run in runs] == [saved_status(run) for run in runs]
    (arguments,) = fake.calls("squeue")
    assert "--me" in arguments
    assert not reader.slurm_is_silent


def test_slurm_is_not_asked_about_runs_that_have_ended_or_run_here(fake: FakeSlurm, tmp_path: Path) -> None:
    here, ended = (RunPaths(tmp_path / "outputs" / name) for name in ("here", "ended"))
    queued(tmp_path / "outputs", [ended])
    status.write(ended.status, Status(State.FAILED))
    status.write(here.status, Status(State.RUNNING))
    reader = StatusReader()
    assert [run_status and run_status.state for run_status in (reader.status(here), reader.status(ended))] == [
        State.RUNNING,
        State.FAILED,
    ]
    assert fake.calls("squeue") == []
    assert not reader.slurm_is_silent


def test_a_comment_may_hold_the_mark_between_fields(fake: FakeSlurm) -> None:
    fake.says("squeue", "12|RUNNING|None|a|b\nnonsense\n\n13|PENDING|x|")
    actual = queue.jobs()
    assert actual
    assert [(entry_seen.job, entry_seen.comment) for entry_seen in actual.values()] == [("12", "a|b"), ("13", "")]


# Out of the queue

GONE = {
    "CANCELLED": (State.CANCELLED, Cause.CANCELLED),
    "PREEMPTED": (State.PREEMPTED, Cause.PREEMPTED),
    "TIMEOUT": (State.FAILED, Cause.TIME_LIMIT),
    "DEADLINE": (State.FAILED, Cause.TIME_LIMIT),
    "OUT_OF_MEMORY": (State.FAILED, Cause.OUT_OF_MEMORY),
    "NODE_FAIL": (State.FAILED, Cause.NODE_FAILURE),
    "BOOT_FAIL": (State.FAILED, Cause.NODE_FAILURE),
    "FAILED": (State.FAILED, Cause.KILLED),
    "COMPLETED": (State.FAILED, Cause.KILLED),  # SLURM is content, but the run never said that it is done
}


@pytest.mark.parametrize("job_state", GONE)
@pytest.mark.parametrize("source", ["squeue", "sacct"])
def test_a_job_that_is_gone_gets_one_final_state(fake: FakeSlurm, run: RunPaths, source: str, job_state: str) -> None:
    said = entry("12", job_state, "Why") if source == "squeue" else f"12|{job_state} by 1000|Why\n12.batch|FAILED|"
    fake.says(source, said)
    says(run, State.RUNNING, step=7, saved_step=5, job="12")
    assert outcome_of(run)[:2] == GONE[job_state]
    settled = saved_status(run)
    assert job_state in settled.reason
    assert (settled.step, settled.saved_step) == (7, 5)
    for answer in ("RUNNING", "PENDING", "NODE_FAIL"):  # a later look does not change it, nor asks
        fake.says("squeue", entry("12", answer))
        assert look(run) == settled == saved_status(run)


def test_a_job_that_nobody_remembers(fake: FakeSlurm, run: RunPaths) -> None:
    says(run, State.RUNNING, job="12")
    assert outcome_of(run) == (State.FAILED, Cause.KILLED, "job 12 is gone")
    assert len(fake.calls("sacct")) == 1


@pytest.mark.parametrize("accounting", ["fails", "is empty", "hangs", "is missing", "speaks in tongues"])
def test_accounting_is_a_help_and_no_need(
    fake: FakeSlurm, run: RunPaths, monkeypatch: pytest.MonkeyPatch, accounting: str
) -> None:
    monkeypatch.setattr(queue, "PATIENCE", 0.5)
    if accounting == "is empty":
        fake.says("sacct")
    elif accounting == "hangs":
        fake.hangs("sacct")
    elif accounting == "is missing":
        fake.lacks("sacct")
    elif accounting == "speaks in tongues":
        fake.says("sacct", "12|\n12\n|||\n13|FAILED|None")
    assert outcome_of(run) == (State.FAILED, Cause.KILLED, "job 12 is gone")


def test_a_loss_that_is_not_a_number_does_not_keep_a_run_alive(fake: FakeSlurm, run: RunPaths) -> None:
    """It is unequal to itself, as are two readings of the file."""
    assert outcome_of(says(run, State.RUNNING, loss=float("nan"), job="12"))[0] is State.FAILED


def test_a_job_that_was_accepted_a_moment_ago_need_not_be_in_the_queue(fake: FakeSlurm, run: RunPaths) -> None:
    says(run, State.QUEUED, seconds=1)
    assert look(run) == saved_status(run)
    assert saved_status(run).state is State.QUEUED


# Arrays


def test_a_waiting_array_is_one_line_or_one_each(fake: FakeSlurm, tmp_path: Path) -> None:
    runs = [RunPaths(tmp_path / "outputs" / f"r{number}") for number in range(12)]
    queued(tmp_path / "outputs", runs)
    for run in runs:
        says(run, State.QUEUED)
    lines = [entry("12_0", "RUNNING"), entry("12_1", "FAILED"), entry("12_2", "PENDING", "Held")]
    fake.says("squeue", "\n".join([*lines, entry("12_[3-9,11%2]", "PENDING", "JobArrayTaskLimit")]))
    actual = [look(run) for run in runs]
    assert [run_status.state for run_status in actual] == [
        State.QUEUED,
        State.FAILED,
        *[State.QUEUED] * 8,
        State.FAILED,  # 10 is in no line
        State.QUEUED,
    ]
    assert actual[2].reason == "waits: Held"
    assert {run_status.reason for run_status in (*actual[3:10], actual[11])} == {"waits: JobArrayTaskLimit"}


@pytest.mark.parametrize(
    ("job", "waits"),
    [
        ("12_[0-9]", True),
        ("12_[1]", True),
        ("12_[1-9:2%3]", True),
        ("12_[3,4,...]", True),
        ("12_[0,2-9]", False),
        ("12_[0-9:2]", False),
        ("112_[0-9]", False),
        ("1_[2-9]", False),
        ("12", False),
    ],
)
def test_which_runs_a_line_of_an_array_means(fake: FakeSlurm, tmp_path: Path, job: str, waits: bool) -> None:
    """A line that SLURM shortened may mean any of them."""
    runs = [RunPaths(tmp_path / "outputs" / name) for name in ("r0", "r1")]
    queued(tmp_path / "outputs", runs)
    fake.says("squeue", entry(job, "PENDING", "Priority"))
    says(runs[1], State.QUEUED)
    assert look(runs[1]).state is (State.QUEUED if waits else State.FAILED)


# SLURM does not answer


@pytest.mark.parametrize("how", ["hangs", "fails", "is missing", "cannot be run"])
@pytest.mark.parametrize("state", [State.QUEUED, State.RUNNING])
def test_who_hears_nothing_decides_nothing(
    fake: FakeSlurm, run: RunPaths, monkeypatch: pytest.MonkeyPatch, how: str, state: State
) -> None:
    monkeypatch.setattr(queue, "PATIENCE", 0.5)
    says(run, state)
    previous = saved_status(run)
    if how == "hangs":
        fake.hangs("squeue")
    elif how == "is missing":
        fake.lacks("squeue")
    elif how == "fails":
        fake.says("squeue", code=1, error="slurm_load_jobs error: Unable to contact slurm controller")
    else:
        (fake.folder / "squeue").chmod(0o644)
    began = time.monotonic()
    reader = StatusReader()
    run_status = reader.status(run)
    assert time.monotonic() - began < 10
    assert run_status
    assert (run_status.state, run_status.reason) == (state, "SLURM does not answer")
    assert reader.slurm_is_silent
    assert saved_status(run) == previous


def test_who_hears_nothing_from_slurm_believes_a_heart_that_beats(fake: FakeSlurm, run: RunPaths) -> None:
    fake.lacks("squeue")
    says(run, State.RUNNING, reason="as it says")
    run.heartbeat.touch()
    assert outcome_of(run) == (State.RUNNING, Cause.NONE, "as it says")


# A submission without a number


def unnumbered(tmp_path: Path, **changes: object) -> RunPaths:
    run = RunPaths(tmp_path / "outputs" / "lost")
    queued(tmp_path / "outputs", [run], job=None, **changes)
    return says(run, State.QUEUED)


def test_a_submitter_that_is_at_work(fake: FakeSlurm, tmp_path: Path) -> None:
    run = unnumbered(tmp_path)
    previous = saved_status(run)
    assert outcome_of(run) == (State.QUEUED, Cause.NONE, "being submitted")
    assert saved_status(run) == previous


def test_a_submitter_that_died_before_slurm_had_the_job(fake: FakeSlurm, tmp_path: Path) -> None:
    state, cause, reason = outcome_of(unnumbered(tmp_path, pid=dead()))
    assert (state, cause) == (State.FAILED, Cause.KILLED)
    assert "the submitter ended before SLURM had the job" in reason
    assert "tunefleet resume lost" in reason


def test_a_submitter_that_died_after_slurm_had_the_job(fake: FakeSlurm, tmp_path: Path) -> None:
    """Found by its comment, and remembered."""
    run = unnumbered(tmp_path, pid=dead())
    place = submission.place(run)
    assert place
    others = [entry("7", "RUNNING", comment="tunefleet:other"), entry("8", "RUNNING")]
    fake.says("squeue", "\n".join([*others, entry("31", "PENDING", "Priority", place.submission.key)]))
    assert outcome_of(run) == (State.QUEUED, Cause.NONE, "waits: Priority")
    assert place.job == "31"


def test_an_array_is_found_by_its_comment_too(fake: FakeSlurm, tmp_path: Path) -> None:
    runs = [RunPaths(tmp_path / "outputs" / f"r{number}") for number in range(3)]
    submitted = queued(tmp_path / "outputs", runs, job=None, pid=dead())
    fake.says("squeue", "\n".join(entry(f"31_{n}", "PENDING", "Priority", submitted.key) for n in range(3)))
    assert [look(run).reason for run in runs] == ["waits: Priority"] * 3
    assert submitted.job_of(2) == "31_2"


@pytest.mark.parametrize(("seconds", "is_open"), [(5, True), (1000, False)])
def test_a_submitter_elsewhere_has_two_minutes(fake: FakeSlurm, tmp_path: Path, seconds: float, is_open: bool) -> None:
    run = unnumbered(tmp_path, host="elsewhere", pid=dead(), created=time.time() - seconds)
    assert look(run).state is (State.QUEUED if is_open else State.FAILED)


@pytest.mark.parametrize("damage", ["", "{", "[]", "7", "null", "{}", '{"folder": "/nowhere", "index": 0}'])
def test_a_damaged_place_is_no_place(fake: FakeSlurm, run: RunPaths, damage: str) -> None:
    run.submission.write_text(damage)
    assert submission.place(run) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "7", "null", "{}", '{"folder": "x", "mood": "sad"}'])
def test_a_damaged_submission_is_none(fake: FakeSlurm, run: RunPaths, damage: str) -> None:
    place = submission.place(run)
    assert place
    (Path(place.submission.folder) / "submission.json").write_text(damage)
    assert submission.place(run) is None


@pytest.mark.parametrize("damage", ["", "{", "[]", "7", "null", "{}"])
def test_a_damaged_number_is_no_number(fake: FakeSlurm, run: RunPaths, damage: str) -> None:
    place = submission.place(run)
    assert place
    (Path(place.submission.folder) / "job.json").write_text(damage)
    assert place.job is None


# Outside SLURM


def local(tmp_path: Path, **run_status: Any) -> RunPaths:
    return says(RunPaths(tmp_path / "outputs" / "here"), State.RUNNING, **run_status)


def test_a_run_that_never_began(fake: FakeSlurm, tmp_path: Path) -> None:
    assert StatusReader().status(RunPaths(tmp_path / "outputs" / "nothing")) is None


@pytest.mark.parametrize("host", [None, "elsewhere"])
def test_a_run_that_gives_signs_of_life(fake: FakeSlurm, tmp_path: Path, host: str | None) -> None:
    """By its heart, or by what it wrote a moment ago."""
    host_field = {"host": host} if host else {}
    run = local(tmp_path, **host_field)
    run.heartbeat.touch()
    assert look(run) == saved_status(run)
    assert look(local(tmp_path, seconds=1, **host_field)).state is State.RUNNING


def test_a_run_whose_process_is_gone_is_over_at_once(fake: FakeSlurm, tmp_path: Path) -> None:
    run = local(tmp_path, pid=dead(), seconds=0)
    run.heartbeat.touch()
    state, cause, reason = outcome_of(run)
    assert (state, cause) == (State.FAILED, Cause.KILLED)
    assert reason.startswith("all its processes are gone; last sign of life on ")
    assert look(run) == saved_status(run)


@pytest.mark.parametrize("host_field", [{}, {"host": "elsewhere"}], ids=["here", "elsewhere"])
def test_silence_is_the_end(fake: FakeSlurm, tmp_path: Path, host_field: dict[str, str]) -> None:
    """Here the number of the process may have been given to another one."""
    run = local(tmp_path, **host_field)
    assert outcome_of(run)[:2] == (State.FAILED, Cause.KILLED)
    assert "1h 00m ago" in saved_status(run).reason


@pytest.mark.parametrize(("seconds", "alive"), [(30, True), (60, False)])
def test_silence_begins_after_several_beats_that_did_not_come(
    fake: FakeSlurm, tmp_path: Path, seconds: float, alive: bool
) -> None:
    run = local(tmp_path, host="elsewhere")
    run.heartbeat.touch()
    os.utime(run.heartbeat, (time.time() - seconds,) * 2)
    assert look(run).state.alive is alive


@pytest.mark.parametrize("host_field", ["here", "in SLURM"])
def test_a_run_that_a_person_cancelled_and_nobody_ended_is_cancelled(
    fake: FakeSlurm, tmp_path: Path, run: RunPaths, host_field: str
) -> None:
    """Or `tunefleet retry` would start it again."""
    run = local(tmp_path, pid=dead()) if host_field == "here" else says(run, State.RUNNING, job="12")
    run.cancelled.touch()
    assert outcome_of(run) == (State.CANCELLED, Cause.CANCELLED, "cancelled by the user")


# Between two looks


def test_a_last_word_while_slurm_is_asked_is_the_last_word(fake: FakeSlurm, run: RunPaths) -> None:
    """The run ends between our look at its file and SLURM's answer that the job is gone."""
    says(run, State.RUNNING, step=39, job="12")
    final = replace(saved_status(run), state=State.FINISHED, step=40, updated=time.time())
    write = f"cat >{run.status} <<'END'\n{json.dumps(record(final))}\nEND"
    fake.does("squeue", f"{write}\necho '{entry('12', 'COMPLETED')}'")
    assert look(run) == final == saved_status(run)


def test_a_last_word_while_accounting_is_asked_is_the_last_word(fake: FakeSlurm, run: RunPaths) -> None:
    says(run, State.RUNNING, step=39, job="12")
    final = replace(saved_status(run), state=State.FINISHED, step=40, updated=time.time())
    fake.does("sacct", f"cat >{run.status} <<'END'\n{json.dumps(record(final))}\nEND\necho '12|COMPLETED|None'")
    assert look(run) == final == saved_status(run)


def test_a_run_that_is_submitted_again_while_slurm_is_asked_goes_on(fake: FakeSlurm, run: RunPaths) -> None:
    says(run, State.RUNNING, step=7, job="12")
    repeated = replace(saved_status(run), state=State.QUEUED, job="", updated=time.time())
    fake.does("squeue", f"cat >{run.status} <<'END'\n{json.dumps(record(repeated))}\nEND")
    assert look(run) == repeated == saved_status(run)


def test_a_last_word_while_we_look_for_the_process(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = local(tmp_path, pid=dead())
    final = replace(saved_status(run), state=State.FINISHED)

    def lives(pid: int) -> bool:
        status.write(run.status, final)
        return False

    monkeypatch.setattr(run_state.processes, "is_alive", lives)
    assert look(run) == final == saved_status(run)


def record(run_status: Status) -> dict[str, Any]:
    return {**vars(run_status), "state": run_status.state.value, "cause": run_status.cause.value}


# One source is no proof


@pytest.mark.parametrize(
    ("record", "state", "reason"),
    [
        ("JobId=12 JobState=PENDING Reason=Resources Comment=x", State.QUEUED, "waits: Resources"),
        ("JobId=12 JobState=RUNNING Reason=None", State.QUEUED, "no sign of life"),
        ("JobId=12 JobState=FAILED Reason=JobLaunchFailure", State.FAILED, "disk that all of them share"),
        ("JobId=12 JobState=CANCELLED Reason=None", State.CANCELLED, "SLURM says CANCELLED"),
        ("gibberish", State.QUEUED, "does not say"),
    ],
)
def test_a_job_that_squeue_does_not_list_is_asked_of_the_controller(
    fake: FakeSlurm, run: RunPaths, record: str, state: State, reason: str
) -> None:
    """SQUEUE_PARTITION in the shell hid jobs that waited, and their runs were declared failed."""
    fake.says("scontrol", record)
    run_status = look(run)
    assert run_status.state is state
    assert reason in run_status.reason or record.endswith("RUNNING Reason=None")
    assert ["show", "job", "12", "--oneliner"] in fake.calls("scontrol")


@pytest.mark.parametrize(
    ("accounted", "state"), [("PENDING", State.QUEUED), ("RUNNING", State.QUEUED), ("FAILED", State.FAILED)]
)
def test_the_accounting_is_asked_where_the_controller_does_not_answer(
    fake: FakeSlurm, run: RunPaths, accounted: str, state: State
) -> None:
    fake.says("scontrol", code=1, error="Unable to contact slurm controller")
    fake.says("sacct", f"12|{accounted}|None")
    assert look(run).state is state


def test_an_old_record_of_a_running_job_does_not_keep_it_alive(fake: FakeSlurm, run: RunPaths) -> None:
    fake.says("sacct", "12|RUNNING|None")
    assert outcome_of(run) == (State.FAILED, Cause.KILLED, "job 12 is gone")


def test_nothing_is_settled_where_only_squeue_answers(fake: FakeSlurm, run: RunPaths) -> None:
    fake.says("scontrol", code=1, error="Unable to contact slurm controller")
    previous = saved_status(run)
    assert outcome_of(run)[:2] == (State.QUEUED, Cause.NONE)
    assert saved_status(run) == previous


@pytest.mark.parametrize(("state", "reason"), [("FAILED", "JobLaunchFailure"), ("FAILED", "NonZeroExitCode")])
def test_slurms_reason_is_told(fake: FakeSlurm, run: RunPaths, state: str, reason: str) -> None:
    fake.says("squeue", entry("12", state, reason))
    assert f"job 12 is gone: SLURM says {state} ({reason})" in look(run).reason


def test_a_script_that_refused_says_why(fake: FakeSlurm, run: RunPaths) -> None:
    place = submission.place(run)
    assert place
    (Path(place.submission.folder) / "refused.0").write_text("the code is gone: tunefleet resume")
    fake.says("squeue", entry("12", "FAILED", "NonZeroExitCode"))
    assert outcome_of(run) == (State.FAILED, Cause.USER_ERROR, "the code is gone: tunefleet resume run")


def test_a_job_is_found_by_its_comment_where_squeue_does_not_list_it(fake: FakeSlurm, tmp_path: Path) -> None:
    run = RunPaths(tmp_path / "outputs" / "lost")
    submitted = queued(tmp_path / "outputs", [run], job=None, pid=dead())
    says(run, State.QUEUED)
    fake.says("scontrol", f"JobId=12 JobState=PENDING Reason=Priority Comment={submitted.key}")
    assert look(run).state is State.QUEUED


def test_the_shells_own_variables_do_not_reach_slurm(fake: FakeSlurm, run: RunPaths, tmp_path: Path) -> None:
    names = ("SQUEUE_PARTITION", "SQUEUE_STATES", "SACCT_FORMAT", "SLURM_CLUSTERS", "SLURM_TIME_FORMAT")
    for name in names:
        os.environ[name] = "left over"
    fake.does("squeue", f"env >{tmp_path}/seen; echo '12|PENDING|Priority|'")
    assert look(run).state is State.QUEUED
    assert {line.split("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}.isdisjoint(names)

"""Does a run become one correct batch script, in which nothing that a person typed is executed?"""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.launch.fakes import FakeSlurm, installed
from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.status import Cause, State
from tunefleet.config.launch import LaunchConfig
from tunefleet.launch import batch_script, job_batch, slurm, submission
from tunefleet.launch.queue import QueueError
from tunefleet.launch.submission import Submission
from tunefleet.plan import Plan

CODE = Path(__file__).parents[2] / "src"
TEXTS = sorted(f.name for f in fields(LaunchConfig) if f.type == "str | None" and f.name not in ("memory", "python"))


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    fake = installed(tmp_path / "bin", monkeypatch)
    fake.says("sbatch", "Submitted batch job 41")
    return fake


def plan(folder: Path, name: str | None = None, **launch: Any) -> Plan:
    """A plan for SLURM."""
    named = tiny_plan(folder, launch={"name": "slurm", **launch})
    return replace(named, name=name, run_dir=str(folder / name)) if name else named


def script(*plans: Plan, folder: str = "/outputs/submissions/one", code: Path = CODE) -> str:
    (batch,) = job_batch.batches(plans, code)
    return batch_script.text(batch, Submission(folder, (), 0.0, "", 0))


def code_in(folder: Path) -> Path:
    """A copy of the code, as far as the script looks."""
    (folder / "src" / "tunefleet").mkdir(parents=True)
    (folder / "src" / "tunefleet" / "__init__.py").touch()
    return folder / "src"


def options(text: str) -> dict[str, str]:
    """What sbatch reads of a script; an option without a value is empty."""
    lines = [line.removeprefix("#SBATCH --") for line in text.splitlines() if line.startswith("#SBATCH --")]
    arguments = [shlex.split(line) for line in lines]
    assert all(len(argument) == 1 for argument in arguments), arguments
    pairs = [argument[0].partition("=") for argument in arguments]
    assert len({key for key, _, _ in pairs}) == len(pairs)
    return {key: value for key, _, value in pairs}


# The script


def test_every_option_stands_in_the_script_once(fake: FakeSlurm, tmp_path: Path) -> None:
    wishes: dict[str, Any] = {"nodes": 2, "gpus_per_node": 8, "time": "4h", "memory": "64G", "exclusive": True}
    wishes |= {"cpus_per_task": 6, "constraint": "a100&ib", "mail_type": "END,FAIL", "reservation": "course"}
    wishes |= {"extra": {"licenses": "matlab:2", "hold": "", "wckey": "mine", "mem-per-gpu": "4G"}, "signal_before": 45}
    assert options(script(plan(tmp_path, "run", **wishes))) == {
        "nodes": "2",
        "ntasks-per-node": "8",
        "gpus-per-node": "8",
        "cpus-per-task": "6",
        "time": "240",
        "mem": "64G",
        "exclusive": "",
        "constraint": "a100&ib",
        "mail-type": "END,FAIL",
        "reservation": "course",
        "licenses": "matlab:2",
        "hold": "",
        "wckey": "mine",
        "mem-per-gpu": "4G",
        "signal": "USR2@45",
        "requeue": "",
        "job-name": "run",
        "comment": "tunefleet:one",
        "open-mode": "append",
        "output": "/outputs/submissions/one/slurm/%j_0_log.out",
    }


@pytest.mark.parametrize("key", ["setup", "teardown", "srun-args", "use-srun", "num-gpus", "signal-delay-s", "wckey"])
def test_a_further_option_is_sbatchs_and_never_submitits(fake: FakeSlurm, tmp_path: Path, key: str) -> None:
    """What submitit takes under the same name would be shell."""
    text = script(plan(tmp_path, extra={key: "touch canary"}))
    assert options(text)[key] == "touch canary"
    assert [line for line in text.splitlines() if "canary" in line] == [f"#SBATCH --{key}='touch canary'"]


def test_several_runs_are_one_array(fake: FakeSlurm, tmp_path: Path) -> None:
    plans = [plan(tmp_path, f"r{number}", array_limit=2) for number in range(5)]
    options_set = options(script(*plans))
    assert (options_set["array"], options_set["job-name"]) == ("0-4%2", "r0 and 4 more")
    assert options_set["output"].endswith("/slurm/%A_%a_0_log.out")
    assert "array" not in options(script(plans[0]))


def test_only_equal_requests_share_an_array(fake: FakeSlurm, tmp_path: Path) -> None:
    plans = [plan(tmp_path, f"r{number}", nodes=1 + number % 2, max_restarts=number) for number in range(4)]
    job_batches = job_batch.batches(plans, CODE)
    assert [[run_plan.name for run_plan in batch.plans] for batch in job_batches] == [["r0", "r2"], ["r1", "r3"]]


@pytest.mark.parametrize(
    "change", [{"setup": ["a"]}, {"srun_args": ["a"]}, {"python": "/a"}, {"array_limit": 3}, {"signal_before": 9}]
)
def test_runs_with_other_scripts_do_not_share_an_array(fake: FakeSlurm, tmp_path: Path, change: dict[str, Any]) -> None:
    assert len(job_batch.batches([plan(tmp_path, "a"), plan(tmp_path, "b", **change)], CODE)) == 2


def test_a_script_is_written_on_a_machine_without_slurm(fake: FakeSlurm, tmp_path: Path) -> None:
    """So that a dry run works on a laptop."""
    fake.lacks("sbatch", "srun", "squeue")
    assert "tunefleet.launch.task" in script(plan(tmp_path))


# The script, executed

HOSTILE_TEXTS = [
    "a & touch canary",
    "a && touch canary #",
    "a | touch canary",
    "(touch canary)",
    "<(touch canary)",
    ">canary",
    "a >canary <x",
    "{touch,canary}",
    "--wrap=touch canary",
    "-",
    "#!touch canary",
    "a #b",
    "!touch canary",
    "~ * ? [a-z]",
    "%j%u",
    "a=b",
]
HOSTILE_WORDS = [
    "$(touch canary)",
    "`touch canary`",
    "'; touch canary; '",
    '"; touch canary; "',
    "a;touch canary",
    "a\ttouch canary",
    "\\",
    "${IFS}touch${IFS}canary",
    "$0",
    "--a='b c'",
]
HOSTILE_NAMES = ["$(touch canary)", "`touch canary`", "'; touch canary; '", '"; touch canary; "', "--x y", "& #"]


class Sandbox:
    """An empty folder in which a batch script runs with nothing but fakes on PATH."""

    def __init__(self, fake: FakeSlurm, folder: Path) -> None:
        self.fake, self.folder = fake, folder
        folder.mkdir()

    def python(self, name: str, begins: str = "export TUNEFLEET_RUN=/run") -> str:
        """A Python of that name, which answers as the two ends of a job would."""
        self.fake.does(name, f'case "$5$4" in *begin*) echo "{begins}";; esac; [ "$4" != end ] || exit $6')
        return name

    def runs(self, text: str) -> subprocess.CompletedProcess[str]:
        """What bash makes of the script, after it has said that it can read it."""
        path = self.folder / "job.sh"
        path.write_text(text)
        for arguments in (["-n", str(path)], [str(path)]):
            done = subprocess.run(
                [shutil.which("bash") or "bash", *arguments],
                cwd=self.folder,
                env={"PATH": os.environ["PATH"]},
                capture_output=True,
                text=True,
                timeout=30,
            )
            assert arguments[0] != "-n" or (done.returncode, done.stderr) == (0, "")
        return done

    def untouched(self) -> bool:
        """Whether nothing was executed that would have left a file."""
        return [path.name for path in self.folder.iterdir()] == ["job.sh"]


@pytest.fixture
def sandbox(fake: FakeSlurm, tmp_path: Path) -> Sandbox:
    return Sandbox(fake, tmp_path / "sandbox")


@pytest.mark.parametrize("value", HOSTILE_TEXTS)
def test_no_text_is_executed(sandbox: Sandbox, tmp_path: Path, value: str) -> None:
    wishes = {**dict.fromkeys(TEXTS, value), "extra": {"licenses": value}, "python": sandbox.python("python")}
    text = script(plan(tmp_path, **wishes))
    options_set = options(text)
    assert all(options_set[name.replace("_", "-")] == value for name in (*TEXTS, "licenses"))
    done = sandbox.runs(text)
    assert (done.returncode, done.stderr) == (0, "")
    assert sandbox.untouched()


@pytest.mark.parametrize("value", [*HOSTILE_TEXTS, *HOSTILE_WORDS])
def test_a_word_for_srun_arrives_as_one_word(sandbox: Sandbox, tmp_path: Path, value: str) -> None:
    text = script(plan(tmp_path, srun_args=["--first", value, "--last"], python=sandbox.python("python")))
    assert sandbox.runs(text).returncode == 0
    (arguments,) = sandbox.fake.calls("srun")
    at = arguments.index("--first")
    assert arguments[at + 1 : at + 3] == [value, "--last"]
    assert sandbox.untouched()


@pytest.mark.parametrize("value", [text for text in HOSTILE_TEXTS if text not in ("-",) and text[0] not in "-!%>a"])
def test_python_is_a_program_and_no_shell(sandbox: Sandbox, tmp_path: Path, value: str) -> None:
    python = sandbox.python(value)
    done = sandbox.runs(script(plan(tmp_path, python=python)))
    assert (done.returncode, done.stderr) == (0, "")
    assert [arguments[:4] for arguments in sandbox.fake.calls(value)] == [
        ["-P", "-m", "tunefleet.launch.attempt", what] for what in ("begin", "end")
    ]
    (arguments,) = sandbox.fake.calls("srun")
    assert arguments[-4:] == [value, "-P", "-m", "tunefleet.launch.task"]
    assert sandbox.untouched()


@pytest.mark.parametrize("value", HOSTILE_NAMES)
def test_no_folder_and_no_name_is_executed(sandbox: Sandbox, tmp_path: Path, value: str) -> None:
    named = plan(tmp_path, value, python=sandbox.python("python"))
    text = script(named, folder=f"/outputs/{value}/one{value}", code=code_in(tmp_path / f"code {value}"))
    assert options(text)["job-name"] == value
    assert options(text)["comment"] == f"tunefleet:one{value}"
    done = sandbox.runs(text)
    assert (done.returncode, done.stderr) == (0, "")
    assert [arguments[4] for arguments in sandbox.fake.calls("python")] == [f"/outputs/{value}/one{value}"] * 2
    assert sandbox.untouched()


@pytest.mark.parametrize("spoil", [lambda text: text.replace("'", ""), lambda text: text + "\ntouch canary"])
def test_control_the_sandbox_sees_what_is_executed(
    sandbox: Sandbox, tmp_path: Path, spoil: Callable[[str], str]
) -> None:
    text = script(plan(tmp_path, srun_args=["$(touch canary)"], python=sandbox.python("python")))
    sandbox.runs(spoil(text))
    assert not sandbox.untouched()


def test_setup_is_executed_because_it_is_shell(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.runs(script(plan(tmp_path, setup=["touch canary"], python=sandbox.python("python"))))
    assert (sandbox.folder / "canary").exists()


@pytest.mark.parametrize("code", [0, 1, 137])
def test_the_end_learns_how_srun_ended_and_has_the_last_word(sandbox: Sandbox, tmp_path: Path, code: int) -> None:
    sandbox.fake.does("srun", f"exit {code}")
    done = sandbox.runs(script(plan(tmp_path, python=sandbox.python("python"))))
    assert done.returncode == code
    assert sandbox.fake.calls("python")[-1][3:] == ["end", "/outputs/submissions/one", str(code)]


def test_no_ranks_start_where_the_beginning_refuses(sandbox: Sandbox, tmp_path: Path) -> None:
    done = sandbox.runs(script(plan(tmp_path, python=sandbox.python("python", begins=""))))
    assert done.returncode == 2
    assert sandbox.fake.calls("srun") == []
    assert len(sandbox.fake.calls("python")) == 1


def test_the_snapshot_goes_before_the_persons_own_path(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fake.does("srun", 'printf %s "$PYTHONPATH" >seen')
    text = script(plan(tmp_path, python=sandbox.python("python")), code=(code := code_in(tmp_path / "code a")))
    sandbox.runs(text)
    assert (sandbox.folder / "seen").read_text() == str(code)
    sandbox.runs(text.replace("trap : TERM", "trap : TERM; export PYTHONPATH=/mine"))
    assert (sandbox.folder / "seen").read_text() == f"{code}:/mine"


def test_the_end_runs_although_the_job_is_told_to_end(sandbox: Sandbox, tmp_path: Path) -> None:
    sandbox.fake.does("srun", "kill -TERM $PPID; exit 143")
    done = sandbox.runs(script(plan(tmp_path, python=sandbox.python("python"))))
    assert sandbox.fake.calls("python")[-1][3:] == ["end", "/outputs/submissions/one", "143"]
    assert done.returncode == 143


# Submitting


def batch(*plans: Plan) -> job_batch.Batch:
    (run_plan,) = job_batch.batches(plans, CODE)
    return run_plan


def test_a_submission_is_written_down_before_the_job_exists(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.does("sbatch", f'for f in "$@"; do :; done; cat "$f" >{tmp_path}/sent; cat {tmp_path}/run/submission.json '
              f">{tmp_path}/seen; echo Submitted batch job 41")  # fmt: skip
    run_plan = plan(tmp_path, "run")
    submitted = slurm.submit(batch(run_plan), tmp_path)
    assert submitted.job == "41"
    assert submitted.folder in (tmp_path / "seen").read_text()
    assert options((tmp_path / "sent").read_text())["comment"] == submitted.key
    run_status = status.read(run_plan.paths.status)
    assert run_status
    assert run_status.state is State.QUEUED
    place = submission.place(run_plan.paths)
    assert place
    assert place.job == "41"


def test_what_a_surrounding_job_left_does_not_reach_sbatch(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SLURM_JOB_ID", "SLURM_CPU_BIND", "RANK", "TUNEFLEET_RUN", "SLURM_CONF", "MINE"):
        monkeypatch.setenv(name, "left over")
    fake.does("sbatch", f"env >{tmp_path}/seen; echo Submitted batch job 41")
    slurm.submit(batch(plan(tmp_path, "run")), tmp_path)
    exported = {line.split("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert exported & {"SLURM_JOB_ID", "SLURM_CPU_BIND", "RANK", "TUNEFLEET_RUN"} == set()
    assert {"SLURM_CONF", "MINE", "PATH"} <= exported


@pytest.mark.parametrize("absent", [False, True], ids=["refused", "no sbatch"])
def test_a_refused_job_fails_its_runs_with_the_words_of_sbatch(fake: FakeSlurm, tmp_path: Path, absent: bool) -> None:
    fake.says("sbatch", code=1, error="sbatch: error: invalid partition specified: nope")
    if absent:
        fake.lacks("sbatch", "srun")
    plans = [plan(tmp_path, "a"), plan(tmp_path, "b")]
    with pytest.raises(QueueError, match="not on this machine" if absent else "invalid partition specified: nope"):
        slurm.submit(batch(*plans), tmp_path)
    for run_plan in plans:
        run_status = status.read(run_plan.paths.status)
        assert run_status
        assert (run_status.state, run_status.cause) == (State.FAILED, Cause.USER_ERROR)
        assert ("not on this machine" if absent else "invalid partition") in run_status.reason


def test_an_answer_without_a_number_is_told_and_decides_nothing(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.says("sbatch", "done, I think")
    run_plan = plan(tmp_path, "run")
    with pytest.raises(QueueError, match="done, I think"):
        slurm.submit(batch(run_plan), tmp_path)
    run_status = status.read(run_plan.paths.status)
    assert run_status
    assert run_status.state is State.QUEUED  # there may be a job


def test_a_new_submission_forgets_the_last_end_but_not_the_steps(fake: FakeSlurm, tmp_path: Path) -> None:
    run_plan = plan(tmp_path, "run")
    previous = status.Status(State.FAILED, step=7, saved_step=5, cause=Cause.ERROR, reason="why", job="3", restarts=4)
    status.write(run_plan.paths.status, previous)
    run_plan.paths.cancelled.touch()
    run_plan.paths.stop.touch()
    slurm.submit(batch(run_plan), tmp_path)
    run_status = status.read(run_plan.paths.status)
    assert run_status
    assert (run_status.state, run_status.cause, run_status.reason, run_status.job, run_status.restarts) == (
        State.QUEUED,
        Cause.NONE,
        "",
        "",
        0,
    )
    assert (run_status.step, run_status.saved_step) == (7, 5)
    assert not run_plan.paths.cancelled.exists()
    assert not run_plan.paths.stop.exists()


# The command line, and nothing of the shell

SHELL = ("SBATCH_PARTITION", "SBATCH_TIMELIMIT", "SBATCH_EXPORT", "SLURM_CLUSTERS", "SLURM_EXPORT_ENV", "SQUEUE_FORMAT")
SHELL += ("SRUN_CPUS_PER_TASK", "SACCT_FORMAT", "SCANCEL_STATE", "SCONTROL_ALL", "SINFO_FORMAT", "SALLOC_QOS")
SHELL += ("CUDA_VISIBLE_DEVICES", "OMP_NUM_THREADS")


def test_what_the_plan_decides_is_on_the_command_line_and_the_shells_own_is_dropped(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (*SHELL, "SLURM_CONF", "SLURM_JWT"):
        monkeypatch.setenv(name, "left over")
    fake.does("sbatch", f"env >{tmp_path}/seen; echo Submitted batch job 41")
    run_plan = plan(tmp_path, "run", partition="gpu", time="30m", nodes=2, extra={"hold": ""})
    submitted = slurm.submit(batch(run_plan), tmp_path)
    (arguments,) = fake.calls("sbatch")
    assert {"--partition=gpu", "--time=30", "--nodes=2", "--hold", "--requeue", "--export=ALL"} <= set(arguments)
    assert {"--job-name=run", f"--comment={submitted.key}", "--signal=USR2@90"} <= set(arguments)
    exported = {line.split("=")[0] for line in (tmp_path / "seen").read_text().splitlines()}
    assert exported.isdisjoint(SHELL)
    assert {"SLURM_CONF", "SLURM_JWT"} <= exported


@pytest.mark.parametrize("folder", ["a%jb", "c\\d", "e f$(x)`y`'z'\"q\"", "ü→", "n\nl", "%%A"])
def test_the_path_of_outputs_is_no_pattern(fake: FakeSlurm, tmp_path: Path, folder: str) -> None:
    """What SLURM makes of it: %% is %, and with a backslash anywhere it fills in nothing (its own fname_create)."""
    fake.does("sbatch", f"printf '%s\\0' \"$@\" >{tmp_path}/words; echo Submitted batch job 41")
    run_plan = replace(plan(tmp_path, "run"), run_dir=str(tmp_path / folder / "run"))
    submitted = slurm.submit(batch(run_plan), tmp_path / folder)
    arguments = (tmp_path / "words").read_text().split("\0")
    (output,) = [argument.removeprefix("--output=") for argument in arguments if argument.startswith("--output=")]
    expected = Path(submitted.folder) / "slurm"
    if "\\" in folder:
        assert re.sub(r"\\(.)", r"\1", output) == str(expected / "batch.out")
    else:
        assert output.replace("%%", "\0").replace("%j", "41").replace("\0", "%") == str(expected / "41_0_log.out")
    assert (expected / "job.sh").exists()
    assert Path(submitted.folder).parent == tmp_path / folder / "submissions"
    place = submission.place(run_plan.paths)
    assert place
    Path(re.sub(r"\\(.)", r"\1", output) if "\\" in folder else expected / "41_0_log.out").write_text("printed")
    assert place.batch_log.read_text() == "printed"


# The code


def test_a_job_whose_code_is_gone_runs_no_other(sandbox: Sandbox, tmp_path: Path) -> None:
    code = code_in(tmp_path / "code")
    folder = tmp_path / "submissions" / "one"
    folder.mkdir(parents=True)
    text = script(plan(tmp_path, python=sandbox.python("python")), folder=str(folder), code=code)
    assert sandbox.runs(text).returncode == 0
    shutil.rmtree(code)
    done = sandbox.runs(text)
    assert done.returncode == 3
    assert "the code that this job was to run is gone" in done.stderr
    assert len(sandbox.fake.calls("python")) == 2  # of the run before
    assert str(code) in (folder / "refused.0").read_text()


# What a site allows


POLICY = "Job violates accounting/QOS policy (job submit limit, user's size and/or time limits)"
ROOM = """
for word in "$@"; do case $word in --array=*) last=${{word##*-}}; last=${{last%%%*}};; esac; done
count=$(( ${{last:-0}} + 1 )); room=$(cat {folder}/room); number=$(cat {folder}/number)
[ $count -le $room ] || {{ echo 'sbatch: error: {why}' >&2
echo "sbatch: error: Batch job submission failed: {policy}" >&2; exit 1; }}
echo $((room - count)) >{folder}/room; echo $((number + 1)) >{folder}/number; echo Submitted batch job $((number + 1))
"""


def site(fake: FakeSlurm, folder: Path, room: int, why: str = "AssocMaxSubmitJobLimit") -> None:
    """A SLURM that takes so many more jobs."""
    (folder / "room").write_text(str(room))
    (folder / "number").write_text("40")
    fake.does("sbatch", ROOM.format(folder=folder, why=why, policy=POLICY))


@pytest.mark.parametrize("room", [0, 1, 3, 6, 7, 20])
def test_as_many_are_submitted_as_the_site_takes(fake: FakeSlurm, tmp_path: Path, room: int) -> None:
    site(fake, tmp_path, room)
    plans = [plan(tmp_path, f"r{number}") for number in range(7)]
    status.write(plans[6].paths.status, status.Status(State.FAILED, step=5, reason="before"))
    outcome = slurm.submit_what_fits(batch(*plans), tmp_path)
    fits = min(room, 7)
    assert sum(len(part.plans) for part, _ in outcome.submitted) == fits
    assert [run_plan.name for run_plan in outcome.waiting] == [f"r{number}" for number in range(fits, 7)]
    states = [
        run_status and run_status.state for run_status in (status.read(run_plan.paths.status) for run_plan in plans)
    ]
    untouched = [None] * 6 + [State.FAILED]
    assert states == [State.QUEUED] * fits + untouched[fits:]
    assert [submission.place(run_plan.paths) is not None for run_plan in plans] == [True] * fits + [False] * (7 - fits)
    assert ("AssocMaxSubmitJobLimit" in outcome.message) is (fits < 7)
    jobs = [place.job for place in (submission.place(run_plan.paths) for run_plan in plans[:fits]) if place]
    assert len(set(jobs)) == fits  # each its own
    assert len([*(tmp_path / "submissions").glob("*")]) == len(outcome.submitted)


def test_control_another_limit_is_a_refusal(fake: FakeSlurm, tmp_path: Path) -> None:
    site(fake, tmp_path, 0, "QOSMaxWallDurationPerJobLimit")
    plans = [plan(tmp_path, f"r{number}") for number in range(3)]
    outcome = slurm.submit_what_fits(batch(*plans), tmp_path)
    assert (outcome.submitted, outcome.waiting) == ((), ())
    assert "QOSMaxWallDurationPerJobLimit" in outcome.message
    assert {run_status.state for run_plan in plans if (run_status := status.read(run_plan.paths.status))} == {
        State.FAILED
    }
    assert len(fake.calls("sbatch")) == 1


def test_arrays_are_no_larger_than_the_cluster_allows(fake: FakeSlurm, tmp_path: Path) -> None:
    fake.says("scontrol", "MaxArraySize            = 3")
    site(fake, tmp_path, 100)
    plans = [plan(tmp_path, f"r{number}", array_limit=2, dependency="afterok:7") for number in range(8)]
    outcome = slurm.submit_what_fits(batch(*plans), tmp_path)
    assert [len(part.plans) for part, _ in outcome.submitted] == [3, 3, 2]
    arguments = [
        [argument for argument in call if argument.startswith(("--array", "--depend"))] for call in fake.calls("sbatch")
    ]
    assert arguments == [
        ["--array=0-2%2", "--dependency=afterok:7"],
        ["--array=0-2%2", "--dependency=afterok:7,afterany:41"],
        ["--array=0-1%2", "--dependency=afterok:7,afterany:42"],
    ]


# Whether SLURM has the job

LOST = "sbatch: error: Batch job submission failed: Socket timed out on send/recv operation"


@pytest.mark.parametrize("source", ["squeue", "scontrol"])
def test_a_job_is_looked_for_where_sbatch_lost_the_answer(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, source: str
) -> None:
    monkeypatch.setattr(slurm, "LOOKS", (0.0, 0.0, 0.0))
    late = f'echo >>{fake.folder}/looks; [ $(grep -c "" {fake.folder}/looks) -gt 1 ] || exit 0\n'
    key = f"$(cat {fake.folder}/key)"
    fake.does("sbatch", 'for word in "$@"; do case $word in --comment=*) printf %s "${word#*=}" >'
              f"{fake.folder}/key;; esac; done; echo '{LOST}' >&2; exit 1")  # fmt: skip
    line = f'echo "41_0|PENDING|None|{key}"' if source == "squeue" else f'echo "JobId=43 ArrayJobId=41 Comment={key}"'
    fake.does(source, late + line)
    plans = [plan(tmp_path, f"r{number}") for number in range(2)]
    assert slurm.submit(batch(*plans), tmp_path).job == "41"
    assert {run_status.state for run_plan in plans if (run_status := status.read(run_plan.paths.status))} == {
        State.QUEUED
    }


def test_a_job_that_does_not_come_settles_nothing(
    fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(slurm, "LOOKS", (0.0, 0.0))
    fake.says("sbatch", code=1, error=LOST)
    run_plan = plan(tmp_path, "run")
    with pytest.raises(QueueError, match="Whether SLURM has the job is not known yet"):
        slurm.submit(batch(run_plan), tmp_path)
    run_status = status.read(run_plan.paths.status)
    assert run_status
    assert run_status.state is State.QUEUED
    assert len(fake.calls("squeue")) == 2

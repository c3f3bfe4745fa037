"""Is every run accounted for, wherever the process that submits it dies, and whatever its shell holds?"""

from __future__ import annotations

import json
import shutil
import subprocess

from tests.cluster.commands import Desk, wait_until

LATER = "launch.extra.begin=now+1hour"
SBATCH = {
    "before SLURM has the job": "kill -9 $PPID",
    "before its number is known": 'kill -9 $PPID; exec /usr/bin/sbatch "$@"',
    "and SLURM takes its time": "kill -9 $PPID; until [ -e {folder}/late ]; do sleep 0.1; done; "
    'exec /usr/bin/sbatch "$@"',
}


def _deadly(desk: Desk, when: str) -> Desk:
    """The same person, whose `sbatch` kills who called it."""
    sbatch = desk.folder / "bin" / "sbatch"
    sbatch.parent.mkdir()
    real = shutil.which("sbatch", path=desk.cluster.environment["PATH"])
    shell = SBATCH[when].replace("/usr/bin/sbatch", str(real)).replace("{folder}", str(desk.folder))
    sbatch.write_text(f"#!/bin/sh\n{shell}\n")
    sbatch.chmod(0o755)
    return Desk(desk.folder, desk.cluster, {"PATH": f"{sbatch.parent}:{desk.environment['PATH']}"})


def test_a_submitter_that_dies_before_slurm_has_the_job_leaves_a_run_that_says_so(desk: Desk) -> None:
    _deadly(desk, "before SLURM has the job").pretend("train.max_steps=5", code=-9)
    assert desk.card()["state"] == "failed"
    assert "tunefleet resume" in desk.card()["reason"]
    assert "submitted  job" in desk.pretend("train.max_steps=5")
    assert desk.until("finished")["restarts"] == 0


def test_a_job_whose_number_nobody_wrote_down_is_found_again(desk: Desk) -> None:
    _deadly(desk, "before its number is known").pretend("train.max_steps=5", LATER, code=-9)
    wait_until(desk.queue, desk.told)
    (job,) = desk.queue()
    card = desk.card()
    assert (card["state"], card["job"]) == ("queued", job)
    assert f"is queued already as job {job}" in desk.pretend("train.max_steps=5", LATER)
    assert desk.queue() == [job]
    desk.cluster.run("scontrol", "update", f"jobid={job}", "starttime=now")
    assert desk.until("finished")["job"] == job


def test_a_job_that_comes_late_leaves_the_run_to_the_one_that_was_submitted_meanwhile(desk: Desk) -> None:
    _deadly(desk, "and SLURM takes its time").pretend("train.max_steps=150", code=-9)
    assert desk.card()["state"] == "failed"  # nobody can know of the job yet
    desk.pretend("train.max_steps=150")
    known = desk.job
    (desk.folder / "late").touch()
    wait_until(lambda: len(desk.queue()) == 2, desk.told)
    (late,) = {*desk.queue()} - {known}
    desk.cluster.wait(late, "COMPLETED FAILED CANCELLED")
    assert desk.until("finished")["job"] == known
    assert (desk.run / "attempts.jsonl").read_text().count(f'"job": "{late}"') == 0


def test_a_run_goes_on_when_those_who_wait_for_it_are_killed(desk: Desk) -> None:
    words = desk.typed(f"launch.python={desk.python()}", "train.max_steps=60", "launch.wait=true")
    with open(desk.folder / "output.txt", "wb") as output:
        waiting = subprocess.Popen(words, cwd=desk.folder, env=desk.environment, stdout=output)
    wait_until(lambda: [*desk.folder.glob("outputs/*/status.json")], desk.told)  # the plan lies there before
    desk.until_step(2)
    waiting.kill()
    waiting.wait()
    assert desk.until("finished")["restarts"] == 0


def test_waiting_ends_with_the_run(desk: Desk) -> None:
    printed = desk.pretend("train.max_steps=5", "launch.wait=true")
    assert desk.status()["state"] == "finished"
    assert "finished" in printed


def test_the_same_command_at_the_same_time_submits_once(desk: Desk) -> None:
    """The first one looks whether the run may start, and is held up before it submits."""
    git = desk.folder / "bin" / "git"
    git.parent.mkdir()
    wait = f"touch {desk.folder}/asked\nuntil [ -e {desk.folder}/go ]; do sleep 0.1; done"
    git.write_text(f'#!/bin/sh\n{wait}\nexec {shutil.which("git")} "$@"\n')
    git.chmod(0o755)
    slow = Desk(desk.folder, desk.cluster, {"PATH": f"{git.parent}:{desk.environment['PATH']}"})
    words = desk.typed(f"launch.python={desk.python()}", LATER)
    with open(desk.folder / "output.txt", "wb") as output:
        first = subprocess.Popen(words, cwd=desk.folder, env=slow.environment, stdout=output, stderr=output)
    wait_until((desk.folder / "asked").exists, desk.told)
    desk.pretend(LATER)
    (desk.folder / "go").touch()
    first.wait(timeout=60)
    assert len(desk.queue()) == 1
    assert f"is queued already as job {desk.job}" in (desk.folder / "output.txt").read_text()


def test_nothing_of_a_surrounding_job_reaches_the_job(desk: Desk) -> None:
    mine = {"SLURM_CPU_BIND": "map_cpu:7", "SLURM_MEM_PER_NODE": "7", "SLURM_NTASKS": "7", "SLURM_JOB_ID": "7"}
    mine |= {"SLURM_PROCID": "3", "SLURM_STEP_NUM_TASKS": "7", "SLURM_RESTART_COUNT": "7", "SRUN_CPUS_PER_TASK": "7"}
    mine |= {"RANK": "3", "WORLD_SIZE": "7", "LOCAL_RANK": "3", "MASTER_ADDR": "elsewhere", "MASTER_PORT": "7"}
    inside = Desk(desk.folder, desk.cluster, mine)
    kept = desk.folder / "environment.txt"
    inside.pretend("train.max_steps=5", "launch.nodes=2", f'launch.setup=["printenv > {kept}"]')
    assert desk.until("finished")["restarts"] == 0
    there = dict(line.split("=", 1) for line in kept.read_text().splitlines() if "=" in line)
    assert not {name: value for name, value in mine.items() if there.get(name) == value}
    assert inside.card()["state"] == "finished"


def test_the_shells_variables_do_not_overrule_the_plan_nor_hide_the_job(desk: Desk) -> None:
    mine = {
        "SBATCH_PARTITION": "nowhere",
        "SBATCH_TIMELIMIT": "1",
        "SBATCH_EXPORT": "NONE",
        "SQUEUE_PARTITION": "short",
    }
    mine |= {"SQUEUE_STATES": "RUNNING", "SLURM_CLUSTERS": "elsewhere", "SBATCH_JOB_NAME": "theirs"}
    inside = Desk(desk.folder, desk.cluster, mine)
    printed = inside.pretend("train.max_steps=5", "launch.partition=main", LATER)
    assert "note: SBATCH_EXPORT, SBATCH_JOB_NAME, SBATCH_PARTITION, SBATCH_TIMELIMIT, SLURM_CLUSTERS of your" in printed
    job = desk.cluster.job(desk.job)
    assert (job["Partition"], job["TimeLimit"], job["JobName"]) == ("main", "00:10:00", desk.run.name)
    status = json.loads((desk.run / "status.json").read_text())
    (desk.run / "status.json").write_text(json.dumps({**status, "updated": status["updated"] - 3600}))
    assert inside.card()["state"] == "queued"
    desk.cluster.run("scontrol", "update", f"jobid={desk.job}", "starttime=now")
    assert desk.until("finished")["restarts"] == 0


def test_odd_paths_and_names_reach_slurm_as_they_are(desk: Desk) -> None:
    """Each with a log of its batch script; SLURM fills in nothing where there is a backslash."""
    folders = ["a%jb e f$(x)`y`'z\"q ü", "c\\d %j"]
    for folder in folders:
        quoted = str(desk.folder / folder).replace("'", "\\'")
        desk.pretend("train.max_steps=3", f"output_dir='{quoted}'")
    states = lambda: [  # noqa: E731
        json.loads(path.read_text())["state"] for path in desk.folder.glob("*/*/status.json")
    ]
    wait_until(lambda: states() == ["finished"] * len(folders), desk.told)
    assert {path.parents[1].name for path in desk.folder.glob("*/*/status.json")} == set(folders)
    logs = [*desk.folder.glob("*/submissions/*/slurm/*.out")]
    assert len(logs) == len(folders)


def test_a_job_whose_code_is_gone_fails_and_says_so(copied: Desk) -> None:
    copied.pretend("train.max_steps=5", LATER)
    (code,) = (copied.folder / "outputs" / "code").iterdir()
    subprocess.run(["rm", "-r", str(code)], check=True)
    copied.cluster.run("scontrol", "update", f"jobid={copied.job}", "starttime=now")
    copied.cluster.wait(copied.job, "COMPLETED FAILED")
    card = copied.card()
    assert card["state"] == "failed"
    assert f"the code that this job was to run is gone: {code / 'src'}" in card["reason"]


def test_slurms_reason_is_told_where_no_machine_can_write_the_outputs(desk: Desk) -> None:
    desk.pretend("train.max_steps=5", LATER)
    (submission,) = (desk.folder / "outputs" / "submissions").iterdir()
    shutil.rmtree(submission / "slurm")
    desk.cluster.run("scontrol", "update", f"jobid={desk.job}", "starttime=now")
    desk.cluster.wait(desk.job, "FAILED")
    assert "SLURM says FAILED (JobLaunchFailure)" in desk.card()["reason"]


def _edit_while_it_waits(desk: Desk) -> str:
    """Breaks the code of a run that waits, lets it start, and returns how its job ends."""
    desk.edit("launch/task.py", "def main() -> None:", "raise RuntimeError('half an edit')\ndef main() -> None:")
    desk.cluster.run("scontrol", "update", f"jobid={desk.job}", "starttime=now")
    return desk.cluster.wait(desk.job, "COMPLETED FAILED")["JobState"]


def test_an_edit_while_a_run_waits_changes_nothing(copied: Desk) -> None:
    copied.pretend("train.max_steps=5", LATER)
    assert _edit_while_it_waits(copied) == "COMPLETED"
    assert copied.status()["state"] == "finished"


def test_without_a_snapshot_it_changes_the_run(copied: Desk) -> None:
    """The control of the test before."""
    copied.pretend("train.max_steps=5", LATER, "launch.snapshot=false", "launch.max_restarts=0")
    assert _edit_while_it_waits(copied) == "FAILED"
    assert copied.card()["state"] == "failed"

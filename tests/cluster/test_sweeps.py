"""Does a grid become arrays of jobs, each point a run of its own, and are many runs seen at a glance?"""

from __future__ import annotations

import json
import resource
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

from tests.cluster.commands import Desk, wait_until
from tests.cluster.slurm import Cluster
from tests.stories import commands

LATER = "launch.extra.begin=now+1hour"


def _all(desk: Desk, *states: str) -> Callable[[], bool]:
    return lambda: all(commands.status(run)["state"] in states for run in desk.runs)


def _spans(desk: Desk) -> list[tuple[float, float]]:
    """When each run began and ended, in the order in which they began."""
    begun = [json.loads((run / "attempts.jsonl").read_text().splitlines()[0])["started"] for run in desk.runs]
    return sorted(zip(begun, (commands.status(run)["updated"] for run in desk.runs), strict=True))


def test_points_of_a_grid_are_one_array_of_which_so_many_run_at_once(desk: Desk) -> None:
    words = ["-m", "optimizer.lr=1e-3,2e-3,3e-3", "train.max_steps=10", "launch.array_limit=1"]
    assert "an array of 3 runs" in desk.pretend(*words)
    wait_until(_all(desk, "finished"), desk.told)
    assert len(desk.runs) == 3
    assert all(end <= start for (_, end), (start, _) in pairwise(_spans(desk)))
    jobs = {commands.status(run)["job"] for run in desk.runs}
    assert {job.partition("_")[2] for job in jobs} == {"0", "1", "2"}
    assert len({job.partition("_")[0] for job in jobs}) == 1


def test_points_without_a_limit_run_side_by_side(desk: Desk) -> None:
    """The control of the test before."""
    desk.pretend("-m", "optimizer.lr=1e-3,2e-3,3e-3", "train.max_steps=40")
    wait_until(_all(desk, "finished"), desk.told)
    assert any(end > start for (_, end), (start, _) in pairwise(_spans(desk)))


def test_points_that_ask_for_other_machines_are_other_submissions(desk: Desk) -> None:
    printed = desk.pretend("-m", "launch.nodes=1,2", "train.max_steps=5")
    assert printed.count("submitted  job") == 2
    wait_until(_all(desk, "finished"), desk.told)
    assert len({commands.status(run)["job"] for run in desk.runs}) == 2


def test_a_point_goes_back_into_the_queue_alone(desk: Desk) -> None:
    desk.pretend("-m", "optimizer.lr=1e-3,2e-3", "train.max_steps=80")
    wait_until(_all(desk, "running"), desk.told)
    first, second = desk.runs
    job = commands.status(second)["job"]
    desk.cluster.run("scancel", "--signal=USR2", job)
    wait_until(lambda: commands.status(second)["state"] == "requeued", desk.told)
    desk.cluster.release(job)
    wait_until(_all(desk, "finished"), desk.told)
    assert [commands.status(run)["restarts"] for run in (first, second)] == [0, 1]


def test_a_sweep_is_cancelled_by_its_name(desk: Desk) -> None:
    printed = desk.pretend("-m", "optimizer.lr=1e-3,2e-3", "train.max_steps=100000", "launch.array_limit=1")
    name = printed.split("sweep  ")[1].split()[0]
    wait_until(lambda: any(commands.status(run)["state"] == "running" for run in desk.runs), desk.told)
    desk.tunefleet("cancel", name)
    wait_until(_all(desk, "cancelled"), desk.told)
    wait_until(lambda: not desk.queue(), desk.told)


def test_two_hundred_points_are_submitted_in_seconds_and_seen_at_a_glance(desk: Desk) -> None:
    rates = ",".join(f"{number}e-6" for number in range(1, 201))
    begun = computed()
    assert "an array of 200 runs" in desk.pretend("-m", f"optimizer.lr={rates}", LATER)
    assert computed() - begun < 20
    assert len(desk.queue()) == 200
    begun = computed()
    assert desk.tunefleet("status").count("queued") == 200
    assert computed() - begun < 3
    desk.cluster.run("scancel", desk.job_of(desk.runs[0]))


def test_a_grid_beyond_the_sites_limits_is_submitted_in_parts(accounted: Cluster, tmp_path: Path) -> None:
    """Arrays of four, and five jobs of one user; the rest when there is room."""
    desk = Desk(tmp_path, accounted)
    accounted.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=5")
    try:
        rates = ",".join(f"{number}e-3" for number in range(1, 8))
        printed = desk.pretend("-m", f"optimizer.lr={rates}", "train.max_steps=3", LATER, code=1)
    finally:
        accounted.run("sacctmgr", "-i", "modify", "user", "root", "set", "MaxSubmitJobs=-1")
    assert "2 of 7 runs wait, not submitted: the site takes no more now (AssocMaxSubmitJobLimit" in printed
    assert len(desk.queue()) == 5
    sweep = printed.split("sweep  ")[1].split()[0]
    assert f"tunefleet resume {sweep}" in printed
    printed = desk.tunefleet("resume", sweep)
    assert "2 of 7 runs to start, 5 queued" in printed
    assert len(desk.queue()) == 7
    desk.tunefleet("cancel", sweep)
    assert desk.queue() == []
    wait_until(_all(desk, "cancelled"), desk.told)


def test_a_thousand_runs_are_listed_in_a_second(desk: Desk) -> None:
    desk.pretend(LATER)
    plan = json.loads((desk.run / "plan.json").read_text())
    known = commands.status(desk.run)
    for number in range(1000):
        run = desk.folder / "outputs" / f"run-{number:04d}"
        run.mkdir()
        (run / "plan.json").write_text(json.dumps({**plan, "name": run.name, "run_dir": str(run)}, indent=2))
        (run / "status.json").write_text(json.dumps({**known, "state": "finished"}, indent=2))
    for command in (["ls"], ["ls", "optimizer.lr=3e-3"], ["status"]):
        begun = computed()
        assert desk.tunefleet(*command).count("finished") == 1000
        assert computed() - begun < 3, command


def computed() -> float:
    """CPU seconds of all commands so far: other work is not counted. The clock is in benchmarks/launch.py."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime

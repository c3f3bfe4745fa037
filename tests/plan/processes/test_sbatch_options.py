"""Is every wish of `launch` handed to sbatch, and does none of them bring shell along?"""

from __future__ import annotations

from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.config.launch import LaunchConfig, Launcher
from tunefleet.config.load import dump, load
from tunefleet.plan import Machine, Plan, make
from tunefleet.plan.processes.sbatch_options import job
from tunefleet.plan.processes.slurm_job import Job, expected, promised

SLURM = LaunchConfig(name=Launcher.SLURM)
TEXTS = sorted(f.name for f in fields(LaunchConfig) if f.type == "str | None" and f.name != "memory")
HOSTILE = {
    "newline": "\n",
    "carriage return": "\r",
    "vertical tab": "\v",
    "form feed": "\f",
    "file separator": "\x1c",
    "next line": "\x85",
    "line separator": "\u2028",
    "paragraph separator": "\u2029",
    "NUL": "\0",
    "escape": "\x1b",
    "delete": "\x7f",
    "tab": "\t",
    "single quote": "'",
    "double quote": '"',
    "backtick": "`touch canary`",
    "substitution": "$(touch canary)",
    "variable": "${IFS}",
    "semicolon": ";",
    "backslash": "\\",
}


def complaints(**changes: Any) -> list[str]:
    """What is wrong with a job; fails where nothing is."""
    with pytest.raises(ConfigError) as caught:
        job(replace(SLURM, **changes))
    return list(caught.value.complaints)


# Every wish arrives

WISHES: dict[str, tuple[Any, dict[str, Any]]] = {
    "nodes": (4, {"nodes": 4}),
    "processes": (3, {"ntasks_per_node": 3}),
    "gpus_per_node": (8, {"gpus_per_node": 8, "ntasks_per_node": 8}),
    "cpus_per_task": (6, {"cpus_per_task": 6}),
    "memory": ("64G", {"mem": "64G"}),
    "time": ("1d 12h", {"time": 2160}),
    "partition": ("a100,h100", {"partition": "a100,h100"}),
    "account": ("lab-1", {"account": "lab-1"}),
    "qos": ("high", {"qos": "high"}),
    "constraint": ("a100&ib", {"constraint": "a100&ib"}),
    "gres": ("nvme:1", {"gres": "nvme:1"}),
    "nodelist": ("n[01-04]", {"nodelist": "n[01-04]"}),
    "exclude": ("n07", {"exclude": "n07"}),
    "exclusive": (True, {"exclusive": True}),
    "reservation": ("course", {"reservation": "course"}),
    "dependency": ("afterok:12:13?afterany:14", {"dependency": "afterok:12:13?afterany:14"}),
    "mail_type": ("END,FAIL", {"mail_type": "END,FAIL"}),
    "mail_user": ("a.b+c@example.org", {"mail_user": "a.b+c@example.org"}),
    "extra": (
        {"licenses": "matlab:2", "mem-per-cpu": "4G", "hold": ""},
        {"licenses": "matlab:2", "mem_per_cpu": "4G", "hold": True},
    ),
}
ELSEWHERE = {"name", "port", "parallel_runs", "gpus_per_run", "setup", "srun_args", "python"}
ELSEWHERE |= {"signal_before", "max_restarts", "array_limit", "wait", "dry_run", "snapshot"}
ELSEWHERE |= {"start_limit", "step_limit", "restarts", "grace", "snapshot_untracked", "access"}


@pytest.mark.parametrize("name", WISHES)
def test_a_wish_reaches_sbatch_and_changes_nothing_else(name: str) -> None:
    value, options = WISHES[name]
    assert job(replace(SLURM, **{name: value})).options == {**job(SLURM).options, **options}


def test_every_setting_is_a_wish_or_is_used_elsewhere() -> None:
    """A new field must be put into one of the two lists above."""
    assert {f.name for f in fields(LaunchConfig)} == WISHES.keys() | ELSEWHERE


def test_who_wishes_nothing_asks_for_one_process_an_hour_and_a_requeue() -> None:
    assert job(SLURM).options == {"nodes": 1, "ntasks_per_node": 1, "time": 60, "requeue": True}


@pytest.mark.parametrize("gres", ["gpu:8", "gpu:a100:8", "nvme:1,gpu:a100:8"])
def test_gpus_of_gres_that_no_process_would_use_are_refused(gres: str) -> None:
    with pytest.raises(ConfigError) as error:
        job(replace(SLURM, gpus_per_node=1, gres=gres))
    assert [c for c in error.value.complaints if "Set launch.gpus_per_node=8" in c]


@pytest.mark.parametrize("time", ["60", "14400"])
def test_a_bare_number_is_no_time_limit_for_yaml_reads_hours_so(time: str) -> None:
    with pytest.raises(ConfigError) as error:
        job(replace(SLURM, time=time))
    assert "launch.time" in error.value.complaints[0]


def test_gres_replaces_the_request_for_gpus_but_not_the_number_of_processes() -> None:
    asked = job(replace(SLURM, gpus_per_node=8, gres="gpu:a100:8"))
    assert "gpus_per_node" not in asked.options
    assert asked.options["gres"] == "gpu:a100:8"
    assert (asked.options["ntasks_per_node"], asked.gpus_per_node) == (8, 8)


def test_all_of_a_machines_memory() -> None:
    assert job(replace(SLURM, memory="0")).options["mem"] == "0"


@pytest.mark.parametrize(("name", "wanted"), [(Launcher.SLURM, True), (Launcher.LOCAL, False)])
def test_only_slurm_makes_jobs(name: Launcher, wanted: bool) -> None:
    assert expected(LaunchConfig(name=name)) is wanted


# No shell


def test_the_list_of_texts_is_not_empty() -> None:
    """Control of the introspection that the next tests rest on."""
    assert {"partition", "account", "python", "dependency", "mail_user"} <= set(TEXTS)


@pytest.mark.parametrize("what", HOSTILE)
@pytest.mark.parametrize("name", TEXTS)
def test_shell_in_a_text_is_one_complaint_that_names_the_key(name: str, what: str) -> None:
    for value in (f"a{HOSTILE[what]}b", f"a{HOSTILE[what]}", f"{HOSTILE[what]}b", HOSTILE[what]):
        (complaint,) = complaints(**{name: value})
        assert complaint.startswith(f"launch.{name}: ")
        assert repr(value) in complaint


@pytest.mark.parametrize("name", TEXTS)
def test_no_text_is_not_a_text(name: str) -> None:
    (complaint,) = complaints(**{name: ""})
    assert complaint == f"launch.{name}: is empty. Leave it out, or give null."


@pytest.mark.parametrize("what", HOSTILE)
def test_shell_in_a_further_option_is_one_complaint(what: str) -> None:
    (complaint,) = complaints(extra={"licenses": f"a{HOSTILE[what]}b"})
    assert complaint.startswith("launch.extra.licenses: ")


@pytest.mark.parametrize(
    "key",
    [
        "a b",
        "a=b",
        "--wrap",
        "-x",
        "",
        "a_b",
        "A",
        "1a",
        "a\n",
        "a;b",
        "$(a)",
        "a'b",
        "a\u2028b",
        "li\u00e7enses",
        "a\0",
    ],
)
def test_a_further_option_is_a_long_option_without_dashes(key: str) -> None:
    (complaint,) = complaints(extra={key: "x"})
    assert complaint.startswith(f"launch.extra: {key!r} is no long option of sbatch")


@pytest.mark.parametrize(
    ("key", "typed"),
    [
        ("partition", "partition"),
        ("mem", "memory"),
        ("ntasks-per-node", "processes"),
        ("tasks-per-node", "processes"),
        ("cpus-per-task", "cpus_per_task"),
        ("gpus-per-node", "gpus_per_node"),
        ("time", "time"),
        ("nodes", "nodes"),
        ("signal", "signal_before"),
        ("mail-user", "mail_user"),
        ("exclusive", "exclusive"),
        ("dependency", "dependency"),
        ("gres", "gres"),
    ],
)
def test_a_further_option_that_has_a_setting_of_its_own(key: str, typed: str) -> None:
    assert complaints(extra={key: "x"}) == [f"launch.extra.{key}: use launch.{typed}."]


@pytest.mark.parametrize(
    "key",
    ["array", "chdir", "comment", "error", "export", "job-name", "no-requeue", "ntasks", "output", "requeue", "wrap"],
)
def test_a_further_option_that_is_ours(key: str) -> None:
    assert complaints(extra={key: "x"}) == [f"launch.extra.{key}: tunefleet sets this itself."]


@pytest.mark.parametrize("memory", ["", "64GB", "lots", "-1", "6 4G", "64G\n", "$(id)", "1.5G", "0x10"])
def test_memory_is_a_number_with_a_unit(memory: str) -> None:
    (complaint,) = complaints(memory=memory)
    assert complaint.startswith(f"launch.memory: {memory!r} is not allowed. Allowed: 64G")


@pytest.mark.parametrize("what", ["newline", "carriage return", "next line", "line separator", "NUL", "escape"])
@pytest.mark.parametrize("name", ["setup", "srun_args"])
def test_a_line_is_one_line(name: str, what: str) -> None:
    (complaint,) = complaints(**{name: ("fine", f"a{HOSTILE[what]}b")})
    assert complaint.startswith(f"launch.{name}: {f'a{HOSTILE[what]}b'!r} is not one line.")


def test_lines_of_setup_are_shell_on_purpose() -> None:
    assert job(replace(SLURM, setup=('export A="$(hostname -s)"; module load cuda/12.4', "\tulimit -c 0")))


# Time


@pytest.mark.parametrize("time", ["", "soon", "4:00", "-1h", "0", "1h\n2h; id"])
def test_a_time_that_is_none(time: str) -> None:
    (complaint,) = complaints(time=time)
    assert complaint.startswith(f"launch.time: {time!r} is not allowed. Allowed: 30m, 4h")


@pytest.mark.parametrize(("before", "fits"), [(59, True), (60, False), (90, False)])
def test_the_signal_comes_before_the_end_and_after_the_beginning(before: int, fits: bool) -> None:
    if fits:
        assert job(replace(SLURM, time="1m", signal_before=before)).minutes == 1
    else:
        (complaint,) = complaints(time="1m", signal_before=before)
        assert complaint.startswith(f"launch.signal_before: {before} s leave nothing of launch.time=1m.")


def test_a_bad_time_is_not_a_second_complaint_about_the_signal() -> None:
    assert len(complaints(time="never", signal_before=10_000)) == 1


def test_gpu_hours_count_nodes_gpus_and_minutes() -> None:
    assert job(replace(SLURM, nodes=4, gpus_per_node=8, time="90m")).gpu_hours == 48.0
    assert job(replace(SLURM, nodes=4, time="90m")).gpu_hours == 0.0


def test_a_job_is_told_as_a_person_asks_for_it() -> None:
    told = job(replace(SLURM, nodes=2, gpus_per_node=8, time="1d 12h")).summary()
    assert told == "SLURM, 2 nodes x 8 GPUs, limit 36h 00m, at most 576 GPU-hours"
    assert job(replace(SLURM, processes=3)).summary() == "SLURM, 1 nodes x 3 processes, limit 1h 00m"


def test_every_complaint_comes_at_once() -> None:
    found = complaints(
        partition="a;b", memory="much", setup=("a\nb",), srun_args=("a\rb",), extra={"A": "", "mem": "1G"}, time="never"
    )
    keys = ["launch.partition", "launch.memory", "launch.setup", "launch.srun_args", "launch.extra", "launch.extra.mem"]
    assert [complaint.split(":")[0] for complaint in found] == [*keys, "launch.time"]


# The machines that the job will have


@pytest.mark.parametrize(
    ("wish", "world", "here", "device"),
    [
        ({}, 1, 1, "cpu"),
        ({"gpus_per_node": 8}, 8, 8, "cuda"),
        ({"nodes": 4, "gpus_per_node": 8}, 32, 8, "cuda"),
        ({"nodes": 2, "processes": 3}, 6, 3, "cpu"),
        ({"nodes": 2, "gpus_per_node": 8, "processes": 4}, 8, 4, "cuda"),
        ({"nodes": 3}, 3, 1, "cpu"),
    ],
)
def test_the_layout_of_nodes_and_processes(
    tmp_path: Path, wish: dict[str, Any], world: int, here: int, device: str
) -> None:
    machine = promised(replace(SLURM, **wish))
    assert (machine.world_size, machine.processes_here) == (world, here)
    layout = slurm_plan(tmp_path, **wish).layout
    assert (layout.world_size, layout.data_parallel, layout.processes_here) == (world, world, here)
    assert layout.device == device


def test_cores_of_a_machine_are_shared_among_its_processes(tmp_path: Path) -> None:
    assert promised(replace(SLURM, gpus_per_node=4, cpus_per_task=6)).cores == 24
    assert slurm_plan(tmp_path, gpus_per_node=4, cpus_per_task=6).threads == 6


def slurm_plan(folder: Path, **launch: Any) -> Plan:
    return tiny_plan(folder, launch={"name": "slurm", **launch})


def test_the_machine_at_the_prompt_does_not_matter(tmp_path: Path) -> None:
    config = slurm_plan(tmp_path, nodes=2, gpus_per_node=4).config
    plans = [make(config, machine) for machine in (Machine(), Machine(gpus=8, cores=64), Machine(world_size=2, rank=1))]
    assert plans[0] == plans[1] == plans[2]
    assert plans[0].layout.world_size == 8


def test_how_a_run_is_launched_is_not_part_of_what_it_is(tmp_path: Path) -> None:
    wishes: dict[str, Any] = {name: value for name, (value, _) in WISHES.items()}
    for name in ("nodes", "processes", "gpus_per_node"):
        wishes.pop(name)
    elsewhere = {"setup": ["module load cuda"], "python": "/opt/python", "signal_before": 5, "max_restarts": 0}
    base = slurm_plan(tmp_path).identity
    for name, value in {**wishes, **elsewhere, "array_limit": 2, "snapshot": False}.items():
        assert slurm_plan(tmp_path, **{name: value}).identity == base, name
    assert tiny_plan(tmp_path, launch={"name": "local", "processes": 1}).identity == base


def test_control_the_number_of_processes_is_part_of_what_a_run_is(tmp_path: Path) -> None:
    assert slurm_plan(tmp_path, nodes=2).identity != slurm_plan(tmp_path).identity
    assert slurm_plan(tmp_path, nodes=2).identity == slurm_plan(tmp_path, processes=2).identity


def test_a_plan_keeps_its_job_in_its_file(tmp_path: Path) -> None:
    plan = slurm_plan(tmp_path, nodes=2, gpus_per_node=4, extra={"licenses": "a", "hold": ""}, exclusive=True)
    plan.save()
    assert Plan.read(plan.paths.root) == plan
    assert isinstance(plan.job, Job)
    assert "job" in plan.summary()


def test_a_local_plan_has_no_job(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, launch={"name": "local", "partition": "a;b", "time": "never"})
    assert plan.job is None
    assert "job" not in plan.summary()


def test_a_bad_job_does_not_hide_other_mistakes(tmp_path: Path) -> None:
    with pytest.raises(ConfigError) as caught:
        slurm_plan(tmp_path, time="never", partition="a;b")
    assert [complaint.split(":")[0] for complaint in caught.value.complaints] == ["launch.partition", "launch.time"]
    values = dump(tiny_plan(tmp_path).config)
    values["launch"] |= {"name": "slurm", "time": "never"}
    values["data"] |= {"path": None}
    values["name"] = "a/b"
    with pytest.raises(ConfigError) as caught:
        make(load(RunConfig, values), Machine())
    assert {complaint.split(":")[0] for complaint in caught.value.complaints} == {"launch.time", "data.path", "name"}


@pytest.mark.parametrize("what", ["newline", "carriage return", "line separator", "NUL"])
@pytest.mark.parametrize("name", ["output_dir", "name"])
def test_a_folder_of_several_lines_would_be_a_script_of_other_lines(tmp_path: Path, name: str, what: str) -> None:
    """The folder stands in the batch script, in lines that only sbatch reads."""
    values = dump(tiny_plan(tmp_path).config)
    values[name] = f"{tmp_path}{HOSTILE[what]}touch canary" if name == "output_dir" else f"a{HOSTILE[what]}b"
    with pytest.raises(ConfigError) as caught:
        make(load(RunConfig, values), Machine())
    (complaint,) = caught.value.complaints
    assert complaint.startswith(f"{name}: ")


# As the person types them


def test_small_numbers_of_further_options_are_texts() -> None:
    assert load(RunConfig, {"launch": {"extra": {"licenses": 4}}}).launch.extra == {"licenses": "4"}


@pytest.mark.parametrize("value", [None, True, 1.5, 3600, ["a"], {"a": "b"}])
def test_a_further_option_that_is_no_text_is_refused(value: Any) -> None:
    with pytest.raises(ConfigError, match=r"launch\.extra: .* is not allowed"):
        load(RunConfig, {"launch": {"extra": {"licenses": value}}})

"""Are runs found by what a person says of them, and only those?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base import sweeps
from tunefleet.base.errors import RunError
from tunefleet.base.sweeps import SweepPoint
from tunefleet.doors import cli
from tunefleet.launch import register

CONFIG: dict[str, Any] = {
    "name": None,
    "seed": 0,
    "model": {"name": "opt-tiny", "path": None},
    "optimizer": {"name": "adamw", "lr": 1e-5, "betas": [0.9, 0.95]},
    "launch": {"name": "slurm", "wait": True, "extra": {"licenses": "2"}},
}


def saved_run(outputs: Path, name: str, **config: Any) -> None:
    """A run directory with a plan that says this."""
    (outputs / name).mkdir(parents=True)
    values = {**CONFIG, **{group: {**CONFIG.get(group, {}), **change} for group, change in config.items()}}
    (outputs / name / "plan.json").write_text(json.dumps({"name": name, "config": values}))


def names(outputs: Path, **filters: str) -> list[str]:
    settings_given = {key.replace("__", "."): value for key, value in filters.items()}
    return [run.name for run in register.matching(register.runs(outputs), settings_given)]


def named(prefix: str, outputs: Path) -> list[str]:
    return [run.name for run in register.named(prefix, outputs)]


# Names


@pytest.fixture
def outputs(tmp_path: Path) -> Path:
    for name in ("opt-a1", "opt-a1b2", "opt-c3", "llama-a1", "Ünicode run"):
        saved_run(tmp_path / "outputs", name)
    (tmp_path / "outputs" / "submissions" / "20260101-1").mkdir(parents=True)
    (tmp_path / "outputs" / "half").mkdir()
    return tmp_path / "outputs"


@pytest.mark.parametrize(
    ("prefix", "name"),
    [
        ("opt-a1", "opt-a1"),  # the name goes before a beginning of two
        ("opt-a1b", "opt-a1b2"),
        ("opt-c", "opt-c3"),
        ("l", "llama-a1"),
        ("Ünicode", "Ünicode run"),
        ("Ünicode run", "Ünicode run"),
    ],
)
def test_a_name_or_its_only_beginning(outputs: Path, prefix: str, name: str) -> None:
    assert named(prefix, outputs) == [name]


def test_a_directory_wherever_it_lies(outputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for prefix in (str(outputs / "opt-c3"), "outputs/opt-c3", "outputs/opt-c3/", "./outputs/../outputs/opt-c3"):
        assert named(prefix, Path("nowhere")) == ["opt-c3"]
    monkeypatch.chdir(outputs / "opt-c3")
    assert named(".", Path("nowhere")) == ["opt-c3"]


@pytest.mark.parametrize("prefix", ["opt", "opt-", "opt-a"])
def test_a_beginning_of_several_is_refused_with_their_names(outputs: Path, prefix: str) -> None:
    with pytest.raises(RunError, match=r"means \d runs: .*opt-a1, opt-a1b2.* Say more of the name\."):
        named(prefix, outputs)


@pytest.mark.parametrize("prefix", ["c3", "a1b2", "run", "Opt-c3", "half", "submissions", "../outputs", "nothing"])
def test_what_is_no_beginning_means_nothing(outputs: Path, prefix: str) -> None:
    """Who cancels `1` must not hit the only run with a 1 somewhere in its name."""
    with pytest.raises(RunError, match=r"no run and no sweep of that name in .*tunefleet ls lists them"):
        named(prefix, outputs)


def test_many_that_fit_are_not_all_listed(tmp_path: Path) -> None:
    for number in range(9):
        saved_run(tmp_path, f"r{number}")
    with pytest.raises(RunError, match=r"^r: means 9 runs: r0, r1, r2, r3, r4\. Say more"):
        named("r", tmp_path)


def test_no_outputs_are_no_runs(tmp_path: Path) -> None:
    assert register.runs(tmp_path / "absent") == []
    with pytest.raises(RunError):
        named("x", tmp_path / "absent")


def test_runs_are_listed_by_name_and_what_is_no_run_is_not(outputs: Path) -> None:
    assert [run.name for run in register.runs(outputs)] == ["llama-a1", "opt-a1", "opt-a1b2", "opt-c3", "Ünicode run"]


# Filters


def test_numbers_are_equal_as_numbers_and_texts_as_texts(tmp_path: Path) -> None:
    saved_run(tmp_path, "a", optimizer={"lr": 1e-5}, model={"path": "x/1e-5"})
    saved_run(tmp_path, "b", optimizer={"lr": 0.0001}, model={"path": "X/1E-5"})
    for same in ("1e-5", "0.00001", "1E-05", "10e-6"):
        assert names(tmp_path, optimizer__lr=same) == ["a"]
    assert names(tmp_path, optimizer__lr="1e-4") == ["b"]
    assert names(tmp_path, optimizer__lr="fast") == []
    assert names(tmp_path, model__path="x/1e-5") == ["a", "b"]
    assert names(tmp_path, model__path="x/0.00001") == []


def test_a_group_is_its_choice(tmp_path: Path) -> None:
    saved_run(tmp_path, "a", model={"name": "opt-1.3b"})
    saved_run(tmp_path, "b", model={"name": "opt-13b"})
    assert names(tmp_path, model="opt-1.3b") == ["a"]
    assert names(tmp_path, model="OPT-13b") == ["b"]
    assert names(tmp_path, model="opt") == []
    assert names(tmp_path, optimizer="adamw", launch="slurm") == ["a", "b"]


def test_every_filter_must_fit(tmp_path: Path) -> None:
    saved_run(tmp_path, "a", optimizer={"lr": 1.0}, model={"name": "x"})
    saved_run(tmp_path, "b", optimizer={"lr": 1.0}, model={"name": "y"})
    assert names(tmp_path, optimizer__lr="1", model="y") == ["b"]
    assert names(tmp_path) == ["a", "b"]


@pytest.mark.parametrize(
    ("key", "value", "fits"),
    [
        ("seed", "0", True),
        ("seed", "0.0", True),
        ("launch.wait", "true", True),
        ("launch.wait", "True", True),
        ("launch.wait", "false", False),
        ("launch.wait", "1", False),  # a yes is no number
        ("launch.extra.licenses", "2", True),
        ("launch.extra", "2", False),
        ("model.path", "null", True),
        ("model.path", "", False),
        ("optimizer.lr.deep", "1", False),
        ("nothing", "1", False),
        ("optimizer.betas", "[0.9, 0.95]", True),
        ("optimizer.betas", "[0.9,0.95]", True),
    ],
)
def test_what_a_filter_fits(tmp_path: Path, key: str, value: str, fits: bool) -> None:
    saved_run(tmp_path, "a")
    assert bool(register.matching(register.runs(tmp_path), {key: value})) is fits


@pytest.mark.parametrize(
    "plan", [b"", b'{"config": {"mo', b"[]", b"7", b"null", b"[1]", b'"x"', b"{}", b'{"config": null}', b"\xff\xfe\x00"]
)
def test_a_damaged_plan_is_listed_and_fits_nothing(tmp_path: Path, plan: bytes) -> None:
    saved_run(tmp_path, "good")
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "plan.json").write_bytes(plan)
    assert names(tmp_path) == ["bad", "good"]
    assert names(tmp_path, model="opt-tiny") == ["good"]
    assert named("ba", tmp_path) == ["bad"]


@pytest.mark.parametrize("command", ["logs", "chat", "export", "evaluate", "reproduce"])
def test_a_sweep_is_refused_where_one_run_is_meant(
    tmp_path: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b"):
        saved_run(tmp_path, name)
    many = sweeps.sweep([SweepPoint((), str(tmp_path / name)) for name in ("a", "b")])
    sweeps.write(tmp_path, many)
    with pytest.raises(SystemExit) as ended:
        cli.main(["--outputs", str(tmp_path), command, many.name])
    assert ended.value.code == 2
    message = f"tunefleet: {many.name}: is a sweep of 2 runs, and one is meant. Name one of them: a, b.\n"
    assert capsys.readouterr().err == message


def test_control_a_sweep_of_one_run_is_that_run(tmp_path: Path) -> None:
    saved_run(tmp_path, "a")
    alone = sweeps.sweep([SweepPoint((), str(tmp_path / "a"))])
    sweeps.write(tmp_path, alone)
    assert register.only(alone.name, tmp_path).name == "a"

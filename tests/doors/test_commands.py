"""Does the command `tunefleet` answer quickly, and without what only training needs?"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from tests.launch.fakes import FakeSlurm, installed
from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.status import State, Status
from tunefleet.doors import cli

RUNS = 1000
SECONDS = 1.5  # of processor time, which does not depend on what runs beside
HEAVY = ("torch", "deepspeed", "transformers", "wandb", "optuna", "matplotlib")
MAIN = """
import sys
from tunefleet.doors.cli import main
try:
    main(sys.argv[1:])
finally:
    found = sorted({heavy} & set(sys.modules))
    print("heavy:", *found, file=sys.stderr)
"""


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.chdir(tmp_path)
    return installed(tmp_path / "bin", monkeypatch)


def types(*arguments: str, before: str = "") -> subprocess.CompletedProcess[str]:
    """`tunefleet WORDS`, which says at its end which heavy packages it holds."""
    code = before + MAIN.format(heavy=set(HEAVY))
    environment = {**os.environ, "HF_HUB_CACHE": "/nowhere", "CUDA_VISIBLE_DEVICES": ""}
    return subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        env=environment,
        capture_output=True,
        text=True,
        timeout=60,
    )


def one_run(folder: Path, state: State) -> str:
    plan = tiny_plan(folder)
    plan.save()
    status.write(plan.paths.status, Status(state, step=7))
    plan.paths.log(0).parent.mkdir(exist_ok=True)
    plan.paths.log(0).write_text("step 7\n")
    return plan.run_dir


@pytest.mark.parametrize("command", ["plan", "status", "ls", "logs", "logs -f", "cancel", "resume", "retry"])
def test_a_command_imports_nothing_that_only_training_needs(fake: FakeSlurm, tmp_path: Path, command: str) -> None:
    """Runs that are done, so that resume and retry have nothing to start."""
    directory = one_run(tmp_path, State.FINISHED)
    (tmp_path / "tokenizer.json").touch()
    arguments = {"plan": [f"model.tokenizer={tmp_path}", "launch=slurm"], "ls": [], "retry": [directory]}
    done = types(*command.split(), *arguments.get(command, [directory]))
    assert (done.returncode, done.stderr) == (0, "heavy:\n")
    assert done.stdout


def test_control_a_heavy_package_would_be_seen(fake: FakeSlurm) -> None:
    assert types("ls", before="import sys; sys.modules['wandb'] = sys\n").stderr == "heavy: wandb\n"


@pytest.fixture(scope="module")
def thousand(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the directories of a thousand runs."""
    folder = tmp_path_factory.mktemp("thousand")
    plan = tiny_plan(folder)
    plan.save()
    text = plan.paths.plan.read_text()
    run_status = json.dumps({"state": "finished", "step": 40, "total_steps": 40, "loss": 1.25, "updated": 1.0})
    for number in range(RUNS):
        run = folder / "outputs" / f"run-{number:04d}"
        run.mkdir(parents=True)
        (run / "plan.json").write_text(text.replace('"lr": 0.003', f'"lr": {number}.5'))
        (run / "status.json").write_text(run_status)
    return folder


@pytest.mark.parametrize(("filters", "rows"), [([], RUNS), (["optimizer.lr=7.5"], 1), (["model=opt"], RUNS)])
def test_a_thousand_runs_are_listed_in_a_second_and_a_half(
    fake: FakeSlurm, thousand: Path, filters: list[str], rows: int
) -> None:
    """Of processor time; measured on two busy cores: 0.9 s for the whole command."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = types("--outputs", str(thousand / "outputs"), "ls", *filters)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stderr) == (0, "heavy:\n")
    assert len(done.stdout.splitlines()) == rows + 1
    assert after.ru_utime - before.ru_utime < SECONDS


# What is typed wrongly


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["ls", "model", "x"], "model: a filter is key=value, such as model=opt-1.3b or optimizer.lr=1e-5."),
        (["status", "nothing"], "nothing: no run and no sweep of that name"),
        (["cancel", "nothing"], "nothing: no run and no sweep of that name"),
        (["logs", "nothing"], "nothing: no run and no sweep of that name"),
    ],
)
def test_a_mistake_is_told_without_a_traceback(
    fake: FakeSlurm, capsys: pytest.CaptureFixture[str], arguments: list[str], output: str
) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    assert caught.value.code == 2
    assert output in capsys.readouterr().err


def test_fewer_than_no_lines_are_none(fake: FakeSlurm, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        cli.main(["logs", one_run(tmp_path, State.FINISHED), "-n", "-1"])
    assert not caught.value.code
    assert capsys.readouterr().out == ""

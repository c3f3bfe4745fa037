"""Is whatever a user may get wrong with a run answered in one line, with exit code 2, and never with a traceback?"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tunefleet.base import status
from tunefleet.base.status import State, Status
from tunefleet.doors import cli

NOBODY = 4_000_000  # no process has this number
BROKEN = {
    "garbage-plan": ("plan.json", b"{nope"),
    "binary-plan": ("plan.json", b"\xff\xfe\0"),
    "list-plan": ("plan.json", b"[]"),
    "null-plan": ("plan.json", b"null"),
    "empty-plan": ("plan.json", b""),
    "older-plan": ("plan.json", b'{"config": {"lora": 1}}'),
    "garbage-status": ("status.json", b"{nope"),
    "list-status": ("status.json", b"[]"),
    "edited-status": ("status.json", b'{"state": "finished", "step": "x", "loss": "low", "updated": "now"}'),
    "null-status": ("status.json", b'{"state": "running", "step": null, "updated": null, "pid": null, "host": null}'),
    "nobodys-status": ("status.json", b'{"state": "running", "updated": 1.0, "pid": 0, "host": "elsewhere"}'),
    "garbage-submission": ("submission.json", b"{nope"),
    "garbage-metrics": ("metrics.jsonl", b"\xff\xfe[]\n7\n"),
}
COMMANDS = ("status", "logs", "cancel", "export", "chat", "evaluate")
OVERRIDES = ("nope", "", " ", ".", "/", "*", "~", "afile", "outputs", "x" * 300, "a\0b", "sweep-bad", "sweep-empty")


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of runs, most of them broken in one way each."""
    folder = tmp_path_factory.mktemp("mistakes")
    plan = tiny_plan(folder)
    plan.save()
    text = plan.paths.plan.read_text()
    for name in ("good", "file-to-come", "plan-is-a-folder", "status-is-a-folder", *BROKEN):
        run = folder / "outputs" / name
        run.mkdir(parents=True)
        (run / "plan.json").write_text(text.replace(plan.run_dir, str(run)))
        status.write(run / "status.json", Status(State.FINISHED, step=7, total_steps=9, pid=NOBODY))
    for name, (file, content) in BROKEN.items():
        (folder / "outputs" / name / file).write_bytes(content)
    for name in ("plan", "status"):
        path = folder / "outputs" / f"{name}-is-a-folder" / f"{name}.json"
        path.unlink()
        path.mkdir()
    for name, content in (("sweep-bad", "{"), ("sweep-empty", '{"name": "s", "created": "", "points": []}')):
        (folder / "outputs" / "sweeps" / name).mkdir(parents=True)
        (folder / "outputs" / "sweeps" / name / "sweep.json").write_text(content)
    (folder / "afile").write_text("x")
    return folder / "outputs"


def answer(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[object, str]:
    with pytest.raises(SystemExit) as caught:
        cli.main(arguments)
    return caught.value.code or 0, capsys.readouterr().err


def expect_one_line(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code, output = answer(capsys, *arguments)
    assert code == 2, (arguments, output)
    assert output.startswith("tunefleet: "), (arguments, output)
    assert len(output.splitlines()) == 1, (arguments, output)
    return output


@pytest.mark.parametrize("command", [*COMMANDS, "resume", "reproduce", "retry", "rm"])
def test_what_is_no_run(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    monkeypatch.chdir(outputs.parent)
    for word in OVERRIDES:
        expect_one_line(capsys, command, word)


@pytest.mark.parametrize("command", [*COMMANDS, "resume", "reproduce"])
@pytest.mark.parametrize("name", [name for name in BROKEN if name.endswith("-plan")] + ["plan-is-a-folder"])
def test_a_plan_that_cannot_be_read(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, name: str
) -> None:
    """What needs the plan refuses it by its path; what looks at the status alone needs none."""
    monkeypatch.chdir(outputs.parent)
    if command in ("status", "cancel"):
        assert answer(capsys, command, name) == (0, "")
    else:
        output = expect_one_line(capsys, command, name)
        assert f"{name}/plan.json: " in output or command == "logs"


@pytest.mark.parametrize(
    "name", ["good", "status-is-a-folder", *(name for name in BROKEN if not name.endswith("plan"))]
)
def test_a_run_of_which_other_files_are_damaged(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(outputs.parent)
    assert answer(capsys, "status", name) == (0, "")
    assert answer(capsys, "cancel", name)[0] == 0  # process 0 would be the group of this very test
    assert "rank 0 has no log yet" in expect_one_line(capsys, "logs", name)
    assert "no checkpoint" in expect_one_line(capsys, "chat", name)


def test_all_of_them_are_listed(
    outputs: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(outputs.parent)
    for command in ("ls", "status"):
        with pytest.raises(SystemExit):
            cli.main([command])
        shown = capsys.readouterr().out.splitlines()
        assert len(shown) == 1 + len(list(outputs.glob("*/plan.json")))


@pytest.mark.parametrize(
    ("arguments", "output"),
    [
        (["ls", "nope=1"], "nope: no setting of that name."),
        (["ls", "optimizer.lrr=1"], "optimizer.lrr: no setting of that name. Did you mean 'optimizer.lr'?"),
        (["ls", "lr=1"], "lr: no setting of that name. Did you mean 'optimizer.lr'?"),
        (["ls", "state=failed"], "state: no setting of that name. States have an option of their own: --state failed."),
        (["ls", "=1"], ": no setting of that name."),
        (["ls", "model"], "model: a filter is key=value"),
        (["--outputs", "afile", "ls"], "--outputs: afile is not a folder."),
        (["--outputs", "afile", "status", "good"], "--outputs: afile is not a folder."),
        (["--outputs", "absent", "ls"], "--outputs: absent is not there."),
        (["--outputs", "absent", "logs", "good"], "--outputs: absent is not there."),
        (["logs", "good", "--rank", "9"], "good: has no rank 9. It has 1: --rank 0 to 0."),
        (["logs", "good", "--rank", "-1"], "good: has no rank -1."),
        (["plan", "--rows", "0"], "--rows: 0 is not allowed."),
        (["plan", "--rows", "-5"], "--rows: -5 is not allowed."),
        (["plan", "--machine", "nope"], "plan.machine: 'nope' is not a machine."),
        (["data", "show", "-n", "0"], "-n 0: there is nothing to show."),
        (["data", "completion", "bash"], "invalid choice: 'completion' (choose from 'show', 'stats', "),
        (["data", "train"], "invalid choice: 'train' (choose from 'show', 'stats', "),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else "",
)
def test_mistakes_of_single_commands(
    outputs: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    output: str,
) -> None:
    monkeypatch.chdir(outputs.parent)
    assert output in expect_one_line(capsys, *arguments)


def test_a_folder_without_runs_has_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for command in ("ls", "status"):
        with pytest.raises(SystemExit) as caught:
            cli.main([command])
        assert not caught.value.code
        assert capsys.readouterr().out == "no runs\n"


def test_a_run_that_was_moved_is_where_it_is(outputs: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    moved = tmp_path / "moved"
    moved.mkdir()
    (moved / "plan.json").write_text((outputs / "good" / "plan.json").read_text())
    assert json.loads((moved / "plan.json").read_text())["run_dir"] == str(outputs / "good")
    assert f"{moved}/checkpoints: " in expect_one_line(capsys, "export", str(moved))

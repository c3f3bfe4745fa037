"""Does a run resume that version 0.1 saved, and where its directory was copied, moved or renamed, without a look back?

`saved_by_0_1.tar.gz` is a run that version 0.1 had interrupted after step 2 of 4, the rows that it reads, and the
losses of all four steps as that version went on by itself. In its plan, `@FOLDER@` stands for the folder that it was in
and `@ROOT@` for the project.
"""

from __future__ import annotations

import json
import shutil
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.faults.test_damaged_checkpoints import content
from tests.stories.commands import ROOT, metrics, status, tunefleet

SAVED = Path(__file__).with_name("saved_by_0_1.tar.gz")


def unpacked(folder: Path) -> Path:
    """The run of version 0.1 in `folder`."""
    with tarfile.open(SAVED) as archive:
        archive.extractall(folder, filter="data")
    run = folder / "outputs" / "saved"
    plan = (run / "plan.json").read_text().replace("@FOLDER@", str(folder)).replace("@ROOT@", str(ROOT))
    (run / "plan.json").write_text(plan)
    return run


@pytest.fixture(scope="module")
def copied(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """A copy under another name that was resumed, and what the original held before and after."""
    folder = tmp_path_factory.mktemp("old")
    original = unpacked(folder)
    copy = folder / "elsewhere" / "another"
    shutil.copytree(original, copy)
    as_it_was, run_dir = content(original), json.loads((copy / "plan.json").read_text())["run_dir"]
    printed = tunefleet(folder, "resume", str(copy))
    facts = {"run": copy, "before": as_it_was, "after": content(original), "printed": printed, "folder": folder}
    return {**facts, "run_dir": run_dir}


def test_a_run_of_version_0_1_resumes(copied: dict[str, Any]) -> None:
    expected = json.loads((copied["folder"] / "expected.json").read_text())
    losses = {str(r["step"]): r["train/loss"] for r in metrics(copied["run"]) if "train/loss" in r}
    assert "resuming from step 2" in copied["printed"]
    assert losses == pytest.approx(expected, rel=1e-6)
    assert status(copied["run"])["state"] == "finished"


def test_what_it_saves_then_is_of_this_version(copied: dict[str, Any]) -> None:
    checkpoints = copied["run"] / "checkpoints"
    old, new = (json.loads((checkpoints / f"step-{n:08d}" / "manifest.json").read_text())["files"] for n in (2, 4))
    assert {type(value) for _, value in old.values()} == {int}
    assert {type(value) for _, value in new.values()} == {str}
    assert not [name for name in new if name.endswith((".py", "random-0.pt"))]


def test_a_copied_run_leaves_the_original_alone(copied: dict[str, Any]) -> None:
    assert copied["after"] == copied["before"]
    assert not (copied["folder"] / "outputs" / "another").exists()


def test_control_the_copys_plan_named_the_original(copied: dict[str, Any]) -> None:
    """So that a resume which believed it would have written there."""
    assert copied["run_dir"] == str(copied["folder"] / "outputs" / "saved")
    assert (copied["run"] / "checkpoints" / "step-00000004").is_dir()


def test_an_old_run_that_cannot_be_read_is_refused_by_name(tmp_path: Path) -> None:
    run = unpacked(tmp_path)
    plan = json.loads((run / "plan.json").read_text())
    plan["config"]["train"]["gone_since"] = 1
    (run / "plan.json").write_text(json.dumps(plan))
    printed = tunefleet(tmp_path, "resume", str(run), code=2)
    assert "plan.json: of another version of tunefleet" in printed
    assert "gone_since" in printed

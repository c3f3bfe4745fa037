"""Is it said where a run resumes otherwise than it was saved, and refused where its chat template is another?"""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.plans import tiny_plan
from tunefleet.base import files
from tunefleet.base.errors import RunError
from tunefleet.runs import checkpoint_files, resume_checks


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    """What every checkpoint holds beside shards."""
    for name, text in checkpoint_files.texts(tiny_plan(tmp_path), "the template").items():
        files.write_text(tmp_path / "step-00000001" / name, text)
    return tmp_path / "step-00000001"


def test_nothing_is_said_where_nothing_changed(checkpoint: Path, tmp_path: Path) -> None:
    assert resume_checks.notes(checkpoint, tiny_plan(tmp_path)) == []
    assert resume_checks.notes(None, tiny_plan(tmp_path)) == []  # a first start


def test_another_number_of_threads_is_said_with_the_setting_that_keeps_it(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads = torch.get_num_threads()
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads + 3)
    [note] = resume_checks.notes(checkpoint, tiny_plan(tmp_path))
    assert note.startswith(f"CPU threads were {threads} and are {threads + 3}: sums differ in their last bits")
    assert note.endswith(f"train.threads={threads} keeps their number.")


def test_other_processes_torch_and_devices_are_said(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    saved = {**files.read_json(checkpoint / checkpoint_files.MACHINE), "versions of torch": "2.0", "devices": "H100"}
    files.write_json(checkpoint / checkpoint_files.MACHINE, saved)
    [note] = resume_checks.notes(checkpoint, tiny_plan(tmp_path, ranks=2))
    assert "processes were 1 and are 2; versions of torch were 2.0 and are " in note
    assert "; devices were H100 and are CPU with " in note
    assert "train.threads" not in note


def test_a_checkpoint_of_an_older_version_says_nothing(checkpoint: Path, tmp_path: Path) -> None:
    (checkpoint / checkpoint_files.MACHINE).unlink()
    assert resume_checks.notes(checkpoint, tiny_plan(tmp_path)) == []


def test_another_chat_template_is_refused(checkpoint: Path) -> None:
    """A newer version of a built-in one, for instance."""
    with pytest.raises(RunError, match="was trained with this chat template"):
        resume_checks.expect_template(checkpoint, "a newer template")
    resume_checks.expect_template(checkpoint, "the template")
    resume_checks.expect_template(None, "a newer template")  # a first start
    (checkpoint / checkpoint_files.CHAT_TEMPLATE).unlink()
    resume_checks.expect_template(checkpoint, "a newer template")  # nobody knows

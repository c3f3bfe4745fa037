"""What becomes of a run whose export fails after all training, and of folders that `tunefleet export --to` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.stories.commands import SMALL, run_folder, status, train, tunefleet

OVERRIDES = [
    *SMALL,
    "name=mine",
    "train.max_steps=2",
    "train.micro_batch=2",
    "evaluation.generate_rows=1",
    "tracking=files",
]


@pytest.fixture(scope="module")
def failed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str]:
    """A folder with a run whose export had no place: a file is there; and what the run printed."""
    folder = tmp_path_factory.mktemp("failed")
    (folder / "outputs" / "mine").mkdir(parents=True)
    (folder / "outputs" / "mine" / "export").write_text("in the way")
    return folder, train(folder, *OVERRIDES, "checkpoint.at_end=false", code=1)


def test_an_export_that_fails_loses_nothing_and_can_be_repeated(failed: tuple[Path, str]) -> None:
    folder, printed = failed
    run = run_folder(folder)
    assert "mine is trained and saved at step 2, and its export failed: " in printed
    assert "Write it again with `tunefleet export mine`" in printed
    assert "unseen values" in printed  # it was evaluated nevertheless
    previous = status(run)
    assert (previous["state"], previous["cause"], previous["saved_step"]) == ("failed", "export failed", 2)
    assert "export failed" in previous["reason"]
    assert (run / "export").read_text() == "in the way"
    (run / "export").unlink()
    assert "logits: of " in tunefleet(folder, "export", "mine", "--shard-size", "1MB")
    assert len(list((run / "export").glob("model-*.safetensors"))) > 1
    card = (run / "export" / "README.md").read_text()
    assert "| optimizer steps | 2 |" in card
    assert "| unseen values | loss " in card
    assert (status(run)["state"], status(run)["reason"]) == ("finished", "")


def test_what_cannot_be_exported_as_asked_is_refused_before_the_work(failed: tuple[Path, str]) -> None:
    folder, _ = failed
    for arguments, message in (
        (["--dtype", "bf16"], "RUN/export keeps the dtype of the training"),
        (["--tensorflow", "elsewhere", "--dtype", "bf16"], "--tensorflow: goes with --checkpoint, --overwrite and"),
        (["--push", "nobody"], "'nobody' is no repository"),
        (["--shard-size", "much"], "'much' is not a size. Allowed: 5GB, 500 MiB"),
    ):
        printed = tunefleet(folder, "export", "mine", *arguments, code=2)
        assert message in printed
        assert "Traceback" not in printed


def test_a_folder_that_is_not_empty_is_refused_before_the_work(failed: tuple[Path, str]) -> None:
    folder, _ = failed
    (folder / "thesis").mkdir()
    (folder / "thesis" / "chapter1.txt").write_text("a year")
    for named in ("thesis", "."):
        printed = tunefleet(folder, "export", "mine", "--to", named, code=2)
        assert "which no export left there" in printed
        assert "Traceback" not in printed
    assert [path.name for path in (folder / "thesis").iterdir()] == ["chapter1.txt"]

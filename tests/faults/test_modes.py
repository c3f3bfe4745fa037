"""Do the files and folders of a run have the modes that launch.access asks for, whatever the umask?"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.plans import tiny_plan
from tests.stories.commands import SMALL, train, tunefleet
from tunefleet.base import files, modes
from tunefleet.doors import compose

SETTINGS = (
    "name=run",
    "train.max_steps=2",
    "evaluation.every=0",
    "launch.processes=1",
    "train.sequence_length=64",
    *SMALL,
)
WITHOUT_MODES = (".clock",)


@pytest.fixture(autouse=True)
def _umask() -> Iterator[None]:
    umask = os.umask(0o022)
    os.umask(umask)
    yield
    os.umask(umask)
    modes.keep()
    os.umask(umask)


def modes_below(folder: Path) -> tuple[dict[str, int], dict[str, int]]:
    """{name: mode} of all files, and of all folders, with `folder` itself."""
    paths = [folder, *folder.rglob("*")]
    mode_of = {
        str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in paths if not path.is_symlink()
    }
    folders = {name for name in mode_of if (folder / name).is_dir()}
    return {k: v for k, v in mode_of.items() if k not in folders}, {k: mode_of[k] for k in folders}


EXPECTED = {
    ("umask", 0o022): (0o644, 0o755),
    ("umask", 0o000): (0o664, 0o775),
    ("umask", 0o027): (0o640, 0o750),
    ("private", 0o022): (0o600, 0o700),
    ("private", 0o000): (0o600, 0o700),
    ("group", 0o022): (0o664, 0o2775),
    ("group", 0o077): (0o660, 0o2770),
}
LONG = [case for case in EXPECTED if case not in (("private", 0o022), ("group", 0o077))]


@pytest.mark.parametrize(
    ("access", "umask"),
    [pytest.param(*case, marks=pytest.mark.exhaustive if case in LONG else ()) for case in EXPECTED],
)
def test_all_that_a_run_and_its_export_leave_has_the_modes(access: str, umask: int, tmp_path: Path) -> None:
    os.umask(umask)
    train(tmp_path, *SETTINGS, f"launch.access={access}")
    tunefleet(tmp_path, "export", "run", "--to", "exported")
    assert "is done" in train(tmp_path, *SETTINGS, f"launch.access={access}")  # the directory is not refused
    for folder in (tmp_path / "outputs", tmp_path / "exported"):
        of_files, of_folders = modes_below(folder)
        expected_file, expected_folder = EXPECTED[access, umask]
        assert {name: oct(mode) for name, mode in of_files.items() if mode != expected_file} == {}
        assert {name: oct(mode) for name, mode in of_folders.items() if mode != expected_folder} == {}


@pytest.mark.parametrize("is_grid", [False, True])
def test_the_modes_hold_as_soon_as_the_settings_are_known(is_grid: bool, tmp_path: Path) -> None:
    for access, expected in (("private", 0o600), ("group", 0o660), ("umask", 0o640)):
        os.umask(0o027)
        settings = ["model=opt-tiny", "data=demo", f"launch.access={access}"]
        compose.grid([*settings, "seed=1,2"]) if is_grid else compose.from_overrides(settings)
        files.write_text(tmp_path / access / "file", "")
        assert stat.S_IMODE((tmp_path / access / "file").stat().st_mode) == expected


def test_a_folder_that_is_there_keeps_its_mode_and_that_is_said(tmp_path: Path) -> None:
    plan = tiny_plan(tmp_path, launch={"access": "private"})
    plan.paths.root.mkdir(mode=0o755)
    modes.keep("private")
    plan.save()
    assert stat.S_IMODE(plan.paths.root.stat().st_mode) == 0o755
    assert "keeps its mode 755" in modes.note(plan.paths.root, "private")
    assert "chmod -R g+rwX" in modes.note(plan.paths.root, "group")
    assert modes.note(plan.paths.root, "umask") == modes.note(tmp_path / "none", "private") == ""

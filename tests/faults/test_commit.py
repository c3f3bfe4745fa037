"""Is every byte on the disk before what counts on it is written? kill -9 cannot show it; the system calls do."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.faults.commits import STEPS
from tests.faults.strace import Call, calls, expect_strace
from tests.ranks import run_in_ranks

RANKS = 2
WRITES = ("write", "pwrite64", "writev")


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of two ranks, which have saved the steps."""
    expect_strace()
    folder = tmp_path_factory.mktemp("commit")
    results = run_in_ranks("tests.faults.commits:saves", RANKS, folder)
    (folder / "results.json").write_text(json.dumps(results))
    return folder


def all_calls(folder: Path, step: int) -> list[Call]:
    """The system calls of all ranks, in the order of their ends."""
    of_ranks = [calls(folder / f"strace-{step}-{rank}") for rank in range(RANKS)]
    return sorted((call for rank in of_ranks for call in rank), key=lambda call: call.end)


def rename_to(observed: list[Call], target: Path) -> Call:
    """The one rename to `target`."""
    [rename] = [call for call in observed if call.name == "rename" and f', "{target}"' in call.arguments]
    return rename


def unsynced(observed: list[Call], path: str, end: float) -> bool:
    """Whether no sync of `path` ended between the last write to it, or into it, and the time `end`."""
    writes = [call for call in observed if call.end < end and (_writes(call, path) or _makes(call, path))]
    return not synced(observed, path, max((call.end for call in writes), default=0.0), end)


def synced(observed: list[Call], path: str, start: float, end: float) -> bool:
    """Whether `path` was synced between these times."""
    syncs = [call for call in observed if call.name == "fsync" and call.path == path]
    return any(start <= call.end <= end for call in syncs)


def _writes(call: Call, path: str) -> bool:
    return call.name in WRITES and call.path == path


def _makes(call: Call, folder: str) -> bool:
    """Whether the call makes a file in `folder`."""
    if call.name == "openat":
        return "O_CREAT" in call.arguments and f'"{folder}/' in call.arguments
    return call.name in ("mkdir", "rename") and f'"{folder}/' in call.arguments


def violations(folder: Path, step: int) -> list[str]:
    """What was not on the disk when it had to be: files and folders before their rename, renames before the pointer."""
    observed, checkpoints = all_calls(folder, step), folder / "checkpoints"
    final = checkpoints / f"step-{step:08d}"
    temporary = final.with_suffix(".tmp")
    commit, point = rename_to(observed, final), rename_to(observed, checkpoints / "latest.json")
    assert commit.end <= point.start
    manifest = rename_to(observed, temporary / "manifest.json")
    files = {call.path for call in observed if call.name in WRITES and call.path.startswith(f"{temporary}/")}
    shards = {path for path in files if "manifest.json" not in path}
    missing = [path for path in sorted(files | {str(temporary)}) if unsynced(observed, path, commit.start)]
    early = [path for path in sorted(shards | {f"{temporary}/shards"}) if unsynced(observed, path, manifest.start)]
    pointer = {call.path for call in observed if call.name in WRITES and "/latest.json" in call.path}
    late = [path for path in pointer if unsynced(observed, path, point.start)]
    if not synced(observed, str(checkpoints), commit.end, point.start):
        late.append(str(checkpoints))
    assert len(shards) == 2 + 2 + RANKS, shards  # one of the model, texts, an optimizer and random states of each rank
    return [*missing, *early, *late]


def test_shards_manifest_rename_pointer_each_on_the_disk_before_the_next(saved: Path) -> None:
    assert violations(saved, 1) == []


def test_the_pointers_own_rename_is_synced(saved: Path) -> None:
    observed = all_calls(saved, 1)
    point = rename_to(observed, saved / "checkpoints" / "latest.json")
    assert any(
        call.name == "fsync" and call.path == str(saved / "checkpoints") and call.start >= point.end
        for call in observed
    )


def test_control_without_fsync_every_file_is_found(saved: Path) -> None:
    assert STEPS[2].startswith("control")
    assert {Path(path).name.split(".")[0] for path in violations(saved, 2)} >= {
        "mp_rank_00_model_states",
        "random-1",
        "manifest",
        "latest",
        "shards",
        "checkpoints",
    }


def test_all_ranks_resume_from_the_same_checkpoint(saved: Path) -> None:
    """Whichever of them reads the damaged file."""
    [first, second] = json.loads((saved / "results.json").read_text())
    assert first == second
    assert first[0] == 1
    assert "rank_1_mp_rank_00_optim_states.pt: changed since it was saved" in first[1]

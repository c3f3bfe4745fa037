"""Does the list of runs stay quick with ten thousand, read only what has changed, and change nothing?"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.board.boards import made, stand
from tunefleet.base import files
from tunefleet.base.paths import RunPaths
from tunefleet.base.status import Cause, State, Status
from tunefleet.board import run_list, run_query
from tunefleet.board.run_list import RunList
from tunefleet.board.run_query import RunQuery
from tunefleet.launch.run_state import StatusReader

MANY = 10_000
MEMORY = "/dev/shm"
SECONDS = 30.0  # of wall-clock time on a machine that does other things; a quiet one takes less than a tenth


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Every file that is read from now on."""
    paths: list[Path] = []
    read: Callable[[Path], bytes] = files.read_bytes
    monkeypatch.setattr(files, "read_bytes", lambda path: (paths.append(path), read(path))[1])
    return paths


def names(runs: RunList, **query: object) -> list[str]:
    return [row.name for row in run_query.answer(runs.rows.values(), RunQuery(**query)).rows]  # type: ignore[arg-type]


@pytest.fixture
def folder() -> Iterator[Path]:
    """In memory where that is possible: a disk may take minutes to remove thirty thousand files."""
    with tempfile.TemporaryDirectory(dir=MEMORY if os.access(MEMORY, os.W_OK) else None) as name:
        yield Path(name).resolve()


def test_ten_thousand_runs_are_read_once(folder: Path, reads: list[Path]) -> None:
    settings = {f"key_{i}": i for i in range(10)}
    finished = {"state": "finished", "total_steps": 9, "evaluation": {}, "best": {}, "pid": 1, "host": "elsewhere"}
    for number in range(MANY):
        run = folder / f"run-{number:05}"
        run.mkdir()
        config = {"model": {"name": f"m{number % 7}"}, "optimizer": {"lr": 1e-3 * (number % 10)}, "train": settings}
        (run / "plan.json").write_text(json.dumps({"config": config}))
        facts = {"step": number % 9, "loss": number / MANY, "updated": 1.7e9 + number}
        (run / "status.json").write_text(json.dumps(finished | facts))
    runs = RunList(folder)
    runs.refresh()
    assert len(runs.rows) == MANY
    assert len(reads) == 2 * MANY

    reads.clear()
    started = time.monotonic()
    runs.refresh()
    assert reads == []
    for name in ("run-00005", "run-00006"):
        stand(RunPaths(folder / name), Status(State.FAILED, cause=Cause.ERROR))
    runs.refresh()
    assert [path.parent.name for path in reads] == ["run-00005", "run-00006"]
    assert names(runs, states=frozenset(["failed"])) == ["run-00006", "run-00005"]
    assert names(runs, sort="loss", descending=True, size=2) == ["run-09999", "run-09998"]
    assert names(runs, text="m3 optimizer.lr=0.003 loss<0.01", sort="name", descending=False) == [
        "run-00003",
        "run-00073",
    ]
    last = run_query.answer(runs.rows.values(), RunQuery(page=199))
    assert (len(last.rows), last.total, last.states) == (50, MANY, {"finished": MANY - 2, "failed": 2})
    assert time.monotonic() - started < SECONDS


def test_looking_settles_nothing(tmp_path: Path) -> None:
    """`tunefleet status` writes the final state of a run whose processes are gone; the board only shows it."""
    paths = made(tmp_path, "gone", State.RUNNING, pid=2**22 + 1, updated=time.time() - 3600)
    before = paths.status.read_bytes()
    runs = RunList(tmp_path)
    runs.refresh()
    row = runs.rows["gone"]
    assert (row.state, row.status and row.status.cause) == ("failed", Cause.KILLED)
    assert "all its processes are gone" in row.reason
    assert paths.status.read_bytes() == before


def test_runs_come_go_and_change(tmp_path: Path) -> None:
    made(tmp_path, "first")
    runs = RunList(tmp_path)
    runs.refresh()
    made(tmp_path, "second", State.FAILED)
    (tmp_path / "no-run").mkdir()
    (tmp_path / "sweeps").mkdir()
    runs.refresh()
    assert set(runs.rows) == {"first", "second"}
    os.rename(tmp_path / "first", tmp_path / "third")
    runs.refresh()
    assert set(runs.rows) == {"second", "third"}
    assert runs.row("first") is None
    assert runs.row("third")


def test_the_first_rows_are_shown_while_others_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(5):
        made(tmp_path, f"run-{number}")
    monkeypatch.setattr(run_list, "SHOWN_EVERY", 2)
    shown: list[tuple[int, tuple[int, int]]] = []

    class Onlooker(StatusReader):
        def checked(self, run: RunPaths, run_status: Status | None) -> Status | None:
            shown.append((len(runs.rows), runs.progress))
            return run_status

    runs = RunList(tmp_path, Onlooker)
    runs.refresh()
    assert shown == [(0, (0, 0)), (1, (0, 5)), (1, (0, 5)), (3, (2, 5)), (3, (2, 5))]
    assert (len(runs.rows), runs.progress) == (5, (5, 5))


def test_a_run_that_never_began_is_planned(tmp_path: Path) -> None:
    paths = made(tmp_path, "new")
    paths.status.unlink()
    runs = RunList(tmp_path)
    runs.refresh()
    assert (runs.rows["new"].state, runs.rows["new"].status) == ("planned", None)
    stand(paths, Status(State.FINISHED))
    runs.refresh()
    assert runs.rows["new"].state == "finished"


def test_a_damaged_file_hides_no_other_run(tmp_path: Path) -> None:
    made(tmp_path, "good")
    for name, content in {"torn": b'{"', "list": b"[]", "binary": b"\xff\xfe", "deep": b"[" * 100_000}.items():
        paths = made(tmp_path, name)
        paths.plan.write_bytes(content)
        paths.status.write_bytes(content)
    runs = RunList(tmp_path)
    runs.refresh()
    assert set(runs.rows) == {"good", "torn", "list", "binary", "deep"}
    assert runs.rows["deep"].status is None


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", {"a-1", "b-2", "c-3"}),
        ("OPT-TINY", {"a-1", "b-2", "c-3"}),
        ("b-", {"b-2"}),
        ("failed", {"c-3"}),
        ("optimizer.lr=1e-2", {"b-2"}),
        ("optimizer.lr>0.005", {"b-2", "c-3"}),
        ("optimizer.lr<=0.01", {"a-1", "b-2"}),
        ("model.name=opt-tiny state=finished", {"a-1", "b-2"}),
        ("loss<1.2", {"a-1"}),
        ("loss=", set()),
        ("unknown.key=1", set()),
        ("<", set()),
    ],
)
def test_filters(tmp_path: Path, text: str, expected: set[str]) -> None:
    made(tmp_path, "a-1", lr=1e-3, loss=1.0)
    made(tmp_path, "b-2", lr=1e-2, loss=float("nan"))
    made(tmp_path, "c-3", State.FAILED, lr=1e-1, loss=None)
    runs = RunList(tmp_path)
    runs.refresh()
    assert set(names(runs, text=text)) == expected


def test_rows_without_a_value_are_last_both_ways(tmp_path: Path) -> None:
    for name, loss in {"a": None, "b": 2.0, "c": float("nan"), "d": 1.0}.items():
        made(tmp_path, name, loss=loss)
    runs = RunList(tmp_path)
    runs.refresh()
    assert names(runs, sort="loss", descending=False) == ["d", "b", "a", "c"]
    assert names(runs, sort="loss", descending=True) == ["b", "d", "a", "c"]
    assert names(runs, sort="no column", descending=True, size=10**9)

"""Does a person see every line of a log once?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.doors.runs import later, moves, run_directory
from tests.launch.fakes import FakeSlurm, installed, queued
from tunefleet.base.errors import RunError
from tunefleet.base.status import State
from tunefleet.doors import logs

Capture = pytest.CaptureFixture[str]


@pytest.fixture(autouse=True)
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FakeSlurm:
    monkeypatch.setattr(logs, "INTERVAL", 0.05)
    monkeypatch.chdir(tmp_path)
    return installed(tmp_path / "bin", monkeypatch)


@pytest.mark.parametrize(("lines", "shown"), [(2, "4\n5"), (100, "1\n2\n3\n4\n5"), (0, "")])
def test_the_last_lines_of_a_rank(capsys: Capture, lines: int, shown: str) -> None:
    run = run_directory("a")
    run.paths.log(1).write_text("1\n2\n3\n4\n5")
    logs.logs(run, 1, lines, follow=False)
    assert capsys.readouterr().out == shown


def test_no_log_yet_is_said_with_the_reason() -> None:
    with pytest.raises(RunError, match=r"^a: rank 3 has no log yet\. It is queued \(waits\)\.$"):
        logs.logs(run_directory("a", State.QUEUED, reason="waits"), 3, 10, follow=False)
    with pytest.raises(RunError, match=r"It never started\.$"):
        logs.logs(run_directory("b", None), 0, 10, follow=False)


def append(path: Path, content: str | bytes) -> Callable[[], None]:
    def act() -> None:
        with open(path, "ab") as stream:
            stream.write(content.encode() if isinstance(content, str) else content)

    return act


def test_following_prints_everything_once_and_ends_with_the_run(capsys: Capture) -> None:
    run = run_directory("a")
    log = run.paths.log(0)
    log.write_text("old\nsecond\nbar 1%\r")

    def end() -> None:
        append(log, "last words")()
        moves(run, State.FAILED)

    thread = later(append(log, "bar 2%\r"), append(log, "new\n"), end)
    logs.logs(run, 0, 2, follow=True)
    thread.join()
    assert capsys.readouterr().out == "second\nbar 1%\rbar 2%\rnew\nlast words"


def test_following_waits_for_a_log_that_appears_late(capsys: Capture) -> None:
    run = run_directory("a", State.STARTING)
    thread = later(append(run.paths.log(0), "first\n"), lambda: moves(run, State.FINISHED))
    logs.logs(run, 0, 10, follow=True)
    thread.join()
    assert capsys.readouterr().out == "first\n"


def test_following_moves_from_the_batch_scripts_words_to_the_ranks_own(capsys: Capture, fake: FakeSlurm) -> None:
    run = run_directory("a", State.STARTING)
    submitted = queued(Path("outputs").resolve(), [run.paths])
    moves(run, State.STARTING)
    fake.says("squeue", "12|RUNNING|None|")
    batch = Path(submitted.folder) / "slurm" / "12_0_log.out"
    batch.parent.mkdir()
    batch.write_text("module loaded\n")
    thread = later(
        append(batch, "env ready\n"), append(run.paths.log(0), "step 1\n"), lambda: moves(run, State.FINISHED)
    )
    logs.logs(run, 0, 10, follow=True)
    thread.join()
    assert capsys.readouterr().out == "module loaded\nenv ready\nstep 1\n"


def test_following_a_run_that_has_ended_is_no_waiting(capsys: Capture) -> None:
    run = run_directory("a", State.FAILED)
    run.paths.log(0).write_text("all\n")
    logs.logs(run, 0, 10, follow=True)
    logs.logs(run_directory("b", State.FINISHED), 0, 10, follow=True)  # without a log
    assert capsys.readouterr().out == "all\n"


def test_a_letter_in_two_pieces_is_one_letter(capsys: Capture) -> None:
    run = run_directory("a")
    halves = "né".encode()
    thread = later(
        append(run.paths.log(0), halves[:2]), append(run.paths.log(0), halves[2:]), lambda: moves(run, State.FINISHED)
    )
    logs.logs(run, 0, 10, follow=True)
    thread.join()
    assert capsys.readouterr().out == "né"


@pytest.mark.parametrize("content", [b"\xff\xfe\n", b"a\xc3", b"a\r", "né 中\n".encode()])
def test_what_is_no_text_is_shown_and_not_repeated(capsys: Capture, content: bytes) -> None:
    run = run_directory("a")
    append(run.paths.log(0), content)()

    def end() -> None:
        append(run.paths.log(0), b"|new\n")()
        moves(run, State.FINISHED)

    thread = later(end)
    logs.logs(run, 0, 10, follow=True)
    thread.join()
    output = capsys.readouterr().out
    assert output.count("|new\n") == 1
    assert output.startswith(content.decode("utf-8", "replace").splitlines()[0])

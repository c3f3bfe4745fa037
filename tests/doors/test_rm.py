"""Does `tunefleet rm` remove what was named and is over, and nothing else?"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.launch.fakes import installed
from tunefleet.base import status, sweeps
from tunefleet.base.errors import RunError
from tunefleet.base.status import State, Status
from tunefleet.base.sweeps import SweepPoint
from tunefleet.doors import rm

OUTPUTS = Path("outputs")


@pytest.fixture(autouse=True)
def _folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    installed(tmp_path / "bin", monkeypatch)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(rm.sys.stdin, "isatty", lambda: True)


@pytest.fixture
def types(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[str]]:
    """Answers every question with one text; returns the questions."""

    def answer(text: str) -> list[str]:
        questions: list[str] = []
        monkeypatch.setattr("builtins.input", lambda question: (questions.append(question), text)[1])
        return questions

    return answer


def made(name: str, state: State | None = State.FINISHED, outputs: Path = OUTPUTS) -> Path:
    run = outputs / name
    (run / "export").mkdir(parents=True)
    (run / "plan.json").write_text(json.dumps({"name": name, "identity": "a", "config": {}}))
    (run / "export" / "weights").write_bytes(bytes(2**20))
    if state:
        status.write(run / "status.json", Status(state, pid=os.getpid()))
    return run


def there() -> list[str]:
    return sorted(path.name for path in OUTPUTS.iterdir() if path.name != "sweeps")


def test_a_run_goes_after_a_yes_and_the_others_stay(
    types: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    made("a")
    made("ab", State.FAILED)
    questions = types("yes")
    assert rm.remove(["a"], OUTPUTS, yes=False) == 0
    assert questions == ["Remove them for good? Type yes: "]
    assert capsys.readouterr().out == "a  finished  1.0 MiB\nremoved a\n"
    assert there() == ["ab"]


@pytest.mark.parametrize("answer", ["", "n", "y", "Yes!", "a"])
def test_any_other_answer_removes_nothing(types: Callable[[str], list[str]], answer: str) -> None:
    made("a")
    types(answer)
    assert rm.remove(["a"], OUTPUTS, yes=False) == 1
    assert there() == ["a"]


def test_yes_asks_nothing_and_without_a_terminal_it_is_needed(
    types: Callable[[str], list[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    made("a")
    made("b", None)
    monkeypatch.setattr(rm.sys.stdin, "isatty", lambda: False)
    with pytest.raises(RunError, match=r"there is no terminal. --yes removes without a question"):
        rm.remove(["a"], OUTPUTS, yes=False)
    questions = types("never")
    assert rm.remove(["a", "outputs/b"], OUTPUTS, yes=True) == 0
    assert (questions, there()) == ([], [])


@pytest.mark.parametrize("state", [state for state in State if not state.final])
def test_a_run_that_is_not_over_stays_and_so_do_those_named_with_it(state: State) -> None:
    made("done")
    made("busy", state)
    with pytest.raises(RunError, match=rf"^busy: is {state.value}. End it first: tunefleet cancel busy$"):
        rm.remove(["done", "busy"], OUTPUTS, yes=True)
    assert there() == ["busy", "done"]


def test_a_run_whose_directory_is_in_use_stays() -> None:
    run = made("a", State.FINISHED)
    with open(run / ".lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(RunError, match="is being used by a process"):
            rm.remove(["a"], OUTPUTS, yes=True)
    assert rm.remove(["a"], OUTPUTS, yes=True) == 0


@pytest.mark.parametrize("name", ["lon", "", ".", "..", "outputs", "/", "sweeps", "long-name/export"])
def test_only_whole_names(name: str) -> None:
    """Elsewhere the only beginning of a name is enough."""
    made("long-name")
    with pytest.raises(RunError):
        rm.remove([name], OUTPUTS, yes=True)
    assert there() == ["long-name"]


def test_a_link_is_neither_followed_nor_removed() -> None:
    target = made("precious", outputs=Path("elsewhere"))
    OUTPUTS.mkdir()
    (OUTPUTS / "link").symlink_to(target.resolve())
    for name in ("link", "outputs/link", "outputs/link/"):
        with pytest.raises(RunError, match="is a link to"):
            rm.remove([name], OUTPUTS, yes=True)
    assert (target / "export" / "weights").exists()
    assert (OUTPUTS / "link").is_symlink()


def test_links_inside_a_run_are_removed_and_not_followed() -> None:
    run = made("a")
    keep = made("precious", outputs=Path("elsewhere"))
    (run / "data").symlink_to(keep.resolve())
    (run / "file").symlink_to((keep / "plan.json").resolve())
    assert rm.remove(["a"], OUTPUTS, yes=True) == 0
    assert (keep / "export" / "weights").exists()
    assert (keep / "plan.json").exists()


@pytest.mark.parametrize("way", ["elsewhere/a", "outputs/../elsewhere/a", "outputs/linked/a"])
def test_what_lies_outside_of_the_outputs_stays(way: str) -> None:
    run = made("a", outputs=Path("elsewhere"))
    OUTPUTS.mkdir()
    (OUTPUTS / "linked").symlink_to(Path("elsewhere").resolve())
    with pytest.raises(RunError, match="lies outside of outputs"):
        rm.remove([way], OUTPUTS, yes=True)
    assert (run / "plan.json").exists()


@pytest.mark.parametrize("plan", ["{}", "[]", "null", '{"plan": "of a house"}'])
def test_a_folder_of_somebody_elses_stays(plan: str) -> None:
    (OUTPUTS / "house").mkdir(parents=True)
    (OUTPUTS / "house" / "plan.json").write_text(plan)
    with pytest.raises(RunError, match="not a plan of tunefleet"):
        rm.remove(["house"], OUTPUTS, yes=True)
    assert there() == ["house"]


# Sweeps


@pytest.fixture
def sweep() -> str:
    runs = [str(made(name).resolve()) for name in ("a", "b")]
    made("c")
    record = sweeps.sweep([SweepPoint((f"x={run[-1]}",), run) for run in runs])
    sweeps.write(OUTPUTS, record)
    return record.name


def names(sweep: str) -> list[str]:
    record = sweeps.read(OUTPUTS, sweep)
    return [Path(point.run_dir).name for point in record.points] if record else []


def test_a_sweep_is_removed_by_typing_its_name_below_the_list_of_its_points(
    sweep: str, types: Callable[[str], list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    types("yes")
    assert rm.remove([sweep], OUTPUTS, yes=False) == 1
    questions = types(sweep)
    capsys.readouterr()
    assert rm.remove([sweep], OUTPUTS, yes=False) == 0
    assert questions == [f"Remove them for good? Type {sweep}: "]
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()[:2]] == ["a", "b"]
    assert there() == ["c"]
    assert names(sweep) == []


def test_yes_is_no_word_for_a_sweep(sweep: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rm.sys.stdin, "isatty", lambda: False)
    with pytest.raises(RunError, match="Name its runs one by one with --yes"):
        rm.remove([sweep], OUTPUTS, yes=True)
    assert there() == ["a", "b", "c"]


def test_a_removed_run_leaves_its_sweep_until_the_grid_is_typed_again(sweep: str) -> None:
    previous = sweeps.read(OUTPUTS, sweep)
    rm.remove(["a"], OUTPUTS, yes=True)
    assert names(sweep) == ["b"]
    assert previous
    sweeps.write(OUTPUTS, previous)
    assert names(sweep) == ["a", "b"]
    shutil.rmtree(OUTPUTS / "b")  # by hand
    made("a")
    assert rm.remove(["a"], OUTPUTS, yes=True) == 0
    assert names(sweep) == ["b"]

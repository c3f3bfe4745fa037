"""Does docs/sweeps.md tell the truth: its files open, its commands run, what it shows is what they print."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from documentation import typed_commands

from tests.stories.commands import ROOT, train
from tunefleet.doors import cli
from tunefleet.doors import train as train_door

Capture = pytest.CaptureFixture[str]
PAGE = ROOT / "docs" / "sweeps.md"
_TINY = ["data.max_rows=300", "data.validation_rows=6", "train.max_steps=3", "evaluation.generate_rows=0"]
_TINY += ["tracking=files", "launch.parallel_runs=2", "schedule=constant", "schedule.warmup=0"]
_FAILS = "optimizer.lr=1e-3,1e15"  # the second trial fails by its own fault: something is there to retry and to stop


@dataclass(frozen=True)
class Shown:
    """A block of commands, and the block of `text` behind it, which says what they print."""

    lines: list[str]
    printed: list[str]


def shown_blocks() -> Iterator[Shown]:
    """The blocks of commands of the page in their order; a file of a search is one, too."""
    blocks = list(typed_commands.blocks([PAGE]))
    for block, following in zip(blocks, [*blocks[1:], None], strict=True):
        printed = following.lines if following and following.language == "text" else ()
        lines = [f"python train.py -m sweeps={Path(name).stem}" for name in typed_commands.files_of(block)]
        if block.language == "sh" or lines:
            yield Shown(lines or list(block.lines), [line for line in printed if line])


def searches() -> list[Shown]:
    """Blocks of searches alone; each is opened as a dry run."""
    return [
        block for block in shown_blocks() if all(line.startswith("python train.py -m sweeps=") for line in block.lines)
    ]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project whose `conf/sweeps` holds the files of the page."""
    for name, text in typed_commands.files([PAGE]).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")
    return tmp_path


def test_files_and_searches_open_and_print_what_the_page_shows(folder: Path, capsys: Capture) -> None:
    assert len(searches()) > 9
    for block in searches():
        _expect_printed(block, [_opened(_arguments(line), capsys) for line in block.lines][-1])
    assert not (folder / "outputs" / "sweeps").exists()


def test_the_same_seed_draws_the_same_points(folder: Path, capsys: Capture) -> None:
    (line,) = [line for block in searches() for line in block.lines if "sweep.sampler.seed=7" in line]
    first, second = (_opened(_arguments(line), capsys) for _ in range(2))
    other = _opened([*_arguments(line), "sweep.sampler.seed=8"], capsys)
    assert first == second
    assert first.splitlines()[-1] != other.splitlines()[-1]  # control


def test_acts_are_run_on_a_real_search(folder: Path, capsys: Capture) -> None:
    ((opened, *acts),) = (block.lines for block in shown_blocks() if "tunefleet sweep watch mine" in block.lines)
    assert "the loss became nan" in train(folder, *_arguments(opened), *_TINY, _FAILS)
    printed = {line: _printed(cli.main, shlex.split(line, comments=True)[1:], capsys) for line in acts}
    shown = "\n".join(printed.values())
    for state in ("goes on", "stopped by a user", "extended: trials=9", "next [optimizer.lr=2e-3]", "warm"):
        assert state in shown, shown
    assert "[optimizer.lr=2e-3]: finished" in printed["tunefleet sweep watch mine"]
    (report,) = (folder / "outputs" / "sweeps").glob("mine-*/report.html")
    assert "<html" in report.read_text()[:200]


def _arguments(line: str) -> list[str]:
    """What stands behind `python train.py`."""
    python, script, *arguments = shlex.split(line, comments=True)
    assert (python, script) == ("python", "train.py")
    return arguments


def _opened(arguments: list[str], capsys: Capture) -> str:
    """What a dry run prints."""
    return _printed(train_door.main, [*arguments, "--dry-run"], capsys)


def _printed(main: Callable[[list[str]], None], arguments: list[str], capsys: Capture) -> str:
    """What a command prints, which ends well; in this process, because another one takes a second to begin."""
    with pytest.raises(SystemExit) as ended:
        main(arguments)
    captured = capsys.readouterr()
    assert not ended.value.code, f"{arguments}: {captured.err}"
    return captured.out


def _expect_printed(block: Shown, printed: str) -> None:
    """Each line that the page shows is the beginning of one that is printed."""
    for line in block.printed:
        lines = [_comparable(one) for one in printed.splitlines()]
        assert any(one.startswith(_comparable(line)) for one in lines), f"{line}\nis not in\n{printed}"


def _comparable(line: str) -> str:
    """Without hashes, which every new setting changes, and widths of columns."""
    return " ".join(re.sub(r"-[0-9a-f]{8}\b", "-HASH", line).split())

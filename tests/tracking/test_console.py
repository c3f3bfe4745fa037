"""Does the log of rank 0 hold the plain lines, with a terminal and without one?"""

from __future__ import annotations

import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from pathlib import Path
from typing import Any

import pytest

from tunefleet.tracking import console as console_module
from tunefleet.tracking.console import Console


def record(step: int) -> dict[str, Any]:
    return {"step": step, "train/loss": 1.5, "train/lr": 1e-3, "train/tokens_per_second": 10.0}


def steps(log: Path) -> list[str]:
    return [line.split("  ")[1] for line in log.read_text().splitlines() if line.startswith("  step ")]


@pytest.mark.parametrize("terminal", [True, False])
def test_the_log_has_every_plain_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, terminal: bool) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    log = tmp_path / "logs" / "rank0.log"
    console = Console(True, total_steps=40, log=log)
    assert console.is_live == terminal
    console.print_line("before")
    for step in range(1, 41):
        console.log(record(step))
    console.finish({})
    console.print_table({"a": "b"})
    lines = log.read_text().splitlines()
    assert (lines[0], lines[-1]) == ("before", "a  b")
    assert steps(log) == [f"step {step}/40" for step in range(2, 41, 2)]


def test_steps_that_are_logged_now_and_then_have_lines_too(tmp_path: Path) -> None:
    """Every seventh of 1,000 steps: a line for each twentieth, at the next step that is logged."""
    log = tmp_path / "rank0.log"
    console = Console(True, total_steps=1000, log=log)
    for step in [*range(7, 1001, 7), 1000]:
        console.log(record(step))
    assert steps(log)[:3] == ["step 56/1000", "step 105/1000", "step 154/1000"]
    assert len(steps(log)) == 20
    assert steps(log)[-1] == "step 1000/1000"


def test_a_line_is_in_the_log_at_once_and_earlier_ones_stay(tmp_path: Path) -> None:
    log = tmp_path / "rank0.log"
    for line in ("first start", "second start"):
        Console(True, total_steps=4, log=log).print_line(line)
    assert log.read_text() == "first start\nsecond start\n"


def test_other_ranks_are_silent(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    console = Console(False, total_steps=4, log=tmp_path / "rank0.log")
    console.print_line("nothing")
    console.log(record(4))
    assert capsys.readouterr().out == ""
    assert not (tmp_path / "rank0.log").exists()


def test_a_reader_that_leaves_does_not_end_the_run(tmp_path: Path) -> None:
    """As with `python train.py | head -1`; rich ends the process with 1."""
    code = (
        "import sys, time, pathlib; from tunefleet.base import stdio; from tunefleet.tracking.console import Console\n"
        "stdio.protect()\n"
        "console = Console(True, 3, log=pathlib.Path(sys.argv[1]))\n"
        "for i in range(20): console.print_line(f'line {i}'); time.sleep(0.02)\n"
    )
    log = tmp_path / "rank0.log"
    piped = f'{sys.executable} -c "$0" {log} | head -n 1; exit ${{PIPESTATUS[0]}}'
    done = subprocess.run(["bash", "-c", piped, code], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "line 0\n"), done.stderr
    assert log.read_text().splitlines()[-1] == "line 19"


# What it looks like: at a terminal of 60 columns, through a pipe

_SHOWN = """
import sys
from tunefleet.tracking.console import Console
console = Console(True, 40)
console.print_table({"data": "a long text of many words, " * 6, "steps": "40"})
names = ("unseen_sentences", "unseen_values", "unseen_templates", "unseen_words")
for step in range(1, 41):
    console.log({"step": step, "epoch": step / 20, "train/loss": 2.0 + 2 * (step % 2), "train/lr": 1e-3,
        "train/gradient_norm": 1.25, "train/tokens_per_second": 12345.6, "train/seconds": 0.3,
        "train/data_seconds": 0.1,        "train/mfu": 0.123, "memory/peak_gib": 0.5})
    if step % 20 == 0:
        console.log({"step": step, **{f"evaluation/{name}/loss": 1.5 for name in names}, "final": step == 40})
console.finish({})
console.print_line("done")
"""
_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def at_a_terminal(columns: int, **variables: str) -> str:
    """What is written to a real terminal of so many columns."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR", "NO_COLOR")}
    environment |= {"TERM": "xterm-256color", **variables}
    process = subprocess.Popen([sys.executable, "-c", _SHOWN], stdout=theirs, stderr=theirs, env=environment)
    os.close(theirs)
    written = b""
    try:
        while part := os.read(ours, 65536):
            written += part
    except OSError:  # as Linux says that the other end is closed
        pass
    os.close(ours)
    assert process.wait(60) == 0, written.decode()
    return written.decode()


def lines(written: str) -> list[str]:
    return [line.rstrip() for line in re.split(r"[\r\n]+", _ESCAPE.sub("", written))]


@pytest.fixture(scope="module")
def drawn() -> str:
    return at_a_terminal(60, NO_COLOR="1")


def test_everything_fits_sixty_columns(drawn: str) -> None:
    assert max(len(line) for line in lines(drawn)) <= 60
    assert max(len(line) for line in lines(at_a_terminal(200))) > 60  # the control: there is more to show


def test_a_step_shows_its_numbers_and_the_loss_smoothed(drawn: str) -> None:
    screen = " ".join(lines(drawn))
    for part in (
        "40/40",
        "lr 1.00e-03",
        "norm 1.25",
        "12.3k tokens/s",
        "MFU 12.3%",
        "0.50 GiB",
        "epoch 2.00",
        "data 25%",
    ):
        assert part in screen
    assert "0s left" in screen
    (shown,) = set(re.findall(r"loss ([0-9.]+)  lr", drawn.replace("4.0000", "").split("40/40")[-1]))
    assert 2.0 < float(shown) < 4.0


def test_an_evaluation_is_a_line_of_a_table_and_the_last_one_is_left_to_the_report(drawn: str) -> None:
    printed = [line.split() for line in lines(drawn)]
    assert printed.count(["loss", "at", "step", "sentences", "values", "templates", "words"]) == 1
    assert printed.count(["20/40", *["1.5000"] * 4]) == 1
    assert ["40/40", *["1.5000"] * 4] not in printed


def test_without_colours_nothing_is_coloured_and_with_them_something_is(drawn: str) -> None:
    colours = re.compile(r"\x1b\[[0-9;]*3[0-8][0-9;]*m")
    assert not colours.search(drawn)
    assert colours.search(at_a_terminal(60))


@pytest.mark.parametrize("wishes", [{}, {"FORCE_COLOR": "1", "CLICOLOR_FORCE": "1"}], ids=["plain", "as a notebook"])
def test_a_pipe_gets_plain_lines_each_whole(wishes: dict[str, str]) -> None:
    """Notebooks ask every program below them for colours, and show a bar as hundreds of lines."""
    environment = {key: value for key, value in os.environ.items() if key not in ("COLUMNS", "FORCE_COLOR")} | wishes
    done = subprocess.run([sys.executable, "-c", _SHOWN], env=environment, capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout + done.stderr
    assert "\r" not in done.stdout
    progress = [line for line in done.stdout.splitlines() if line.startswith("  step ")]
    assert len(progress) == 20
    assert all(line.endswith(" left") for line in progress)
    assert done.stdout.splitlines()[-1] == "done"


def test_the_first_step_which_warms_up_is_left_out_of_the_pace(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten seconds for it, then one for each step; before the second one nothing else is known."""
    now = [100.0]
    monkeypatch.setattr(console_module.time, "perf_counter", lambda: now[0])
    console = Console(False, total_steps=101)
    for seconds, step, left in ((10, 1, 1000), (1, 2, 99), (1, 3, 98)):
        now[0] += seconds
        console.log(record(step))
        assert console.seconds_left(step) == left

"""Does an act go on where its output cannot be written, in silence or with one line that says so?"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

PROTECT = "from tunefleet.base import stdio; stdio.protect()\n"
ACT = """
import subprocess, sys
from pathlib import Path
for number in range(3000):
    print("line", number, flush=number % 1000 == 0)
    print("complaint", number, file=sys.stderr)
child = subprocess.run([sys.executable, "-ISc", "print('from below', flush=True)"])
Path("act").write_text(str(child.returncode))
"""
SHELL = {
    "a reader that leaves": "{} 2>errors | head -1 >output",
    "no reader": "{} 2>errors | true",
    "both into a reader that leaves": "{} 2>&1 | head -1 >output",
    "a full disk": "{} 2>errors >/dev/full",
    "complaints on a full disk": "{} 2>/dev/full >output",
    "all on a full disk": "{} >/dev/full 2>&1",
    "no stdout": "{} >&- 2>errors",
    "no stderr": "{} 2>&- >output",
    "nothing open": "{} <&- >&- 2>&-",
}


def run(folder: Path, how: str, act: str) -> int:
    """The exit code of a Python that does `act` in `folder`, in a shell with its output as `how` says."""
    (folder / "act.py").write_text(act)
    command = f"set -o pipefail; {SHELL[how].format(f'{sys.executable} -S act.py')}"
    package = str(Path(__file__).parents[2] / "src")
    return subprocess.run(["bash", "-c", command], cwd=folder, env={**os.environ, "PYTHONPATH": package}).returncode


def text(path: Path) -> str:
    return path.read_text() if path.exists() else ""


@pytest.mark.parametrize("how", SHELL)
def test_no_output_error_stops_an_act(tmp_path: Path, how: str) -> None:
    assert run(tmp_path, how, PROTECT + ACT) == 0
    assert text(tmp_path / "act") != ""  # its last line was reached
    own = [line for line in text(tmp_path / "errors").splitlines() if line.startswith("tunefleet:")]
    message = "tunefleet: standard output: No space left on device; output is missing there."
    assert own == [message] * (how == "a full disk")
    assert how == "a full disk" or "Error" not in text(tmp_path / "errors")  # there the process below has its own


@pytest.mark.parametrize("how", ["a reader that leaves", "a full disk", "complaints on a full disk"])
def test_control_without_protection_it_does(tmp_path: Path, how: str) -> None:
    assert run(tmp_path, how, ACT) != 0
    assert text(tmp_path / "act") == ""


def test_what_has_a_reader_arrives(tmp_path: Path) -> None:
    assert run(tmp_path, "no stderr", PROTECT + ACT) == 0
    lines = text(tmp_path / "output").splitlines()
    assert [line for line in lines if line != "from below"] == [f"line {number}" for number in range(3000)]
    assert len(lines) == 3001


def test_a_closed_stream_is_not_taken_by_the_next_file(tmp_path: Path) -> None:
    """What a library writes to descriptor 2 would land in the status file of a run."""
    act = "import os\nwith open('status', 'w') as file:\n    os.write(2, b'noise')\n    file.write('state')\n"
    assert run(tmp_path, "no stderr", PROTECT + act) == 0
    assert text(tmp_path / "status") == "state"
    run(tmp_path, "no stderr", act)
    assert "noise" in text(tmp_path / "status")  # control


def test_letters_that_the_terminal_lacks_are_escaped(tmp_path: Path) -> None:
    act = "import os\nprint('größe \\udcff')\nopen('act', 'w').close()\n"
    code = "import sys\n" + PROTECT + act
    (tmp_path / "act.py").write_text(code)
    package = str(Path(__file__).parents[2] / "src")
    environment = {**os.environ, "PYTHONPATH": package, "PYTHONIOENCODING": "ascii"}
    done = subprocess.run([sys.executable, "-S", "act.py"], cwd=tmp_path, env=environment, capture_output=True)
    assert (done.returncode, done.stdout) == (0, b"gr\\xf6\\xdfe \\udcff\n")


def test_what_only_shows_learns_that_nobody_looks(tmp_path: Path) -> None:
    act = "print('x', flush=True)\nopen('act', 'w').write(str(stdio.reader_left()))\n"
    assert run(tmp_path, "no reader", PROTECT + "import time; time.sleep(0.2)\n" + act) == 0
    assert text(tmp_path / "act") == "True"
    assert run(tmp_path, "no stderr", PROTECT + act) == 0
    assert text(tmp_path / "act") == "False"

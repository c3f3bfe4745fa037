"""Does the board begin and end in a line, on loopback alone, without what it does not need?"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import psutil
import pytest

from tests.board.boards import going, made, served, started, wait_until
from tunefleet.base.errors import ConfigError
from tunefleet.board import board_acts
from tunefleet.board.board_acts import Acts
from tunefleet.board.board_server import BoardOptions, serve
from tunefleet.doors.board import board

MODULES = "('starlette', 'uvicorn', 'torch', 'hydra', 'plotly')"


def typed(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-m", "tunefleet", *arguments], capture_output=True, text=True, timeout=120)


def python(program: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=120)


def expect_refused(done: subprocess.CompletedProcess[str], *parts: str) -> None:
    """One line, the exit code of a user's mistake."""
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1), done.stderr
    assert all(part in done.stderr for part in parts), done.stderr


def listening(pid: int) -> list[tuple[str, int]]:
    """The addresses at which a process really listens, as the kernel has them."""
    sockets = psutil.Process(pid).net_connections("inet")
    return [(used.laddr[0], used.laddr[1]) for used in sockets if used.status == "LISTEN"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_ends_cleanly(tmp_path: Path, number: int) -> None:
    made(tmp_path, "run")
    shown = started(tmp_path)
    assert shown.line.startswith(f"board of {tmp_path}: http://127.0.0.1:")
    assert shown.ask("/api/runs").json["total"] == 1
    assert listening(shown.process.pid) == [("127.0.0.1", shown.port)]
    maps = Path(f"/proc/{shown.process.pid}/maps").read_text()
    assert "libtorch" not in maps
    assert shown.end(number) == (0, "the board has ended\n")


def test_a_port_that_is_taken_is_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        expect_refused(typed("board", str(tmp_path), "--port", port), f"--port {port}: is taken", "--port 0")
    with pytest.raises(ConfigError, match="--port: 70000 is not allowed"):
        serve(tmp_path, BoardOptions(port=70000))


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.0.2.1"])
def test_other_machines_are_let_in_only_when_asked(tmp_path: Path, host: str) -> None:
    with pytest.raises(ConfigError, match=r"reach the board.*cancels and starts some as you.*ssh -L") as error:
        serve(tmp_path, BoardOptions(host=host, port=0))
    assert len(error.value.complaints) == 1


def test_exposed_it_says_its_machines_name_and_read_only_it_does_nothing(tmp_path: Path) -> None:
    made(tmp_path, "run")
    with served(tmp_path, "--host", "0.0.0.0", "--expose", "--read-only") as shown:
        assert f"http://{socket.gethostname()}:{shown.port}/#token=" in shown.line
        assert listening(shown.process.pid) == [("0.0.0.0", shown.port)]  # control: it is seen where it does
        assert shown.ask("/", Host=f"{socket.gethostname()}:{shown.port}").status == 200
        assert shown.ask("/", Host="evil.example").status == 421
        assert shown.ask("/api/runs/run").json["may_act"] is False
        answer = shown.ask("/api/runs/run/cancel", "POST", {})
        assert (answer.status, "only shows" in answer.json["error"]) == (403, True)
        assert shown.ask("/api/acts").json == {"rows": []}


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="no folder of runs"):
        board(tmp_path / "outputs", "127.0.0.1", 0, exposed=False, read_only=False)


def test_a_library_that_is_not_there_is_one_line() -> None:
    program = "import sys; sys.modules['{}'] = None; from tunefleet.doors.cli import main; main(['board', '.'])"
    expect_refused(python(program.format("starlette")), "needs starlette", "pip install starlette uvicorn")
    expect_refused(python(program.format("uvicorn")), "needs uvicorn")


def test_help_imports_no_library() -> None:
    program = (
        "import sys; from tunefleet.doors.cli import main\ntry: main(['board', '--help'])\nexcept SystemExit: pass"
    )
    done = python(f"{program}\nprint([name for name in {MODULES} if name in sys.modules])")
    assert "--read-only" in done.stdout
    assert done.stdout.splitlines()[-1] == "[]"


# Acts


@pytest.fixture
def acts(tmp_path: Path) -> Iterator[Acts]:
    acts = Acts(tmp_path)
    yield acts
    acts.close()


def test_a_command_is_done_once_at_a_time(tmp_path: Path, acts: Acts) -> None:
    process = going(tmp_path, "run")
    try:
        follow = ["logs", str(tmp_path / "run"), "-f"]
        act = acts.start("run", follow)
        assert act.exit_code is None
        with pytest.raises(ConfigError, match="being done already"):
            acts.start("run", follow)
        assert [act.command for act in acts.unfinished()] == [f"tunefleet {' '.join(follow)}"]
        wait_until(lambda: "step 9 of" in acts.acts()[0].output, "what it prints")
    finally:
        process.terminate()
        process.wait()
    wait_until(lambda: not acts.unfinished(), "the end of the command")
    assert acts.acts()[0].exit_code == 0


def test_a_command_that_fails_says_why(tmp_path: Path, acts: Acts) -> None:
    paths = made(tmp_path, "run")
    paths.plan.write_text("{}")
    acts.start("run", board_acts.of_run("resume", paths.root, {}))
    wait_until(lambda: not acts.unfinished(), "the end of the command")
    assert acts.acts()[0].exit_code == 2
    assert str(paths.root) in acts.acts()[0].output


FOLDER = Path("/outputs/sweeps/lr")


@pytest.mark.parametrize(
    ("kind", "arguments", "command"),
    [
        ("stop", {}, ["stop", "/outputs/sweeps/lr"]),
        ("stop", {"trial": 3}, ["stop", "/outputs/sweeps/lr", "3"]),
        ("retry", {"trial": 3}, ["retry", "/outputs/sweeps/lr", "3"]),
        ("resume", {"trial": 3}, ["resume", "/outputs/sweeps/lr", "3"]),
        (
            "clone",
            {"trial": 3, "settings": ["optimizer.lr=1e-4", "+a.b=c d"], "warm": True},
            ["clone", "/outputs/sweeps/lr", "3", "optimizer.lr=1e-4", "+a.b=c d", "--warm"],
        ),
        (
            "extend",
            {"trials": 9, "gpu_hours": 1.5, "in_flight": 2, "settings": ["seed=1,2"]},
            ["extend", "/outputs/sweeps/lr", "seed=1,2", "--trials=9", "--gpu-hours=1.5", "--in-flight=2"],
        ),
    ],
)
def test_acts_are_commands(kind: str, arguments: dict[str, object], command: Sequence[str]) -> None:
    assert board_acts.of_sweep(kind, FOLDER, arguments) == ["sweep", *command]


@pytest.mark.parametrize(
    ("kind", "arguments"),
    [
        ("advance", {}),
        ("stop", {"trial": "3; rm"}),
        ("stop", {"trial": True}),
        ("stop", {"trial": -1}),
        ("stop", {"trial": 3, "force": True}),
        ("resume", {}),
        ("clone", {"trial": 3, "settings": ["--config-dir=/tmp"]}),
        ("clone", {"trial": 3, "settings": ["-m"]}),
        ("clone", {"trial": 3, "settings": ["a=1\n--warm"]}),
        ("clone", {"trial": 3, "settings": "a=1"}),
        ("clone", {"trial": 3, "settings": [1]}),
        ("clone", {"trial": 3, "warm": "yes"}),
        ("extend", {"trials": 1.5}),
        ("extend", {"trials": 0}),
        ("extend", {"gpu_hours": float("inf")}),
        ("extend", {"gpu_hours": "1"}),
    ],
)
def test_anything_else_is_refused(kind: str, arguments: dict[str, object]) -> None:
    with pytest.raises(ConfigError):
        board_acts.of_sweep(kind, FOLDER, arguments)
    with pytest.raises(ConfigError):
        board_acts.of_run("rm", FOLDER, {})

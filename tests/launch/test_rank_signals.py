"""Does a rank leave at a signal where there is nothing to save, at a second one always, and never at an echo?"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

RANK = """
import os, signal, sys, time
from tunefleet.launch import rank_signals
rank_signals.listen(lambda number, reason: (print(signal.Signals(number).name, reason, flush=True), os._exit(130)))
HOLD
print("ready", flush=True)
WAIT
"""
IN_PYTHON = "[time.sleep(0.05) for _ in range(1200)]"


def rank(hold: str = "", wait: str = IN_PYTHON) -> subprocess.Popen[str]:
    """A process that listens."""
    code = RANK.replace("HOLD", hold).replace("WAIT", wait)
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout
    assert process.stdout.readline() == "ready\n"
    return process


def ended(process: subprocess.Popen[str]) -> str:
    printed, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    return printed


HOLD = "rank_signals.hold()"
ALL = [signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2]


@pytest.mark.parametrize("number", ALL)
def test_before_training_the_first_ends_it(number: signal.Signals) -> None:
    process = rank()
    process.send_signal(number)
    assert ended(process) == f"{number.name} before the first step\n"


def test_a_main_thread_that_waits_in_c_is_no_obstacle(tmp_path: Path) -> None:
    """As in a collective: Python's own handler would come to its turn when that returns."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    blocked = f"import ctypes; ctypes.CDLL(None).sem_wait(ctypes.create_string_buffer(64)); open({str(fifo)!r})"
    process = rank(wait=f"signal.siginterrupt(signal.SIGTERM, False); {blocked}")
    process.send_signal(signal.SIGTERM)
    assert ended(process) == "SIGTERM before the first step\n"


def test_in_training_the_second_of_a_kind_ends_it_and_no_echo() -> None:
    process = rank(HOLD)
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        process.send_signal(number)
        time.sleep(0.3)
    time.sleep(1.6)
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert ended(process) == "SIGTERM asked twice\n"


@pytest.mark.parametrize("earlier", [True, False])
def test_when_all_is_saved_any_ends_it_also_one_from_before(earlier: bool) -> None:
    process = rank(
        HOLD, "time.sleep(1); rank_signals.release('all is saved'); print('released', flush=True); " + IN_PYTHON
    )
    assert process.stdout
    if earlier:
        process.send_signal(signal.SIGUSR1)
    else:
        assert process.stdout.readline() == "released\n"
        process.send_signal(signal.SIGUSR1)
    assert ended(process) == "SIGUSR1 all is saved\n"

"""Is pass@k unbiased, and does a program that a model wrote pass only where it comes to its end, within its limits?"""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from itertools import combinations
from pathlib import Path

import pytest

from tunefleet.evaluation.metrics.pass_at_k import pass_at_k
from tunefleet.evaluation.sandbox import SandboxLimits, isolation, passes

QUICK = SandboxLimits(seconds=8)


def test_it_is_the_share_of_all_choices_of_k_with_one_that_passes() -> None:
    passed = [[True, False, False, True, False], [False] * 5, [True] * 5, [True, False, False, False, False]]
    for k in range(1, 6):
        shares = [sum(map(any, combinations(answers, k))) / len(list(combinations(answers, k))) for answers in passed]
        assert pass_at_k(passed, k) == pytest.approx(sum(shares) / 4)
    with pytest.raises(ValueError, match="at least 6 answers"):
        pass_at_k(passed, 6)


@pytest.mark.parametrize(
    ("program", "expected"),
    [
        ("def f(x):\n    return x + 1\nassert f(1) == 2", True),
        ("def f(x):\n    return x\nassert f(1) == 2", False),
        ("def f(", False),
        ("import sys\nsys.exit(0)\nassert False", False),
        ("import os\nos._exit(0)\nassert False", False),
        ("import os\nassert set(os.environ) <= {'LC_CTYPE', 'PWD', 'SHLVL', '_'}, os.environ", True),
        ("import os\nassert os.listdir('.') == []", True),
        ("x = bytearray(3 << 30)", False),
        ("open('big', 'wb').write(b'x' * (32 << 20))", False),
    ],
)
def test_only_what_comes_to_its_end_passes(program: str, expected: bool) -> None:
    assert passes(program, QUICK) is expected


def test_an_endless_program_is_ended(tmp_path: Path) -> None:
    began = time.monotonic()
    assert not passes("import time\ntime.sleep(600)", SandboxLimits(seconds=2))
    assert time.monotonic() - began < 60


@pytest.mark.skipif(not isolation(), reason="unshare is not allowed here")
def test_there_is_no_network() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = f"import socket\nsocket.create_connection(('127.0.0.1', {server.getsockname()[1]}), timeout=5)"
        assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0  # control
        assert not passes(program, QUICK)

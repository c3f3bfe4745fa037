"""Is a filter over a setting that the space does not hold asked before a sweep begins?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("filters", "lines"),
    [
        ("optimizer.lr * train.max_steps < 0.1", {"3e-4": True, "1e-3": True, "3e-3": False}),
        ("train.max_steps < 9", {"leaves no point of the space": True}),
    ],
)
def test_a_filter_over_a_composed_setting(filters: str, lines: dict[str, bool], tmp_path: Path) -> None:
    overrides = [
        "sweeps=lr_grid",
        "optimizer.lr=3e-4,1e-3,3e-3",
        f'sweep.filter=["{filters}"]',
        f"output_dir={tmp_path}",
        "--dry-run",
    ]
    command = [sys.executable, str(ROOT / "train.py"), "-m", *overrides]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path)
    table = [line.split()[0] for line in done.stdout.splitlines() if line.strip()]
    for text, expected in lines.items():
        assert (text in table or text in done.stderr) is expected, done.stdout + done.stderr

"""Do the commands of docs/start.md do, one after another, what the page says?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from documentation.typed_commands import ROOT, blocks

from tests.stories.commands import environment

PAGE = ROOT / "docs" / "start.md"


@pytest.mark.exhaustive
def test_the_page_is_typed_from_its_rows_to_its_grid(tmp_path: Path) -> None:
    (tmp_path / "train.py").symlink_to(ROOT / "train.py")
    scripts = ["\n".join(block.lines) for block in blocks([PAGE]) if block.language == "sh"]
    needing, *rest = scripts
    assert needing.startswith("# needs the network")
    folder = f"{Path(sys.executable).parent}:{environment(tmp_path)['PATH']}"
    printed = ""
    for script in rest:
        command = ["bash", "-e", "-c", script]
        done = subprocess.run(
            command,
            cwd=tmp_path,
            env={**environment(tmp_path), "PATH": folder},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        assert done.returncode == 0, f"{script}\n{done.stdout[-3000:]}"
        printed += done.stdout
    for line in ("⟦ alarm set for 0:10</s>⟧", "fits:", "outputs/alarms/report.html", "\nalarm set for 7:31\n"):
        assert line in printed
    assert "optimizer.lr=0.003  finished" in printed
    assert "is the best of 2" in printed
    assert (tmp_path / "outputs" / "alarms" / "loss.png").is_file()

"""Two real `tunefleet export` of two runs into one folder at the same moment: is it one of them, whole?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.stories.commands import SMALL, environment, train, tunefleet
from tunefleet.base import delivery
from tunefleet.base.errors import DONE, USER_ERROR

ROUNDS = 3


@pytest.mark.exhaustive
def test_two_exports_into_one_folder(tmp_path: Path) -> None:
    names = ("one", "two")
    for seed, name in enumerate(names):
        train(tmp_path, *SMALL, "train.max_steps=2", "checkpoint.export=false", f"name={name}", f"seed={seed}")
    command = [str(Path(sys.executable).with_name("tunefleet")), "export"]
    target, outcomes = tmp_path / "shared", set()
    for _ in range(ROUNDS):
        processes = [
            subprocess.Popen(
                [*command, name, "--to", "shared"],
                cwd=tmp_path,
                env=environment(tmp_path),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            for name in names
        ]
        printed = {name: process.communicate()[0] for name, process in zip(names, processes, strict=True)}
        codes = {name: process.returncode for name, process in zip(names, processes, strict=True)}
        outcomes.add(tuple(sorted(codes.values())))
        assert DONE in codes.values(), printed
        for name, code in codes.items():
            assert code in (DONE, USER_ERROR), printed
            assert "Traceback" not in printed[name]
            assert code == DONE or "shared: is being written by pid " in printed[name]
        record = delivery.record(target)
        assert record
        assert record["complete"]
        assert codes[str(record["run"])] == DONE
        assert delivery.changes(target) == []
        assert not [path.name for path in tmp_path.iterdir() if path.name.startswith(".shared")]
    assert (DONE, USER_ERROR) in outcomes, "no two of them met"
    assert "logits" in tunefleet(tmp_path, "export", "one", "--to", "shared")

"""Is data that no job could read refused when it is submitted, before anything is sent or written?"""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tests.doors.test_submit import fake, plan
from tests.launch.fakes import FakeSlurm
from tests.plans import OPT
from tunefleet.base import status
from tunefleet.base.errors import DONE, DataError
from tunefleet.base.status import State, Status
from tunefleet.doors import look_ahead, submit
from tunefleet.plan import Plan
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import BUILT_IN_TOKENIZERS

__all__ = ["fake"]
GOOD = '{"prompt": "a", "completion": "b c"}\n'
LOOK = look_ahead.expect_readable  # what the fixture takes away


def reading(folder: Path, name: str = "run", tokenizer: str = str(BUILT_IN_TOKENIZERS["demo"]), **data: Any) -> Plan:
    """A job that reads the file rows.jsonl, whose tokenizer is real."""
    made = plan(folder, name)
    sources = replace(
        made.sources, tokenizer=tokenizer, architecture=Architecture.from_json({**OPT, "vocab_size": 50_000})
    )
    config = replace(made.config, data=replace(made.config.data, **data))
    return replace(made, sources=sources, config=config)


def rows(folder: Path, name: str, *lines: str) -> str:
    path = folder / name
    path.write_text("".join(lines))
    return str(path)


def test_nothing_is_sent_or_left_behind(fake: FakeSlurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a process of its own, as it is typed; good data of the same kind are submitted."""
    monkeypatch.setattr(look_ahead, "expect_readable", LOOK)
    bad = rows(tmp_path, "bad.jsonl", GOOD, "{\n")
    with pytest.raises(DataError, match=r"bad\.jsonl:2: broken JSON") as caught:
        submit.submit([reading(tmp_path, "a"), reading(tmp_path, "b", path=bad)])
    assert caught.value.exit_code == 2
    assert len(caught.value.complaints) == 1
    assert fake.calls("sbatch") == []
    assert not (tmp_path / "outputs").exists()
    assert submit.submit([reading(tmp_path, "a")]) == DONE
    assert len(fake.calls("sbatch")) == 1


def test_control_without_the_look_they_are_sent(fake: FakeSlurm, tmp_path: Path) -> None:
    assert submit.submit([reading(tmp_path, "b", path=rows(tmp_path, "bad.jsonl", GOOD, "{\n"))]) == DONE
    assert len(fake.calls("sbatch")) == 1


def test_one_look_for_all_that_read_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    monkeypatch.setattr(look_ahead, "first_row_complaints", lambda plans: looks.append(len(plans)))
    plans = [reading(tmp_path, name) for name in "abc"]
    look_ahead.expect_readable([*plans, reading(tmp_path, "d", max_rows=1)])
    assert looks == [2]
    for run, state in zip(plans, (State.FINISHED, State.QUEUED, State.RUNNING), strict=True):
        status.write(run.paths.status, Status(state))
    look_ahead.expect_readable(plans)
    assert looks == [2]
    status.write(plans[0].paths.status, Status(State.FAILED))
    look_ahead.expect_readable(plans)
    assert looks == [2, 1]


def test_a_look_that_is_impossible_refuses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A node for logins may have no room for transformers."""
    ended = subprocess.CompletedProcess[str]([], 1, stderr="Traceback\nImportError: no room\n")
    monkeypatch.setattr(look_ahead, "check_in_process", lambda folders: ended)
    look_ahead.expect_readable([reading(tmp_path)])
    assert "note: the first rows were not looked at: ImportError: no room (exit code 1)." in capsys.readouterr().out


def test_who_submits_imports_nothing_heavy() -> None:
    heavy = ["torch", "transformers", "datasets", "pyarrow"]
    ask = f"import sys, tunefleet.doors.submit; print([name for name in {json.dumps(heavy)} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", ask], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

"""Does a job train on what its files held when it was submitted, or not at all?"""

from __future__ import annotations

import json

from tests.cluster.commands import Desk

SHORT = ["model=opt-tiny", "data.tokenizer=demo", "data.validation_rows=2", "train.max_steps=1"]
SHORT += ["evaluation.generate_rows=0", "train.sequence_length=32", "train.micro_batch=1"]


def _rows(answer: str) -> str:
    return "".join(json.dumps({"prompt": f"{number} plus one", "completion": answer}) + "\n" for number in range(12))


def test_rows_that_are_edited_in_the_queue_end_the_job_and_put_back_train_it(desk: Desk) -> None:
    path = desk.folder / "rows.jsonl"
    path.write_text(_rows("right"))
    desk.train("data=jsonl", f"data.path={path}", *SHORT, "launch.extra={begin: now+1hour}")
    path.write_text(_rows("wrong"))
    desk.cluster.release(desk.job)
    ended = desk.until("failed", seconds=120)
    assert ended["cause"] == "user error"
    assert f"data {path}: SHA-256 " in ended["reason"]
    assert (ended["step"], ended["restarts"]) == (0, 0)
    assert not (desk.run / "checkpoints").exists()
    path.write_text(_rows("right"))
    desk.tunefleet("resume", desk.run.name)
    desk.cluster.release(desk.job)
    desk.until("finished", seconds=240)

"""A row that makes the loss NaN: is it named, is nothing lost, and does the run go on without it where it may?"""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.faults.poisoned_runs import POISONED_ROW
from tests.ranks import run_in_ranks
from tunefleet.doors import cli


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the runs are."""
    return tmp_path_factory.mktemp("poisoned")


@pytest.fixture(scope="module")
def ranks(folder: Path) -> list[dict[str, Any]]:
    """What each of two ranks saw of each run."""
    ranks = run_in_ranks("tests.faults.poisoned_runs:story", 2, folder, ["parallel=zero1", "train.micro_batch=1"])
    assert [rank["stop"]["error"] for rank in ranks] == [ranks[0]["stop"]["error"]] * 2
    return ranks


@pytest.fixture(scope="module")
def runs(ranks: list[dict[str, Any]]) -> dict[str, Any]:
    """What rank 0 saw."""
    return ranks[0]


@pytest.fixture(scope="module")
def finished(folder: Path, runs: dict[str, Any]) -> dict[str, Any]:
    """The halves, which one rank has trained on."""
    assert runs["half-skip"]["step"] == 4
    [rank] = run_in_ranks("tests.faults.poisoned_runs:finished", 1, folder, ["parallel=zero1", "train.micro_batch=4"])
    return dict(rank)


def losses(run: dict[str, Any]) -> dict[int, float | None]:
    """By step; None where the update was refused."""
    return {record["step"]: record.get("train/loss") for record in run["metrics"] if "train/lr" in record}


def poisoned_rows(record: dict[str, Any]) -> list[str]:
    """The rows of the micro-batches whose loss is not finite."""
    bad = [part for part in record["micro_batches"] if "nan" in part["losses"].values()]
    return [row for part in bad for sequence in part["sequences"] for row in sequence["rows"]]


def test_it_stops_before_the_update_with_its_rows_and_its_checkpoint(runs: dict[str, Any], folder: Path) -> None:
    run = runs["stop"]
    assert (run["code"], run["step"]) == (3, 2)
    assert run["error"].startswith("non-finite loss: the loss became nan at step 3, and the weights are as they were")
    [record] = run["batches"]
    assert (record["step"], record["act"], record["loss"]) == (3, "stop", "nan")
    assert poisoned_rows(record) == [f"{folder}/rows.jsonl:{POISONED_ROW}"]
    assert sum(len(part["sequences"]) for part in record["micro_batches"]) == 4


def test_it_leaves_the_step_out_and_counts_it(runs: dict[str, Any]) -> None:
    run = runs["skip"]
    assert (run["code"], run["step"], run["refused"]) == (0, 5, 1)
    assert [step for step, loss in losses(run).items() if loss is None] == [3]
    assert [record["train/refused"] for record in run["metrics"] if "train/refused" in record] == [
        "the loss became nan"
    ]


def test_it_goes_back_and_takes_other_sequences(runs: dict[str, Any]) -> None:
    run = runs["rewind"]
    assert (run["code"], run["step"]) == (0, 5)
    assert list(losses(run)) == [1, 2, 3, 4, 5]
    assert None not in losses(run).values()
    assert run["refused"] == len(run["batches"]) > 0
    assert {record["act"] for record in run["batches"]} == {"rewind"}
    assert all(f":{POISONED_ROW}" in poisoned_rows(record)[0] for record in run["batches"])
    assert losses(run)[2] == losses(runs["skip"])[2]
    assert losses(run)[3] == pytest.approx(losses(runs["skip"])[4], rel=0.1)  # the same sequences, one step earlier


@pytest.mark.parametrize("policy", ["skip", "rewind"])
def test_another_number_of_ranks_resumes_the_same_trajectory(
    runs: dict[str, Any], finished: dict[str, Any], policy: str
) -> None:
    whole, resumed = losses(runs[policy]), losses(finished[policy])
    assert whole.keys() == resumed.keys()
    assert resumed[5] == pytest.approx(whole[5], rel=1e-5)
    assert resumed[5] != pytest.approx(losses(runs["rewind" if policy == "skip" else "skip"])[5], rel=1e-3)
    assert finished[policy]["refused"] == runs[policy]["refused"]


Rows = dict[tuple[int, int], list[int]]
"""The rows of each sequence, by rank and micro-batch."""


def line_of(row: str) -> int:
    return int(row.rpartition(":")[2])


def listed(run: Path, step: int, capsys: pytest.CaptureFixture[str]) -> tuple[Rows, str]:
    """What `tunefleet data batch` says, and its note."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["data", "batch", str(run), "--step", str(step), "--json"])
    output = capsys.readouterr()
    assert not ended.value.code, output.err
    record = json.loads(output.out)
    rows = {
        (rank, part["micro_batch"]): [line_of(row) for sequence in part["sequences"] for row in sequence["rows"]]
        for part in record["micro_batches"]
        for rank in part["ranks"]
    }
    return rows, record["note"]


def taken(ranks: list[dict[str, Any]], run: str, call: int, model: Path) -> Rows:
    """The rows whose text the engine of each rank got: row r says "count to" r + 1."""
    words = AutoTokenizer.from_pretrained(model)
    return {
        (rank, number): [int(re.findall(r"count to (\d+)", words.decode(tokens))[0]) - 1 for tokens in micro_batch]
        for rank, report in enumerate(ranks)
        for number, micro_batch in enumerate(report[run]["taken"][call])
    }


def test_the_rows_of_a_step_are_those_that_its_ranks_took(
    ranks: list[dict[str, Any]], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Also of one that was left out, and of those behind one that the run went back before."""
    for step in range(1, 6):
        rows, note = listed(folder / "skip", step, capsys)
        assert rows == taken(ranks, "skip", step - 1, folder / "model")
        assert note == ("its update was left out: the loss became nan" if step == 3 else "")
    assert len(ranks[0]["rewind"]["taken"]) > 5  # it went back, to step 0 each time
    for step in range(1, 6):
        rows, note = listed(folder / "rewind", step, capsys)
        assert rows == taken(ranks, "rewind", step - 6, folder / "model")
        assert (len(rows), note) == (4, "")
    refused, note = listed(folder / "stop", 3, capsys)
    assert POISONED_ROW in {row for rows in refused.values() for row in rows}
    assert note == "not trained yet: the run is at step 2"


def test_control_a_run_that_forgot_where_it_went_back_lists_other_rows(
    ranks: list[dict[str, Any]], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = shutil.copytree(folder / "rewind", tmp_path / "rewind")
    (run / "order.json").unlink()
    rows, note = listed(run, 5, capsys)
    assert rows != taken(ranks, "rewind", -1, folder / "model")
    assert note == "order.json does not say who took this step: split as plan.json says"


def test_steps_before_another_number_of_ranks_are_those_of_the_first_ones(
    ranks: list[dict[str, Any]], finished: dict[str, Any], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("half-skip", "half-rewind"):
        for step in range(1, 5):
            rows, _ = listed(folder / name, step, capsys)
            assert rows == taken(ranks, name, step - 5, folder / "model")
        rows, note = listed(folder / name, 5, capsys)
        assert rows == taken([{name: finished[name.removeprefix("half-")]}], name, -1, folder / "model")
        assert ([len(row) for row in rows.values()], note) == ([4], "")


def test_the_end_of_a_run_counts_what_was_left_out(runs: dict[str, Any], folder: Path) -> None:
    last_lines = (folder / "skip" / "logs" / "rank0.log").read_text()
    assert "\n1 update left out: 1 NaN; rows in batches.jsonl\n" in last_lines
    assert runs["stop"]["refused"] == 0

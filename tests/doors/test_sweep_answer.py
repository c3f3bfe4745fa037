"""Does a person get a sweep's answer: the table, and the best of it?"""

from __future__ import annotations

import csv
import io
import json
import resource
import subprocess
import sys
from pathlib import Path

import pytest
from benchmarks.leaderboard import write_sweep

from tests.sweep.journals import SweepWriter, trained
from tunefleet.base import fitting
from tunefleet.base.errors import DONE, FAILED, USER_ERROR, RunError
from tunefleet.base.status import State
from tunefleet.doors import cli, sweep_best, sweep_top
from tunefleet.doors.sweep_top import TopOptions
from tunefleet.sweep.find_sweep import named

Capture = pytest.CaptureFixture[str]
OUTPUTS = Path("outputs")


@pytest.fixture
def sweep(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> SweepWriter:
    """Two finished trials of two seeds, one that failed and one that runs."""
    monkeypatch.chdir(tmp_path)
    writer = SweepWriter(tmp_path / "outputs")
    writer.finished({"optimizer.lr": "1e-3"}, 0.5, spreads=[0.4], seeds=[1, 2], words=["data=demo"])
    writer.finished({"optimizer.lr": "1e-4"}, 0.3, spreads=[0.01], seeds=[1, 2], words=["data=demo", "name=mine"])
    writer.ended(writer.drawn({"optimizer.lr": "9"}), "failed", "the loss became NaN")
    running = writer.drawn({"optimizer.lr": "1e-5"})
    writer.started(running)
    trained(writer.run_dir(running), 10, 0.7, State.QUEUED, restarts=1)
    return writer


def shown(capsys: Capture, **options: object) -> list[str]:
    """The lines of `top`."""
    sweep_top.top(named("lr", OUTPUTS), TopOptions(**options))  # type: ignore[arg-type]
    return capsys.readouterr().out.splitlines()


def test_the_table_has_a_line_for_each_trial_the_best_first(sweep: SweepWriter, capsys: Capture) -> None:
    headline, head, *lines = shown(capsys)
    assert headline.startswith("lr-1a2b3c4d: 2 finished, 1 running, 1 failed; ")
    assert headline.endswith("by validation/loss (min)")
    assert head.split()[:5] == ["rank", "trial", "state", "validation/loss", "lr"]
    assert [line.split()[:5] for line in lines] == [
        ["1", "2", "finished", "0.3000±0.01", "1e-4"],
        ["2", "1", "finished", "0.5000±0.4", "1e-3"],
        ["-", "4", "running", "0.7000", "1e-5"],
        ["-", "3", "failed", "-", "9"],
    ]
    assert lines[3].endswith("the loss became NaN")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_table_fits_the_terminal(
    sweep: SweepWriter, capsys: Capture, monkeypatch: pytest.MonkeyPatch, width: int
) -> None:
    monkeypatch.setattr(fitting, "terminal_width", lambda: width)
    lines = shown(capsys)[1:]
    assert max(map(len, lines)) <= width
    assert lines[1].split()[:4] == ["1", "2", "finished", "0.3000±0.01"]


def test_columns_sort_limit_and_all(sweep: SweepWriter, capsys: Capture) -> None:
    assert shown(capsys, columns=("trial", "lr"), sort="lr", limit=2)[1:] == [
        "trial  lr",
        "4      1e-5",
        "2      1e-4",
        "2 of 4 trials; --all shows them all",
    ]
    assert len(shown(capsys, every_trial=True, limit=2)) == 6


def test_json_and_csv_hold_every_trial_and_every_column(sweep: SweepWriter, capsys: Capture) -> None:
    records = json.loads("\n".join(shown(capsys, json=True)))
    rows = list(csv.DictReader(io.StringIO("\n".join(shown(capsys, csv=True)))))
    assert [record["trial"] for record in records] == [int(row["trial"]) for row in rows] == [2, 1, 4, 3]
    assert list(records[0]) == list(rows[0])
    assert records[0]["validation/loss_spread"] == 0.01
    assert records[0]["run"] == "run-2-seed-1 run-2-seed-2"
    assert (records[2]["restarts"], records[2]["steps"], records[2]["optimizer.lr"]) == (1, 10, "1e-5")


def test_the_best_is_told_with_its_commands(sweep: SweepWriter, capsys: Capture) -> None:
    assert sweep_best.best(named("lr-1a2b3c4d", OUTPUTS)) == DONE
    card = dict(line.split("  ", 1) for line in capsys.readouterr().out.splitlines())
    card = {name: text.strip() for name, text in card.items()}
    assert card["sweep"] == "lr-1a2b3c4d: trial 2 is the best of 4"
    assert card["validation/loss"] == "0.3000±0.01, mean ± standard deviation of 2 seeds"
    assert card["differs"] == "optimizer.lr=1e-4"
    assert card["runs"] == "outputs/run-2-seed-1 outputs/run-2-seed-2"
    assert card["reproduce"] == "tunefleet reproduce outputs/run-2-seed-1"
    assert card["the whole command"] == "python train.py data=demo name=mine optimizer.lr=1e-4 seed=1"
    assert card["train longer"] == (
        "tunefleet export outputs/run-2-seed-1 && "
        "python train.py data=demo optimizer.lr=1e-4 seed=1 train.start_from=outputs/run-2-seed-1 train.max_steps=30"
    )
    assert card["chat"] == "tunefleet chat outputs/run-2-seed-1"


def test_where_nothing_has_finished_there_is_no_best(sweep: SweepWriter, capsys: Capture) -> None:
    other = SweepWriter(sweep.outputs, "other-1")
    other.drawn({})
    assert sweep_best.best(named("other", OUTPUTS)) == FAILED
    assert capsys.readouterr().out.startswith("other-1: no trial has finished.")


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nothing", "nothing: no sweep of that name in outputs/sweeps. Known: lr-1a2b3c4d, lr-5e6f."),
        ("lr", "lr: means 2 sweeps: lr-1a2b3c4d, lr-5e6f. Say more of the name."),
        ("", ": no sweep of that name in outputs/sweeps."),
    ],
)
def test_a_name_that_means_no_sweep_or_two(sweep: SweepWriter, name: str, message: str) -> None:
    SweepWriter(sweep.outputs, "lr-5e6f").drawn({})
    with pytest.raises(RunError) as error:
        named(name, OUTPUTS)
    assert str(error.value).startswith(message)


def test_two_thousand_trials_take_less_than_a_fifth_of_what_ten_thousand_may(tmp_path: Path, capsys: Capture) -> None:
    """`python -m benchmarks.leaderboard` shows that 10,000 take under 2 s of CPU."""
    write_sweep(tmp_path, 2000)
    before = resource.getrusage(resource.RUSAGE_SELF)
    sweep_top.top(named("synthetic", tmp_path), TopOptions())
    after = resource.getrusage(resource.RUSAGE_SELF)
    assert capsys.readouterr().out.endswith("20 of 2,000 trials; --all shows them all\n")
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 2 / 5 + 0.4  # a busy machine


def types(*arguments: str) -> int:
    """`tunefleet sweep ARGUMENTS`; the exit code."""
    with pytest.raises(SystemExit) as ended:
        cli.main(["sweep", *arguments])
    return int(ended.value.code or 0)


def test_the_commands_are_typed(sweep: SweepWriter, capsys: Capture) -> None:
    assert types("top", "lr", "--columns", "trial,lr", "--sort=lr", "--limit", "1") == DONE
    assert capsys.readouterr().out.splitlines()[1:] == [
        "trial  lr",
        "4      1e-5",
        "1 of 4 trials; --all shows them all",
    ]
    assert types("report", "lr") == DONE
    assert sweep.paths.page.exists()
    assert types("best", "lr") == DONE
    assert "trial 2 is the best of 4" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "0"], "--limit: 0 is not allowed. Allowed: a whole number at least 1."),
        (["--json", "--csv"], "--json and --csv: only one at a time."),
        (["--sort", "loss"], "loss: no column of that name."),
    ],
)
def test_options_that_mean_nothing_are_one_line(
    sweep: SweepWriter, capsys: Capture, options: list[str], message: str
) -> None:
    assert types("top", "lr", *options) == USER_ERROR
    assert message in capsys.readouterr().err


IMPORTED = """
import sys
from tunefleet.doors import cli
try:
    cli.main(["sweep", *sys.argv[1:]])
except SystemExit:
    heavy = {"torch", "deepspeed", "transformers", "wandb", "optuna", "plotly", "hydra"} & set(sys.modules)
    print(*sorted(heavy), file=sys.stderr)
"""


@pytest.mark.parametrize(("command", "modules"), [("top", ""), ("best", "hydra"), ("report", "hydra plotly")])
def test_a_command_imports_what_it_needs(sweep: SweepWriter, command: str, modules: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED, command, "lr"], capture_output=True, text=True, timeout=60, check=True
    )
    assert done.stderr == f"{modules}\n"

"""Does each sweep that is shipped open with its card, look as it says, and run to an answer?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from omegaconf import OmegaConf

from tests.ranks import ROOT
from tunefleet.base.sweeps import SweepPaths
from tunefleet.doors import train
from tunefleet.sweep import leaderboard, sweep_record

SWEEPS = sorted((ROOT / "sweeps").glob("*.yaml"))
CARD = ("question", "command", "cost", "expected")
TRIALS = {
    "data_mix": "trials     3, drawn by grid",
    "lora_vs_full": "trials     3 x 2 seeds = 6 runs, drawn by grid",
    "lr_asha": "trials     27, drawn by random",
    "lr_grid": "trials     3 x 2 seeds = 6 runs, drawn by grid",
    "parallel_compare": "trials     4, drawn by grid",
    "scaling": "trials     4, drawn by grid",
}


def test_the_six_are_there() -> None:
    assert [path.stem for path in SWEEPS] == sorted(TRIALS)


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_its_comment_and_its_card_say_the_same(path: Path) -> None:
    comment = " ".join(line.removeprefix("#") for line in path.read_text().splitlines() if line.startswith("#"))
    values: Any = OmegaConf.load(path)
    card = [str(values.sweep[name]).split(",")[0].split(";")[0] for name in CARD]
    assert all(card)
    assert [text for text in card if text not in comment] == []
    assert values.sweep.command == f"python train.py -m sweeps={path.stem}"


@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_it_looks_as_it_says_and_begins_nothing(
    path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit) as ended:
        train.main(["-m", f"sweeps={path.stem}", "--dry-run", f"output_dir={tmp_path / 'outputs'}"])
    assert ended.value.code == 0
    assert TRIALS[path.stem] in capsys.readouterr().out
    assert not (tmp_path / "outputs").exists()


@pytest.mark.exhaustive
@pytest.mark.parametrize("path", SWEEPS, ids=lambda path: path.stem)
def test_it_runs_to_an_answer(path: Path, tmp_path: Path) -> None:
    short = ["train.max_steps=18", "data.max_rows=null", "evaluation.max_rows=16", "sweep.seeds=[]"]
    command = [sys.executable, str(ROOT / "train.py"), "-m", f"sweeps={path.stem}", f"output_dir={tmp_path}", *short]
    subprocess.run(command, check=True, cwd=ROOT)
    (folder,) = (tmp_path / "sweeps").iterdir()
    record = sweep_record.read(SweepPaths(folder))
    assert record.study.closed
    assert leaderboard.winner(record.study, record.objectives)
    assert record.paths.page.stat().st_size > 1_000_000

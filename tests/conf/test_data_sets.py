"""Do the shipped entries of conf/data read the public files that they are made for?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.shared import DATA, shared_data
from tunefleet.data.formats.collect import collect
from tunefleet.data.read.bad_rows import BadRows
from tunefleet.data.read.select_sources import training, validation
from tunefleet.doors.compose import from_overrides
from tunefleet.plan.rules import data_rules

CLINC = [
    "data.subset=null",
    "data.columns={text: 0, label: 1}",
    "data.split=train+oos_train",
    "data.validation_split=val+oos_val",
]
MULTI30K = ["data.target_path=multi30k/train.de.gz", "data.validation_path=multi30k/val.en.gz"]
ENTRIES: list[
    tuple[str, str, list[str], tuple[int, ...], int]
] = [  # conversations to train on (and validate), left out
    ("alpaca", "alpaca_52k/alpaca_data.json", [], (51_974,), 28),
    ("clinc150", "clinc150/data_full.json", CLINC, (15_100, 3_100), 0),
    (
        "multi30k",
        "multi30k/train.en.gz",
        [*MULTI30K, "data.validation_target_path=multi30k/val.de.gz", "data.validation_split=null"],
        (58_000, 2_028),  # both directions
        0,
    ),
    ("oasst", "oasst_samples/en_100_tree.jsonl", [], (100,), 0),
    ("sharegpt", "fastchat/dummy_conversation.json", [], (500,), 0),
    ("snips", "snips_nlu/*/train_*_full.json", [], (13_784,), 0),
    ("snips-slots", "snips_nlu/*/train_*_full.json", [], (13_784,), 0),
    ("jsonl", "llamafactory_demo/glaive_toolcall_en_demo.json", [], (300,), 0),
]


@pytest.mark.parametrize(("entry", "path", "words", "counts", "left_out"), ENTRIES, ids=[entry[0] for entry in ENTRIES])
def test_an_entry_reads_its_files(
    entry: str, path: str, words: list[str], counts: tuple[int, ...], left_out: int, tmp_path: Path
) -> None:
    shared_data(path.split("/")[0])
    there = [word.replace("=multi30k/", f"={DATA}/multi30k/") for word in words]
    data = from_overrides([f"data={entry}", f"data.path={DATA / path}", *there]).data
    assert data_rules.of_data(data) == []
    bad = BadRows(tmp_path / "bad.txt", data.max_bad_rows)
    found = [collect(source, bad) for source in training(data) + validation(data)]

    assert tuple(map(len, found)) == counts
    assert bad.count == left_out


def test_a_command_is_asked_for_its_intent(tmp_path: Path) -> None:
    path = shared_data("snips_nlu") / "GetWeather" / "validate_GetWeather.json"
    data = from_overrides(["data=snips", f"data.path={path}"]).data
    first = collect(training(data)[0], BadRows())[0]
    assert [turn.content for turn in first.turns][1] == "GetWeather"
    assert first.turns[0].content.startswith("Which intent has this command?\n\n")

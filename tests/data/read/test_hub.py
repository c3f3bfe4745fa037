"""Is a data set of the hub read from the caches of this machine, without a network, and what is missing named?"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import datasets
import huggingface_hub
import pytest

from tunefleet.base.errors import DataError
from tunefleet.config.data import SourceConfig
from tunefleet.data.read import hub
from tunefleet.data.read.source_row import Row
from tunefleet.data.read.sources import Source

REVISION = "a" * 40
ROWS = [{"prompt": f"p{i}", "completion": f"c{i}"} for i in range(5)]


@pytest.fixture(autouse=True)
def no_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Empty caches, and nothing beyond this machine."""
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setattr("datasets.config.HF_DATASETS_CACHE", tmp_path / "datasets")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", True)
    datasets.disable_progress_bars()


def download(folder: Path, files: dict[str, str]) -> Path:
    """What `hf download --repo-type dataset me/toys` leaves in the cache of the hub."""
    home = folder / "hub" / "datasets--me--toys"
    snapshot = home / "snapshots" / REVISION
    snapshot.mkdir(parents=True)
    for name, content in files.items():
        (snapshot / name).write_text(content)
    (home / "refs").mkdir()
    (home / "refs" / "main").write_text(REVISION)
    return snapshot


@pytest.fixture
def downloaded(tmp_path: Path) -> Path:
    lines = [json.dumps(row) + "\n" for row in ROWS]
    return download(tmp_path, {"train.jsonl": "".join(lines), "validation.jsonl": lines[0], "README.md": "toys"})


def read(path: str, **settings: Any) -> list[dict[str, Any]]:
    rows = Source("train", SourceConfig(path=path, **settings)).rows()
    return [row.values for row in rows if isinstance(row, Row)]


def test_a_downloaded_data_set_is_read_by_its_name(downloaded: Path) -> None:
    assert read("hub:me/toys") == ROWS
    assert read("hub:me/toys", split="validation") == ROWS[:1]
    assert read("hub:me/toys", split="train+validation") == ROWS + ROWS[:1]
    assert read("hub:me/toys", max_rows=2) == ROWS[:2]


def test_a_slice_of_a_split_is_that_slice(downloaded: Path) -> None:
    """Training and validation would be the same rows otherwise."""
    assert read("hub:me/toys", split="train[:1]") == ROWS[:1]
    assert read("hub:me/toys", split="train[1:]") == ROWS[1:]
    assert read("hub:me/toys", split="train[50%:]") == ROWS[len(ROWS) // 2 :]
    assert read("hub:me/toys", split="train[:1]+validation") == ROWS[:1] * 2
    assert read("hub:me/toys", split="train[1:]", max_rows=1) == ROWS[1:2]
    [row, *_] = Source("train", SourceConfig(path="hub:me/toys", split="train[1:]")).rows()
    assert isinstance(row, Row)
    assert row.location == "hub:me/toys train[1:]: row 1"


def test_a_slice_that_is_none_is_refused(downloaded: Path) -> None:
    with pytest.raises(DataError, match=r"data\.split"):
        read("hub:me/toys", split="train[x:]")


def test_a_file_of_a_data_set_is_read_as_a_file(downloaded: Path) -> None:
    actual = list(Source("train", SourceConfig(path="hub:me/toys/train.jsonl")).rows())
    assert [row.values for row in actual if isinstance(row, Row)] == ROWS
    assert isinstance(actual[1], Row)
    assert actual[1].location == f"{downloaded}/train.jsonl:2"


def test_what_datasets_has_loaded_before_is_read_without_the_hub(downloaded: Path, tmp_path: Path) -> None:
    """As `datasets.load_dataset("me/toys")` leaves it; the download itself is gone."""
    datasets.load_dataset(str(downloaded))
    (made,) = (tmp_path / "datasets").glob("*/default/0.0.0/*/")
    cached = tmp_path / "datasets" / "me___toys" / "default" / "0.0.0" / REVISION
    shutil.copytree(made, cached)
    for path in cached.glob("*.arrow"):
        path.rename(path.with_name(f"toys-{path.name.split('-')[-1]}"))
    info = json.loads((cached / "dataset_info.json").read_text())
    (cached / "dataset_info.json").write_text(json.dumps({**info, "dataset_name": "toys"}))
    shutil.rmtree(tmp_path / "hub")
    shutil.rmtree(made.parents[2])
    assert read("hub:me/toys") == ROWS
    with pytest.raises(DataError, match="plus"):  # cached, but not this subset
        read("hub:me/toys", subset="plus")


def test_a_script_in_a_data_set_is_no_crash(downloaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise RuntimeError("Dataset scripts are no longer supported")

    monkeypatch.setattr("datasets.load_dataset", refuse)
    with pytest.raises(DataError, match="scripts are no longer supported"):
        read("hub:me/toys")


def test_numbers_of_labels_are_their_names(tmp_path: Path) -> None:
    names = datasets.ClassLabel(names=["no", "yes"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    snapshot = download(tmp_path, {})
    made = datasets.Dataset.from_dict({"text": ["a", "b"], "label": [1, 0]}, features=features)
    made.to_parquet(snapshot / "train.parquet")
    assert [row["label"] for row in read("hub:me/toys")] == ["yes", "no"]


def test_the_fingerprint_is_of_the_rows(downloaded: Path) -> None:
    prints = [Source("train", SourceConfig(path="hub:me/toys", split=split)).fingerprint() for split in (None, "train")]
    assert prints[0] != prints[1]  # settings differ, although the rows do not
    assert Source("train", SourceConfig(path="hub:me/toys")).fingerprint() == prints[0]


@pytest.mark.parametrize(
    ("path", "command"),
    [
        ("hub:me/none", "hf download --repo-type dataset me/none`"),
        ("hub:me/none@v1", "hf download --repo-type dataset me/none --revision v1`"),
        ("hub:me/toys/none.jsonl", "hf download --repo-type dataset me/toys none.jsonl`"),
    ],
)
def test_what_is_not_there_says_how_to_fetch_it(downloaded: Path, path: str, command: str) -> None:
    with pytest.raises(DataError, match=r"is not in the Hugging Face cache of this machine") as raised:
        read(path)
    assert command in str(raised.value)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("settings", "message"),
    [({"split": "test"}, "test.*Should be one of.*train.*validation"), ({"subset": "plus"}, "plus.*default")],
)
def test_an_unknown_split_or_subset_hears_the_known_ones(downloaded: Path, settings: Any, message: str) -> None:
    with pytest.raises(DataError, match=r"hub:me/toys: data\.subset, data\.split: .*" + message):
        read("hub:me/toys", **settings)


def test_the_network_is_not_asked_about_what_is_cached(downloaded: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    switches: list[bool] = []
    real = datasets.load_dataset

    def watched(*arguments: Any, **settings: Any) -> Any:
        switches.append(huggingface_hub.constants.HF_HUB_OFFLINE)
        return real(str(downloaded), split=settings["split"])

    monkeypatch.setattr("datasets.load_dataset", watched)
    assert read("hub:me/toys") == ROWS
    assert set(switches) == {True}
    assert huggingface_hub.constants.HF_HUB_OFFLINE is False


def test_switches_are_put_back_after_a_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("datasets.config.HF_HUB_OFFLINE", False)
    with pytest.raises(ZeroDivisionError), hub.offline():
        1 / (1 - datasets.config.HF_HUB_OFFLINE)
    assert datasets.config.HF_HUB_OFFLINE is False

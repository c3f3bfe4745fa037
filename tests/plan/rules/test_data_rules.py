"""Is every setting of data that cannot work named before a row is read?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tunefleet.base.errors import ConfigError
from tunefleet.config.cleaning import CleanConfig
from tunefleet.config.data import DataConfig, Format, MixedSource
from tunefleet.config.load import load
from tunefleet.plan.paths import data_files
from tunefleet.plan.rules.data_rules import of_data


@pytest.fixture
def path(tmp_path: Path) -> str:
    (tmp_path / "rows.jsonl").write_text("{}\n")
    return str(tmp_path / "rows.jsonl")


@pytest.mark.parametrize("kind", ["file", "folder", "glob", "demo", "hub:a/b", "hub:a/b@v1.0", "hub:a/b/c/d.jsonl.gz"])
def test_what_a_path_may_be(path: str, kind: str) -> None:
    written = {"file": path, "folder": str(Path(path).parent), "glob": str(Path(path).parent / "*.jsonl")}
    assert of_data(DataConfig(path=written.get(kind, kind))) == []


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "no path": ({"path": None}, "data.path: not set. Give the file of training rows: data.path=FILE."),
    "no file": ({"path": "/a/b.jsonl"}, "data.path: /a/b.jsonl is no file, folder or glob on this machine."),
    "a hub name without its mark": ({"path": "a/b"}, "such as hub:a/b."),
    "no hub name": ({"path": "hub:squad"}, "data.path: hub:squad is no name of the hub. Allowed: hub:OWNER/NAME"),
    "no match": ({"path": "/a/*.jsonl"}, "data.path: no file matches /a/*.jsonl."),
    "validation path": ({"validation_path": "/a"}, "data.validation_path: /a is no file"),
    "target": ({"target_path": "/a"}, "data.target_path: /a is not a file on this machine."),
    "validation target": ({"validation_target_path": "/a"}, "data.validation_target_path: /a is not a file"),
    "keep": ({"clean": CleanConfig(keep="(")}, "data.clean.keep: '(' is no regular expression"),
    "drop": ({"clean": CleanConfig(drop="[z-a]")}, "data.clean.drop: '[z-a]' is no regular expression"),
    "lengths": (
        {"clean": CleanConfig(min_characters=9, max_characters=8)},
        "data.clean: min_characters=9 is more than max_characters=8",
    ),
    "split of two files": (
        {"target_path": __file__, "validation_split": "validation"},
        "data.validation_split: two files of lines have no splits.",
    ),
    "label file": ({"label_file": "/a"}, "data.label_file: /a is not a file"),
    "two lists of labels": (
        {"label_names": ("a",), "label_file": __file__},
        "data.label_file: label_names is set too.",
    ),
    "column": ({"columns": {"inptu": "a"}}, "data.columns.inptu: no column of auto rows. Did you mean 'input'?"),
    "column of another format": (
        {"columns": {"prompt": "a"}, "format": Format.ALPACA},
        "data.columns.prompt: no column of alpaca rows.",
    ),
    "place": ({"instruction": "{txt}"}, "data.instruction: '{txt}' asks for ['txt']. Known: {labels} {source} {text}."),
    "no place": ({"instruction": "Translate."}, "data.instruction: 'Translate.' asks for []."),
    "brace": ({"instruction": "{text"}, "A brace that is meant as such is doubled."),
    "way back": ({"instruction_back": "{source}"}, "data.instruction_back: '{source}' asks for ['source']."),
    "instruction for a chat": (
        {"instruction": "{text}", "format": Format.MESSAGES},
        "data.instruction: is for parallel and labelled rows, not for messages rows.",
    ),
    "mixture and path": ({"mix": (MixedSource(path="demo"),)}, "data.mix: data.path is set too."),
}


@pytest.mark.parametrize("path", ["/a/b.jsonl", "b.jsonl", "../a/b"])
def test_what_is_a_file_by_its_name_is_not_sought_on_the_hub(path: str) -> None:
    (complaint,) = of_data(DataConfig(path=path))
    assert complaint == f"data.path: {path} is no file, folder or glob on this machine."


@pytest.mark.parametrize(("changes", "said"), WRONG.values(), ids=WRONG)
def test_what_cannot_work_is_one_complaint(path: str, changes: dict[str, Any], said: str) -> None:
    (complaint,) = of_data(replace(DataConfig(path=path), **changes))
    assert said in complaint


MIXES: dict[str, tuple[list[dict[str, Any]], str]] = {
    "no path": ([{}], "data.mix[0].path: not set."),
    "no file": ([{"path": "demo"}, {"path": "/a"}], "data.mix[1].path: /a is no file"),
    "weight and epochs": ([{"path": "demo", "weight": 1.0, "epochs": 1.0}], "data.mix[0].epochs: weight is set too."),
    "some weights": (
        [{"path": "demo", "weight": 1.0}, {"path": "demo"}],
        "data.mix[1].weight: not set. Give every source a weight, or none.",
    ),
}


@pytest.mark.parametrize(("mix", "said"), MIXES.values(), ids=MIXES)
def test_a_mixture_that_cannot_work_is_one_complaint(mix: list[dict[str, Any]], said: str) -> None:
    (complaint,) = of_data(DataConfig(mix=tuple(MixedSource(**source) for source in mix)))
    assert said in complaint


def test_an_unknown_key_of_a_mixture_is_named_by_its_place() -> None:
    with pytest.raises(ConfigError) as caught:
        load(DataConfig, {"mix": [{"path": "a"}, {"pth": "b", "weight": 0}]})
    assert caught.value.complaints == (
        "mix[1].pth: unknown key. Did you mean 'mix[1].path'?",
        "mix[1].weight: 0 is not allowed. Allowed: a number above 0, or null.",
    )


def test_every_path_is_made_absolute_and_names_are_left_alone(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(Path(path).parent)
    mix = (MixedSource(path="*.jsonl", target_path="a"), MixedSource(path="hub:a/b"), MixedSource(path="demo"))
    found = data_files.absolute(DataConfig(mix=mix, label_file="labels", validation_path="hub:a/b"))
    folder = str(Path(path).parent)
    assert [source.path for source in found.mix] == [f"{folder}/*.jsonl", "hub:a/b", "demo"]
    assert (found.mix[0].target_path, found.label_file) == (f"{folder}/a", f"{folder}/labels")
    assert found.validation_path == "hub:a/b"


BESIDE: dict[str, Any] = {
    "format": Format.ALPACA,
    "columns": {"output": "response"},
    "split": "test",
    "max_rows": 3,
    "label_names": ("a", "b"),
    "instruction": "Say {text}",
}


@pytest.mark.parametrize("name", BESIDE)
def test_a_setting_of_a_source_beside_a_mixture_is_refused(path: str, name: str) -> None:
    """No source of the mixture reads it; validation rows of their own do."""
    mixed = DataConfig(mix=(MixedSource(path=path),), **{name: BESIDE[name]})
    assert of_data(replace(mixed, **{name: getattr(DataConfig(), name)})) == []
    (said,) = of_data(mixed)
    assert said.startswith(f"data.{name}: is not read where data.mix is set.")
    assert len(of_data(replace(mixed, validation_path=path))) == (name == "max_rows")

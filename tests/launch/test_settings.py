"""Is what sets runs apart said in few words, and is an unknown key of a filter named?"""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest

from tests.launch.test_register import CONFIG
from tunefleet.base.errors import ConfigError
from tunefleet.launch import register, settings


def runs(outputs: Path, *changes: dict[str, Any] | None) -> list[register.Run]:
    """A run for each change of the settings, given as {"group.key": value}; None is a damaged plan."""
    for number, change in enumerate(changes):
        config = copy.deepcopy(CONFIG) | {"output_dir": f"/x/{number}"}
        for key, value in (change or {}).items():
            group, _, name = key.rpartition(".")
            (config[group] if group else config)[name] = value
        (outputs / f"r{number}").mkdir(parents=True)
        (outputs / f"r{number}" / "plan.json").write_text("{" if change is None else json.dumps({"config": config}))
    return register.runs(outputs)


def test_only_what_varies_in_as_few_letters_as_tell_it(tmp_path: Path) -> None:
    actual = runs(tmp_path, {"optimizer.lr": 1e-3, "seed": 1}, {"optimizer.lr": 3e-3, "seed": 2}, {"seed": 3})
    assert settings.differences(actual) == [
        {"seed": "1", "lr": "0.001"}, {"seed": "2", "lr": "0.003"}, {"seed": "3", "lr": "1e-05"},
    ]  # fmt: skip


def test_what_follows_from_a_choice_is_not_repeated(tmp_path: Path) -> None:
    actual = runs(tmp_path, {"model.name": "a", "model.path": "x"}, {"model.name": "b", "model.path": "y"}, {})
    assert settings.differences(actual) == [{"model": "a"}, {"model": "b"}, {"model": "opt-tiny"}]


def test_control_what_does_not_follow_from_it_is_said(tmp_path: Path) -> None:
    actual = runs(tmp_path, {"model.name": "a", "model.path": "x"}, {"model.name": "a", "model.path": "y"}, {})
    assert settings.differences(actual)[1] == {"model": "a", "path": "y"}


def test_alike_runs_one_run_and_damaged_ones_differ_in_nothing(tmp_path: Path) -> None:
    assert settings.differences(runs(tmp_path / "alike", {}, {}, None)) == [{}, {}, {}]
    assert settings.differences(runs(tmp_path / "one", {})) == [{}]
    assert settings.differences(runs(tmp_path / "none", None, None)) == [{}, {}]
    assert settings.differences([]) == []


def test_a_damaged_run_hides_no_difference_of_the_others(tmp_path: Path) -> None:
    assert settings.differences(runs(tmp_path, {"seed": 1}, None, {"seed": 2})) == [{"seed": "1"}, {}, {"seed": "2"}]


def test_a_setting_that_another_version_does_not_know_is_no_difference(tmp_path: Path) -> None:
    assert settings.differences(runs(tmp_path, {"optimizer.new": 1}, {})) == [{}, {}]


@pytest.mark.parametrize("key", ["optimizer.lr", "model", "seed", "name", "model.architecture.hidden_size", "plan"])
def test_known_keys(key: str) -> None:
    settings.expect_known([key], [])


def test_a_key_that_only_a_run_of_another_version_has_is_known(tmp_path: Path) -> None:
    actual = runs(tmp_path, {"optimizer.new": 1})
    settings.expect_known(["optimizer.new"], actual)
    with pytest.raises(ConfigError):
        settings.expect_known(["optimizer.new"], [])


def test_unknown_keys_are_named_all_at_once() -> None:
    with pytest.raises(ConfigError) as caught:
        settings.expect_known(["optimzer.lr", "optimizer.lr", "betas"], [])
    assert list(caught.value.complaints) == [
        "optimzer.lr: no setting of that name. Did you mean 'optimizer.lr'?",
        "betas: no setting of that name. Did you mean 'optimizer.betas'?",
    ]

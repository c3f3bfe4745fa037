"""Is every setting obeyed or refused: does a change of each one change what can be seen besides the configuration?"""

from __future__ import annotations

import ast
import typing
from collections.abc import Iterator
from dataclasses import dataclass, is_dataclass, make_dataclass
from pathlib import Path
from typing import Any

import pytest

from tests.config import changes, observers
from tests.config.changes import CHANGES, FROM_FILES, Change, Settings, ShownBy
from tests.plans import OPT
from tunefleet.base.errors import ConfigError, DataError
from tunefleet.base.units import Cadence, Duration, Size
from tunefleet.config import RunConfig
from tunefleet.config.load import dump, load

ROOT = Path(__file__).parents[2]
FILES = {"path", "target_path", "label_file", "validation_path", "validation_target_path", "test_path"}
FILES |= {"test_target_path", "tokenizer", "cache"}
HERE = {"output_dir"}
MIX = "data.mix.*."


def leaves(cls: type[Any], where: str = "") -> Iterator[str]:
    """The dotted key of every setting below `cls`; `*` stands for an element of a list of groups."""
    for name, kind in typing.get_type_hints(cls).items():
        inner = next((k for k in typing.get_args(kind) if is_dataclass(k)), None)
        if is_dataclass(kind) and kind not in (Duration, Cadence, Size):
            yield from leaves(typing.cast(type[Any], kind), f"{where}{name}.")
        else:
            yield f"{where}{name}"
            if typing.get_origin(kind) is tuple and inner:
                yield from leaves(typing.cast(type[Any], inner), f"{where}{name}.*.")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    changes.files(made)
    return made


def base() -> Settings:
    """A run that plans, prepares and builds, of rows and a model from scratch."""
    return {
        "output_dir": "outputs",
        "data.path": "rows.jsonl",
        "data.validation_rows": 2,
        "data.tokenizer": "tokenizer",
        "data.cache": "cache",
        "model.name": "tiny",
        "model.init": "random",
        "model.architecture": {**OPT, "vocab_size": 320},
        "optimizer.lr": 1e-3,
        "train.sequence_length": 48,
        "train.precision": "fp32",
        "tracking.wandb": "disabled",
    }


def configured(folder: Path, settings: Settings) -> RunConfig:
    """The configuration of `settings`, by dotted keys; names of files are below `folder`."""
    values = dump(RunConfig())
    for key, value in {**base(), **settings}.items():
        *groups, name = key.split(".")
        group = values
        for inner in groups:
            group = group[inner]
        merged = {**group[name], **value} if name == "clean" else value
        group[name] = _below(folder, name, merged, key)
    return load(RunConfig, values)


def _below(folder: Path, name: str, value: Any, key: str) -> Any:
    if name == "mix":
        return [{part: _below(folder, part, inner, key) for part, inner in source.items()} for source in value]
    is_file = isinstance(value, str) and (name in FILES or key in HERE)
    return str(folder / value) if is_file else value


@pytest.fixture(scope="module", autouse=True)
def remembered() -> Iterator[None]:
    """Many changes begin with the same settings."""
    yield
    _remembered.clear()


_remembered: dict[str, Any] = {}


@dataclass(frozen=True)
class Refused:
    """What was refused, with its reason."""

    reason: str


def observed(change: Change, folder: Path, settings: Settings) -> Any:
    """What can be seen with `settings`, or why they are refused."""
    key = f"{change.look.__name__} {settings}"
    if key not in _remembered:
        _remembered[key] = _observed(change, folder, settings)
    return _remembered[key]


def _observed(change: Change, folder: Path, settings: Settings) -> Any:
    try:
        return change.look(configured(folder, settings), folder)
    except (ConfigError, DataError) as error:
        return Refused(str(error))


def pair(key: str, change: Change) -> tuple[Settings, Settings]:
    """The settings before and after a change."""
    if not key.startswith(MIX):
        return change.needs, {**change.needs, key: change.value}
    needs = {name.removeprefix("data."): value for name, value in change.needs.items()}
    source = {"path": "rows.jsonl", **needs}
    weight = {"weight": 1.0} if "weight" in needs else {}
    return tuple(
        {"data.path": None, "data.mix": [one, {"path": "other.jsonl", **weight}]}
        for one in (source, {**source, key.removeprefix(MIX): change.value})
    )  # type: ignore[return-value]


def shown(test: str, key: str) -> bool:
    """Whether there is such a test, in a file that names the setting."""
    file, _, name = test.partition("::")
    text = (ROOT / file).read_text() if file else ""
    functions = {node.name for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef)}
    return name in functions and key.rpartition(".")[2] in text


def unlisted(cls: type[Any]) -> set[str]:
    """Settings below `cls` that the table does not know."""
    return set(leaves(cls)) - set(CHANGES)


def test_every_setting_is_in_the_table_and_nothing_else() -> None:
    assert unlisted(RunConfig) == set()
    assert set(CHANGES) - set(leaves(RunConfig)) == set()


TABLE = [(key, change, "") for key, change in CHANGES.items() if isinstance(change, Change)]
TABLE += [(key, change, "from files ") for key, change in FROM_FILES.items()]


@pytest.mark.parametrize(("key", "change"), [pytest.param(k, c, id=where + k) for k, c, where in TABLE])
def test_a_change_is_obeyed_or_refused(key: str, change: Change, folder: Path) -> None:
    before, after = (observed(change, folder, settings) for settings in pair(key, change))
    assert before != after, f"{key}: {change.value!r} changes nothing that can be seen"
    assert not (isinstance(before, Refused) and isinstance(after, Refused)), f"{before} and {after}"


@pytest.mark.parametrize("key", [key for key, change in CHANGES.items() if isinstance(change, ShownBy)])
def test_what_is_shown_elsewhere_is_shown_there(key: str) -> None:
    change = CHANGES[key]
    assert isinstance(change, ShownBy)
    assert shown(change.test, key), change.test


def test_control_a_setting_that_nobody_listed_is_named() -> None:
    more = make_dataclass("More", [("made_up", int, 0)], bases=(RunConfig,), frozen=True)
    assert unlisted(more) == {"made_up"}


@pytest.mark.parametrize("look", [observers.planned, observers.prepared, observers.script, observers.built])
def test_control_a_setting_that_nothing_reads_is_seen_by_no_observer(look: observers.Observer, folder: Path) -> None:
    """`tracking.run_name` is in the configuration, the plan's copy of it and the cache's, and touches none of these."""
    change = Change("another", look, {"launch.name": "slurm"})
    before, after = (observed(change, folder, s) for s in pair("tracking.run_name", change))
    assert not isinstance(before, Refused)
    assert before == after


def test_control_a_test_that_does_not_exist_shows_nothing() -> None:
    assert not shown("tests/config/test_load.py::test_made_up", "seed")

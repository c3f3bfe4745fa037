"""Does any setting leave another without effect and without a word?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.config import changes, observers
from tests.config.changes import CHANGES, Change, Settings
from tests.config.test_every_field import MIX, configured
from tunefleet.base.errors import ConfigError
from tunefleet.config import RunConfig
from tunefleet.plan import make

OBEYED = {
    "model.path": "its tokenizer is read",
    "model.published": "a preset's, which model.architecture replaces",
    "train.clip": "of gradients that are large enough",
    "train.early_stopping.metric": "the note names its group",
    "train.early_stopping.min_delta": "the same",
    "evaluation.max_rows": "of these validation rows",
    "evaluation.batch": "the same",
    "evaluation.generate_rows": "the same",
    "launch.parallel_runs": "of a grid, which a plan does not know",
    "plan.force": "a forecast that fits needs none",
}
"""Settings of the table of changes that have an effect without what makes it visible there."""
PAIRS = [
    (key, change.value)
    for key, change in CHANGES.items()
    if isinstance(change, Change) and change.needs and key not in OBEYED and not key.startswith((MIX, "data."))
]  # what a setting of the data needs is in their rows
PAIRS += [
    ("train.spike_window", 16),
    ("train.on_spike", "rewind"),
    ("train.skip_budget", 3),
    ("model.allow_pickle", True),
    ("checkpoint.metric", "validation/loss"),
    ("tracking.entity", "us"),
    ("tracking.project", "mine"),
    ("tracking.tags", ["first"]),
    ("launch.wait", True),
    ("launch.dry_run", True),
    ("launch.snapshot", False),
    ("launch.snapshot_untracked", ["src"]),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("files")
    changes.files(made)
    return made


def message(folder: Path, settings: Settings) -> str:
    """Why the settings are refused, or the notes of their plan."""
    try:
        config: RunConfig = configured(folder, settings)
        return "\n".join(make(config, observers.GPUS).notes)
    except ConfigError as error:
        return str(error)


@pytest.mark.parametrize(("key", "value"), [pytest.param(key, value, id=key) for key, value in PAIRS])
def test_what_another_setting_leaves_without_effect_is_named(folder: Path, key: str, value: object) -> None:
    assert key in message(folder, {key: value})
    assert key not in message(folder, {})


@pytest.mark.parametrize(
    ("settings", "is_refused"),
    [
        ({"model.path": "filed", "model.tokenizer": "tokenizer"}, True),
        ({"model.path": "missing"}, True),
        ({"model.path": "filed"}, False),  # its tokenizer is used
        ({"model.path": "filed", "model.architecture": {}}, False),  # its config.json and its tokenizer are
        ({"model.path": "filed", "model.architecture": {}, "model.published": {**changes.OPT, "hidden_size": 8}}, True),
        ({"model.path": "org/name", "model.tokenizer": "tokenizer"}, True),
        ({"model.path": "filed", "model.architecture": {}, "model.init": "pretrained"}, False),
    ],
)
def test_a_path_that_a_model_from_scratch_would_not_read_is_refused(
    folder: Path, settings: Settings, is_refused: bool
) -> None:
    assert ("would not be read" in message(folder, settings)) is is_refused

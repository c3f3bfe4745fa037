"""Applications: what each is trained with, tested on and measured by."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.applications import clinc150, manythings, multi30k, snips
from benchmarks.applications.baselines import COMMANDING, LABELLING, TRANSLATING, Baseline
from benchmarks.applications.measures import Values, of_commands, of_intents, of_translation
from benchmarks.applications.rows import Splits
from tunefleet.base.errors import ConfigError

VARIABLE = "TUNEFLEET_APPLICATIONS"
"""The variable of the environment that names the folder of prepared data; the experiments read it too."""


@dataclass(frozen=True)
class Prepared:
    """Rows that are made of a public set, and the size of the tokenizer that is trained on them."""

    splits: Callable[[Path], Splits]
    format: str
    """`data.format` of the rows."""
    vocabulary: int


@dataclass(frozen=True)
class Application:
    """An experiment, how its answers are measured, and what the simplest methods answer."""

    experiment: str
    folder: str | None
    """The prepared data that it takes, a key of `PREPARED`; None where it makes its own."""
    measure: Callable[[Sequence[str], Sequence[str]], Values]
    """Of answers and references."""
    baselines: Mapping[str, Baseline] = field(default_factory=dict)
    is_reversed: bool = False
    """Whether `target` is translated into `source`."""
    splits: tuple[str, ...] = ("test",)
    """Those that are measured at the end of a run."""


PREPARED = {
    "understanding": Prepared(clinc150.splits, "labelled", 3000),
    "translation": Prepared(multi30k.splits, "parallel", 4000),
    "translation_zh": Prepared(manythings.splits, "parallel", 4000),
    "voice_assistant_snips": Prepared(snips.splits, "labelled", 3000),
}
_DEMO_SPLITS = ("unseen_sentences", "unseen_values", "unseen_templates", "unseen_words")
_SNIPS = "voice_assistant_snips"
_ALL = (
    Application("understanding", "understanding", of_intents, LABELLING),
    Application("translation", "translation", of_translation, TRANSLATING),
    Application("translation_reverse", "translation", of_translation, TRANSLATING, is_reversed=True),
    Application("translation_zh", "translation_zh", of_translation, TRANSLATING),
    Application("translation_zh_reverse", "translation_zh", of_translation, TRANSLATING, is_reversed=True),
    Application("voice_assistant", None, of_commands, COMMANDING, splits=_DEMO_SPLITS),
    Application(_SNIPS, _SNIPS, of_commands, COMMANDING),
)
APPLICATIONS = {application.experiment: application for application in _ALL}


def application(name: str) -> Application:
    """The application of that name. Raises `ConfigError`."""
    if name not in APPLICATIONS:
        raise ConfigError(f"{name}: no application. Allowed: {', '.join(APPLICATIONS)}.")
    return APPLICATIONS[name]


def default_folder() -> Path:
    """Where prepared data are kept."""
    return Path(os.environ.get(VARIABLE) or "outputs/applications")

"""Named model: the run, the folder or the hub name that a command was given, made ready to be opened."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tunefleet.base.errors import RunError
from tunefleet.doors import exported
from tunefleet.launch import register
from tunefleet.launch.register import Run
from tunefleet.libraries.heavy_imports import heavy_imports
from tunefleet.plan import Plan
from tunefleet.plan.paths import generation_file, model_files

if TYPE_CHECKING:
    from tunefleet.runs.text_model import TextModel

BASE = "base"
"""What `--beside` calls the model that a run started from, or that is beneath an adapter."""
_OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "TQDM_DISABLE": "1"}


def say_ignored(folder: Path | str | None) -> None:
    """Says once what the model's generation_config.json asks for that is not used."""
    if note := generation_file.note(folder):
        print(f"tunefleet: {note}", file=sys.stderr)


@dataclass(frozen=True)
class NamedModel:
    """What a name means: a run, or the folder of a model; `label` is what it is called."""

    label: str
    run: Run | None = None
    folder: Path | None = None

    def plan(self) -> Plan | None:
        """The plan of the run; None for a folder."""
        return Plan.read(self.run.paths.root) if self.run else None

    def open(self, checkpoint: str = exported.LAST) -> TextModel:
        """The model in memory. Raises `RunError` where it cannot be had."""
        plan = exported.ready(self.run) if self.run else None
        if plan:
            exported.expect_model(plan, checkpoint)
        else:
            prepare_environment()
        with heavy_imports():
            from tunefleet.runs import text_model  # torch starts here

        if plan:
            opened = text_model.of_run(plan, checkpoint)
        else:
            assert self.folder
            opened = text_model.of_folder(self.folder)
        say_ignored(opened.folder)
        return opened

    def beside(self, name: str, model: TextModel, outputs: Path) -> tuple[str, TextModel]:
        """The model to compare `model` with, and its label: `base`, or what any other name means.

        Raises `RunError` where there is no such model.
        """
        if name != BASE:
            compared = named(name, outputs)
            return compared.label, compared.open()
        if without_adapter := model.beneath():
            return BASE, without_adapter
        plan = self.plan()
        if plan is None:
            raise RunError(f"{self.label}: does not say which model it started from. Name that: --beside FOLDER.")
        if plan.sources.weights is None:
            raise RunError(f"{self.label}: was trained from scratch, so no model is its base. Leave --beside out.")
        return BASE, model.beside(Path(plan.sources.weights))


def named(name: str, outputs: Path) -> NamedModel:
    """What `name` means: a folder of a model or of a run, a run in `outputs`, or a model in the Hugging Face cache.

    Raises `RunError` where it means nothing.
    """
    folder = Path(name).expanduser()
    if name.strip() and _is_model(folder):
        return NamedModel(name, folder=folder.resolve())
    try:
        return NamedModel(name, run=register.only(name, outputs))
    except RunError as error:
        if "no run and no sweep" not in str(error):
            raise
    if cached := model_files.find(name):
        if _is_model(cached):
            return NamedModel(name, folder=cached)
        raise RunError(f"{name}: is neither a run nor the folder of a model: it has no config.json.")
    fetch = f" Fetch it with `hf download {name}`." if name.count("/") == 1 and name[0] not in "/.~" else ""
    raise RunError(f"{name}: no run, no folder of a model, and no model in the Hugging Face cache.{fetch}")


def _is_model(folder: Path) -> bool:
    try:
        names = ("config.json", "adapter_config.json")
        return not (folder / "plan.json").exists() and any((folder / name).is_file() for name in names)
    except (OSError, ValueError):  # longer than a name may be, or with a zero byte
        return False


def prepare_environment() -> None:
    """Sets what torch and transformers read once, for a model without a run; call it before they are imported."""
    os.environ.update(_OFFLINE)
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

"""Name of a run that has none: data, model, strategy, and what sets its settings apart."""

from __future__ import annotations

import re
from pathlib import Path

from tunefleet.config import RunConfig

_ANY_MODEL = "hf"  # the choice of a model that a folder or a hub repository names
_LONGEST = 60  # letters of a model's name


def run_name(config: RunConfig, identity: str) -> str:
    """The run's own name, or one of its parts and the beginning of its identity."""
    return config.name or f"{config.data.name}_{model_name(config)}_{config.parallel.name}-{identity[:8]}"


def model_name(config: RunConfig) -> str:
    """The choice's name; of `model=hf` the last part of its path, in letters that a file name may have."""
    if config.model.name != _ANY_MODEL or not config.model.path:
        return config.model.name
    folder = Path(config.model.path).expanduser()
    folder = folder.resolve() if folder.is_dir() else folder
    if folder.parent.name == "snapshots":  # of the Hugging Face cache: models--OWNER--NAME/snapshots/COMMIT
        folder = Path(folder.parent.parent.name.rpartition("--")[2])
    if folder.name == "export":  # of another run: its name says more
        folder = folder.parent
    return re.sub(r"[^\w.-]+", "-", folder.name).strip("-.")[:_LONGEST] or _ANY_MODEL

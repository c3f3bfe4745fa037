"""Models of another tool: ours of the same name, or any by its path."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefleet.imports.draft import Draft

MODELS = Path(__file__).parents[1] / "conf" / "model"
_QUANTISED = ("gptq", "awq", "aqlm", "mxfp4", "fp8", "exl2", "gguf", "hqq")


def take_model(values: Mapping[str, Any], draft: Draft, name: str) -> str:
    """Puts the model that the option `name` has, and returns it; refuses a file that has none."""
    path = str(values.get(name) or "")
    if path:
        put_model(draft, path, name)
    else:
        draft.refuse(name, "is not set: which model?")
    return path


def put_model(draft: Draft, path: str, name: str) -> None:
    """`model`, with the published architecture where one of ours has this name, so that it can be planned here.

    Refuses weights that were quantised before the training, which a repository's name says.
    """
    if quantised := quantisation_of(path):
        draft.refuse(f"{name}={path}", f"has weights in {quantised.upper()}: name the model that they were made of")
    table = {choice.stem: choice.stem for choice in MODELS.glob("*.yaml")}
    last = path.rstrip("/").rsplit("/", 1)[-1].lower()
    draft.put("model", table.get(last, "hf"), name)
    draft.put("model.path", path, name)
    if last not in table:
        draft.put("model.name", last, name)


def quantisation_of(path: str) -> str:
    """How the weights of a repository are quantised, by its name; empty where it says nothing of it."""
    parts = path.lower().replace("_", "-").split("/")[-1].split("-")
    return next((part for part in parts if part in _QUANTISED), "")

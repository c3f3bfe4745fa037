"""Models of another tool: ours of the same name, or any by its path."""

from __future__ import annotations

from pathlib import Path

from tunefleet.imports.draft import Draft

MODELS = Path(__file__).parents[1] / "conf" / "model"
_QUANTISED = ("gptq", "awq", "aqlm", "mxfp4", "fp8", "exl2", "gguf", "hqq")


def put_model(draft: Draft, path: str, name: str) -> None:
    """`model`, with the published architecture where one of ours has this name, so that it can be planned here."""
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

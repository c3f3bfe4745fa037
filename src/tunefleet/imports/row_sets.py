"""Sets of rows of another tool: their formats, and one set or a mixture of several."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tunefleet.imports.draft import Draft

PUBLIC_FORMATS = {
    "trl-lib/Capybara": "messages",
    "HuggingFaceH4/Multilingual-Thinking": "messages",
    "HuggingFaceH4/ultrachat_200k": "messages",
    "open-thoughts/OpenThoughts-114k": "sharegpt",
    "stanfordnlp/imdb": "text",
    "roneneldan/TinyStories": "text",
    "trl-lib/tldr": "prompt_completion",
    "tatsu-lab/alpaca": "alpaca",
    "yahma/alpaca-cleaned": "alpaca",
}
"""Formats of public sets whose file of another tool does not say them."""


def put_sets(draft: Draft, sets: Sequence[dict[str, Any]], name: str) -> None:
    """One set as the data themselves, several as a mixture; each by our keys."""
    if not sets:
        draft.refuse(name, "names no set of rows: what would it train on?")
    elif len(sets) == 1 and not {"weight", "epochs"} & set(sets[0]):
        draft.put("data", "jsonl", name)
        draft.put("data.name", label(str(sets[0]["path"])), name)
        for key, value in sets[0].items():
            draft.put(f"data.{key}", value, name)
    else:
        draft.put("data", "mix", name)
        draft.put("data.name", "-".join(label(str(rows["path"])) for rows in sets[:3]), name)
        draft.put("data.mix", list(sets), name)


def label(path: str) -> str:
    """A short name of a set."""
    last = path.removeprefix("hub:").split("@")[0].rstrip("/").rsplit("/", 1)[-1]
    return last.split(".")[0].lower() or "rows"


def hub_or_file(path: str, is_here: bool) -> str:
    """Our spelling of a set: a file or folder of this machine, else a set of the hub."""
    return path if is_here or path.startswith(("/", ".", "~", "hub:")) else f"hub:{path}"

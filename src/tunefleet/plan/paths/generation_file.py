"""Generation file: what a model's generation_config.json asks of answers, of which nothing is done here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.text import in_one_line

NAME = "generation_config.json"
_LONGEST = 40  # letters of a setting
_OF_SAMPLING = ("temperature", "top_p", "top_k", "min_p", "typical_p", "epsilon_cutoff", "eta_cutoff")
_SAYS_NOTHING: Mapping[str, Any] = {
    **dict.fromkeys(("temperature", "top_p", "typical_p", "repetition_penalty", "length_penalty", "num_beams"), 1),
    **{"encoder_repetition_penalty": 1, "top_k": 50, "num_return_sequences": 1, "num_beam_groups": 1},
}
"""Settings with the values that change no answer."""
_NO_ANSWERS = ("transformers_version", "use_cache", "max_length", "max_new_tokens", "chat_format")
"""Settings that change no token of an answer, or that a length of ours replaces; ids of tokens are the tokenizer's."""


def note(folder: Path | str | None) -> str:
    """One sentence about the settings of the model in `folder` that change answers elsewhere; empty for none."""
    settings = ignored(Path(folder)) if folder else {}
    listed = ", ".join(f"{name}={str(value)[:_LONGEST]}"[:_LONGEST] for name, value in settings.items())
    return in_one_line(f"{NAME} of the model: {listed}: not used. Answers follow what you set alone.") if listed else ""


def ignored(folder: Path) -> dict[str, Any]:
    """The settings in the file that change answers where they are obeyed."""
    try:
        settings = files.read_json(folder / NAME)
    except (OSError, ValueError):
        return {}
    items = settings.items() if isinstance(settings, Mapping) else ()
    return {name: value for name, value in items if _changes(name, value, settings)}


def _changes(name: str, value: Any, settings: Mapping[str, Any]) -> bool:
    if name.startswith(("_", "output_", "return_")) or name.endswith(("token_id", "token_ids")) or name in _NO_ANSWERS:
        return name.startswith("forced_") and value is not None
    if name in _OF_SAMPLING and not settings.get("do_sample"):
        return False
    return bool(value) and value != _SAYS_NOTHING.get(name)

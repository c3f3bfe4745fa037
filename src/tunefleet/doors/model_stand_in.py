"""Stand-in of a model that is not on this machine: one of ours of its family, to plan with."""

from __future__ import annotations

from tunefleet.base.errors import ConfigError

_BY_FAMILY = {
    "opt": "opt-1.3b",
    "gpt2": "gpt2",
    "pythia": "pythia-1.4b",
    "neox": "pythia-1.4b",
    "mistral": "mistral-7b",
    "qwen": "qwen2.5-7b",
}
_DEFAULT = "llama-3.1-8b"


def choice(path: str) -> str:
    """The choice of `model` that stands for the one at `path`, by its family's name."""
    name = path.lower()
    return next((model for family, model in _BY_FAMILY.items() if family in name), _DEFAULT)


def is_absent(error: ConfigError) -> bool:
    """Whether a model is not on this machine."""
    return any(map(_is_about_absence, error.complaints))


def other_complaints(error: ConfigError) -> list[str]:
    """What else is wrong."""
    return [complaint for complaint in error.complaints if not _is_about_absence(complaint)]


def _is_about_absence(complaint: str) -> bool:
    return complaint.startswith("model.") and "on this machine" in complaint

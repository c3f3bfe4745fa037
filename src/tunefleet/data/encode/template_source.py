"""Source of a chat template: a shipped one by its name, a file, or the tokenizer's own."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.plan.paths.data_files import TEMPLATES, template_file

TokenizerTemplate = str | Mapping[str, str] | None
"""The chat template of a tokenizer: one, several by name, or none."""


def find_for_tools(name: str, own_template: TokenizerTemplate) -> str:
    """The Jinja source for conversations with tools, where the tokenizer's `own_template` has one."""
    return _source(own_template.get("tool_use", "")) if name == "auto" and isinstance(own_template, Mapping) else ""


def _source(value: Any) -> str:
    """A template, which a file may hold as anything. Raises `ConfigError`."""
    if not isinstance(value, str):
        raise ConfigError(
            f"data.template: the tokenizer's chat template is {type(value).__name__} instead of text. Name another "
            "template, such as data.template=chatml."
        )
    return value


def find(name: str, own_template: TokenizerTemplate) -> str:
    """The Jinja source of `name`: `auto` is the tokenizer's `own_template`, else `plain`. Raises `ConfigError`."""
    if name == "auto" and isinstance(own_template, Mapping):
        if "default" not in own_template:
            raise ConfigError(
                f"data.template: the tokenizer's chat templates are {', '.join(own_template) or 'none'}, none of them "
                "default. Write one of them into a file, and name it in data.template."
            )
        return _source(own_template["default"])
    if name == "auto" and own_template:
        return _source(own_template)
    path = template_file("plain" if name == "auto" else name)
    if path is None:
        names = ", ".join(sorted(file.stem for file in TEMPLATES.glob("*.jinja")))
        raise ConfigError(f"data.template: {name!r} is neither a template nor a file. Known: auto, {names}.")
    try:
        return files.read_text(path).removesuffix("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"data.template: {path} cannot be read as UTF-8: {error}.") from None

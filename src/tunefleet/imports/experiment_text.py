"""Experiment file of a draft: choices, settings with their origins, comments on what has no counterpart."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import yaml

from tunefleet.config.load import literal
from tunefleet.imports.draft import Draft, Setting
from tunefleet.imports.option import Kind

GROUPS = ("data", "model", "adapter", "parallel", "optimizer", "schedule", "tracking")
"""The groups of which an import makes a choice."""
_HEADINGS = {Kind.APPROXIMATE: "Nearly the same", Kind.INERT: "Left out, because it does not change what is learned"}
_WIDTH = 118


def experiment_text(draft: Draft, file_name: str, command: str) -> str:
    """The YAML of an experiment that trains as the file of `draft` did; `command` trains it."""
    settings = {key: _shell_free(setting) for key, setting in draft.settings.items()}
    return (
        "\n".join([*_head(draft, file_name, command), *_choices(draft), *_body(settings), *_card(draft, file_name)])
        + "\n"
    )


def _head(draft: Draft, file_name: str, command: str) -> Iterator[str]:
    yield "# @package _global_"
    yield f"# {' '.join(file_name.split())} of {draft.title}, by `tunefleet import`: behind each value is its origin."
    yield f"# Command: {command}"
    for kind, heading in _HEADINGS.items():
        if remarks := draft.of_kinds([kind]):
            yield f"# {heading}:"
            yield from (line for remark in remarks for line in _comment(str(remark)))


def _comment(text: str) -> Iterator[str]:
    """Lines of a comment with an indent, no longer than a line may be."""
    line = "#   "
    for piece in text.split():
        if len(line) + len(piece) > _WIDTH and line.strip() != "#":
            yield line.rstrip()
            line = "#     "
        line += f"{piece} "
    yield line.rstrip()


def _choices(draft: Draft) -> Iterator[str]:
    yield "defaults:"
    for group in GROUPS:
        if group in draft:
            yield f"  - override /{group}: {draft.value(group)}{_origin(draft.settings[group])}"
    yield "  - _self_"


def _body(settings: dict[str, Setting]) -> Iterator[str]:
    """Settings at the top, then group by group in the order of their first one."""
    yield from (_line("", key, setting) for key, setting in settings.items() if "." not in key and key not in GROUPS)
    dotted = {key: setting for key, setting in settings.items() if "." in key}
    for group in dict.fromkeys(key.split(".")[0] for key in dotted):
        yield f"{group}:"
        inner = {key.split(".", 1)[1]: setting for key, setting in dotted.items() if key.split(".")[0] == group}
        yield from _group(inner)


def _group(settings: dict[str, Setting]) -> Iterator[str]:
    yield from (_line("  ", key, setting) for key, setting in settings.items() if "." not in key)
    for part in dict.fromkeys(key.split(".")[0] for key in settings if "." in key):
        yield f"  {part}:"
        yield from (
            _line("    ", key.split(".", 1)[1], setting)
            for key, setting in settings.items()
            if key.startswith(f"{part}.")
        )


def _line(indent: str, key: str, setting: Setting) -> str:
    value = setting.value
    if isinstance(value, Sequence) and not isinstance(value, str) and value and isinstance(value[0], dict):
        lines = [f"{indent}{key}:{_origin(setting)}", *(f"{indent}  - {_flow(item)}" for item in value)]
        return "\n".join(lines)
    return f"{indent}{key}: {_flow(value)}{_origin(setting)}"


def _origin(setting: Setting) -> str:
    origin = " ".join(setting.origin.split())
    return f"  # {origin}" if origin else ""


def _flow(value: Any) -> str:
    text: str = yaml.safe_dump(value, default_flow_style=True, allow_unicode=True, width=10**6)
    return text.removesuffix("...\n").strip()


def _card(draft: Draft, file_name: str) -> Iterator[str]:
    yield "experiment:"
    yield f"  claim: {_flow(f'trains as {file_name} of {draft.title} did')}"


def _shell_free(setting: Setting) -> Setting:
    return Setting(literal(setting.value), setting.origin)

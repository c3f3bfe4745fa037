"""Option tables: every option of the other tools with its counterpart, as Markdown."""

from __future__ import annotations

from collections.abc import Iterator

from tunefleet.imports.foreign_file import TOOLS
from tunefleet.imports.option import Kind, Option, Options
from tunefleet.imports.tool import Tool

_TEXTS = {
    Kind.EQUAL: "",
    Kind.APPROXIMATE: "nearly",
    Kind.INERT: "left out with a comment",
    Kind.IMPLIED: "nothing to write",
    Kind.MISSING: "refused",
    Kind.OTHER_TRAINING: "refused",
}


def option_tables() -> str:
    """A table for each tool; options that are answered alike share a row."""
    return "\n".join(line for tool in TOOLS for line in _tool(tool))


def _tool(tool: Tool) -> Iterator[str]:
    yield f"### {tool.title}: {len(tool.options)} options"
    yield ""
    yield from _table(tool.options)
    for name, options in tool.nested.items():
        yield f"Inside of `{name}`:"
        yield ""
        yield from _table(options)


def _table(options: Options) -> Iterator[str]:
    rows: dict[tuple[str, str], list[str]] = {}
    for name, option in options.items():
        rows.setdefault(_answer(option), []).append(f"`{name}`")
    yield "| option | tunefleet | what becomes of it |"
    yield "|---|---|---|"
    yield from (f"| {', '.join(names)} | {counterpart} | {note} |" for (counterpart, note), names in rows.items())
    yield ""


def _answer(option: Option) -> tuple[str, str]:
    note = ": ".join(part for part in (_TEXTS[option.kind], option.note) if part)
    return option.counterpart, note.replace("|", "\\|")

"""Config reference: docs/config.md, a table of every setting, from the dataclasses that hold them.

python -m documentation.config_reference
"""

from __future__ import annotations

import ast
import inspect
import json
import re
import textwrap
from collections.abc import Iterator
from dataclasses import MISSING, Field, fields, is_dataclass
from enum import Enum
from pathlib import Path
from typing import Any

from tunefleet.config import RunConfig
from tunefleet.config.fields import NAMED, RANGE, describe_bounds
from tunefleet.config.load import dump, hints
from tunefleet.config.sweep import SweepConfig

PAGE = Path(__file__).parents[1] / "docs" / "config.md"
_HEAD = """# Every setting

Made by `python -m documentation.config_reference` from the dataclasses in `src/tunefleet/config/`, which hold for each
setting its type, its default and what it means. `GROUP=CHOICE` on the command line takes the values of a file in
`conf/GROUP/`, `GROUP.KEY=VALUE` sets one of them. `python train.py --cfg job` prints those of a run.
"""


def page() -> str:
    """The whole page, as Markdown."""
    own = [declared for declared in fields(RunConfig) if not is_dataclass(hints(RunConfig)[declared.name])]
    sections = [_section("Of the run", RunConfig, [declared.name for declared in own], "")]
    for declared in fields(RunConfig):
        kind = hints(RunConfig)[declared.name]
        if is_dataclass(kind):
            sections += _sections(declared.name, kind)
    return "\n".join([_HEAD, *sections, *_sections("sweep", SweepConfig)])


def _sections(group: str, kind: Any) -> Iterator[str]:
    """A table of the group, and one of every group within it."""
    names = [declared.name for declared in fields(kind) if not is_dataclass(hints(kind)[declared.name])]
    if names:
        yield _section(f"`{group}`", kind, names, f"{group}.")
    for declared in fields(kind):
        if is_dataclass(inner := hints(kind)[declared.name]) and not hasattr(inner, "parse"):
            yield from _sections(f"{group}.{declared.name}", inner)


def _section(title: str, kind: Any, names: list[str], prefix: str) -> str:
    described, declared = descriptions(kind), {declared.name: declared for declared in fields(kind)}
    rows = [
        f"| `{prefix}{name}` | {_type(hints(kind)[name], declared[name])} | {_default(declared[name])} "
        f"| {described.get(name, '')} |"
        for name in names
    ]
    doc = inspect.cleandoc(kind.__doc__ or "").split("\n\n")[0].replace("\n", " ")
    return "\n".join(
        [f"## {title}", "", doc, "", "| setting | type | default | meaning |", "|---|---|---|---|", *rows, ""]
    )


def descriptions(kind: Any) -> dict[str, str]:
    """{field: the text below it} of a dataclass, on one line."""
    texts: dict[str, str] = {}
    owners: list[Any] = [owner for owner in kind.__mro__ if is_dataclass(owner)]
    for owner in reversed(owners):
        (body,) = ast.parse(textwrap.dedent(inspect.getsource(owner))).body
        assert isinstance(body, ast.ClassDef)
        for statement, below in zip(body.body, body.body[1:], strict=False):
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                texts[statement.target.id] = _text(below)
    return texts


def _text(statement: ast.stmt) -> str:
    if isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Constant):
        return _cell(" ".join(str(statement.value.value).split()))
    return ""


def _type(kind: Any, declared: Field[Any]) -> str:
    members = [
        member for member in getattr(kind, "__args__", ()) if isinstance(member, type) and issubclass(member, Enum)
    ]
    enum = kind if isinstance(kind, type) and issubclass(kind, Enum) else next(iter(members), None)
    if enum:
        return ", ".join(f"`{member.value}`" for member in enum)
    written = re.sub(r"(<class '|'>|\w+\.)", "", kind.__name__ if isinstance(kind, type) else str(kind))
    bounds, named = declared.metadata.get(RANGE, {}), declared.metadata.get(NAMED, {})
    parts = [
        _cell(written.replace(" | None", " or null")),
        describe_bounds(bounds),
        *(f"or `{name}`" for name in named),
    ]
    return " ".join(part for part in parts if part)


def _default(declared: Field[Any]) -> str:
    factory: Any = declared.default_factory
    default = declared.default if declared.default is not MISSING else factory()
    named = {number: name for name, number in declared.metadata.get(NAMED, {}).items()}
    if isinstance(default, int) and default in named:
        return f"`{named[default]}`"
    value = dump(default)
    return f"`{_cell(value if isinstance(value, str) and value else json.dumps(value))}`"


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
    print(PAGE)

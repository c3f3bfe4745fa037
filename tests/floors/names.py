"""Which bindings have a name that says nothing? `python -m tests.floors.names src/tunefleet/data` lists them."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

SRC = Path(__file__).parents[2] / "src"
_PARTICIPLES = """
found said told seen heard asked wanted given taken made kept held left gone got lost meant known chosen foreseen
"""  # without their noun: what was found, said, kept?
_PRONOUNS = """
one ones other others another both some any each same rest whole own mine ours theirs this that these those thing
things something anything everything nothing nobody somebody who whom what which raw near alone together
"""  # numerals and bare adjectives too: which one of what?
_ADVERBS = "here there where when why how now then before again elsewhere apart of"  # where and when does what stand?
_VERBS = "say says tell tells ask asks see sees want wants word words talk talks"  # any act; and this house's old words
EMPTY = frozenset(f"{_PARTICIPLES} {_PRONOUNS} {_ADVERBS} {_VERBS}".split())


class Binding(NamedTuple):
    """A name that a line gives to something."""

    line: int
    name: str

    @property
    def says_nothing(self) -> bool:
        """Whether it stands in `EMPTY`, underscores at its ends and capitals left aside."""
        return self.name.strip("_").lower() in EMPTY


def bindings(source: str) -> Iterator[Binding]:
    """Every name that `source` binds, but `self`, `cls` and `_`, which Python chose, and what it imports."""
    for node in ast.walk(ast.parse(source)):
        name = _bound(node)
        if name and name not in ("self", "cls", "_"):
            yield Binding(getattr(node, "lineno", 0), name)


def _bound(node: ast.AST) -> str | None:
    match node:
        case ast.Name(id=name, ctx=ast.Store()) | ast.Attribute(attr=name, ctx=ast.Store()) | ast.arg(arg=name):
            return name
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name) | ast.ClassDef(name=name):
            return name
        case (
            ast.ExceptHandler(name=name)
            | ast.MatchAs(name=name)
            | ast.MatchStar(name=name)
            | ast.MatchMapping(rest=name)
        ):
            return name
    return None


def files(place: Path) -> list[Path]:
    """The Python files at or under `place`, in order."""
    return [place] if place.is_file() else sorted(place.rglob("*.py"))


def empty(place: Path) -> tuple[list[str], int]:
    """The bindings under `place` that say nothing, as `file:line: name`, and how many bindings there are in all."""
    listed, count = [], 0
    for path in files(place):
        for binding in bindings(path.read_text(encoding="utf-8")):
            count += 1
            if binding.says_nothing:
                listed.append(f"{path}:{binding.line}: {binding.name}")
    return listed, count


def main(places: list[Path]) -> None:
    """Prints every offender under `places` and the share of all bindings that they are."""
    pairs = [empty(place) for place in places]
    offenders, count = [line for listed, _ in pairs for line in listed], sum(total for _, total in pairs)
    print(*offenders, f"{len(offenders)} of {count} bindings say nothing ({len(offenders) / count:.2%})", sep="\n")


if __name__ == "__main__":
    main([Path(argument) for argument in sys.argv[1:]] or [SRC])

"""Typed commands: every command line that README, CONTRIBUTING and docs/ show, and what it needs to be executed.

A block of code names its language in one word. In a block of `sh` a comment that begins with `# needs` says why the
commands below it, up to an empty line or the next comment of its own line, are executed by no test.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
LANGUAGES = ("sh", "text", "yaml", "python", "toml", "json")
_FENCE = re.compile(r"^( *)```(.*)\n((?:.*\n)*?)\1```$", re.MULTILINE)
_NEED = "# needs "
_FILE = re.compile(
    r"(?:# @package.*\n)?# ([\w./-]+\.yaml)$", re.MULTILINE
)  # Hydra reads @package in the first line alone
_INLINE = re.compile(r"`(tunefleet [a-z-][^`]*)`")
_VARIABLE = re.compile(r"[A-Z_]+=.*")
ELISION = "..."
"""Stands for what the reader types there; left out where a command is parsed."""


@dataclass(frozen=True)
class Block:
    """A block of code: where it begins, its language as written, its lines."""

    page: Path
    line: int
    language: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class TypedCommand:
    """A command line: where it stands, its text without a comment, what it needs that no test has."""

    place: str
    text: str
    need: str = ""

    def programs(self) -> Iterator[list[str]]:
        """The words of each program of a pipe or of `a && b`, and of one within `$(...)`; without elisions."""
        inner = re.findall(r"\$\((.*?)\)", self.text)
        for text in inner or re.split(r" (?:\||&&) ", self.text):
            words = [word for word in shlex.split(text) if word != ELISION]
            yield words[next((n for n, word in enumerate(words) if not _VARIABLE.fullmatch(word)), 0) :]


def blocks(pages: Sequence[Path] = PAGES) -> Iterator[Block]:
    """The blocks of all pages in their order."""
    for page in pages:
        text = page.read_text(encoding="utf-8")
        for fence in _FENCE.finditer(text):
            line = text.count("\n", 0, fence.start()) + 1
            indent, language, body = fence.groups()
            yield Block(page, line, language, tuple(row.removeprefix(indent) for row in body.splitlines()))


def typed_commands(pages: Sequence[Path] = PAGES) -> list[TypedCommand]:
    """The commands of all blocks of `sh`."""
    return [command for block in blocks(pages) if block.language == "sh" for command in _commands(block)]


def files(pages: Sequence[Path] = PAGES) -> dict[str, str]:
    """The YAML files that the pages show, by the path in their comment at the top."""
    return {path: text for block in blocks(pages) for path, text in files_of(block).items()}


def files_of(block: Block) -> dict[str, str]:
    """The file that a block of YAML shows; empty where it names none."""
    text = "\n".join(block.lines) + "\n"
    path = _FILE.match(text) if block.language == "yaml" else None
    return {path[1]: text} if path else {}


def inline(pages: Sequence[Path] = PAGES) -> Iterator[tuple[str, str]]:
    """Every `tunefleet ...` within a sentence, with its page."""
    for page in pages:
        text = _FENCE.sub("", page.read_text(encoding="utf-8"))
        for command in _INLINE.findall(text):
            yield str(page.relative_to(ROOT)), " ".join(command.split())


def _commands(block: Block) -> Iterator[TypedCommand]:
    need, typed = "", ""
    for number, row in enumerate(block.lines, block.line + 1):
        if not row.strip() or row.startswith("#"):
            need = row.removeprefix(_NEED) if row.startswith(_NEED) else ""
            continue
        typed += row
        if typed.endswith("\\"):
            typed = typed[:-1]
            continue
        yield TypedCommand(f"{block.page.relative_to(ROOT)}:{number}", _without_comment(typed), need)
        typed = ""


def _without_comment(text: str) -> str:
    """A comment begins with `#` behind two spaces."""
    return re.split(r"  +#|(?<=\S) # ", text)[0].strip()

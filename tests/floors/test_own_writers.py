"""Is every file that we write opened so that a planted link is not followed, and every one that we read so that a
planted pipe is not waited for? See base/files.py."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.floors.test_imports import PACKAGE, SOURCES

HELPERS = PACKAGE / "base" / "files.py"
NOT_OURS = (
    "gpus",
    "plain_reader",
    "machine",
    "hardware_check",
    "processes",
    "html_page",
    "board_assets",
    "verify_export",
)
"""Modules that read what the kernel or the package itself has, or run where there is no package."""


def unguarded(source: str) -> Iterator[str]:
    """Calls in `source` that write a file and would follow a link in its place, as `line: call`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and not _is_safe(node):
            yield f"{node.lineno}: {ast.unparse(node)}"


def _is_safe(call: ast.Call) -> bool:
    name, first = ast.unparse(call.func), ast.unparse(call.args[0]) if call.args else ""
    if name.rpartition(".")[2] in ("write_text", "write_bytes", "touch"):
        return name.startswith("files.")
    if name == "os.open":
        flags = ast.unparse(call.args[1])
        return "O_CREAT" not in flags or "O_EXCL" in flags or "O_NOFOLLOW" in flags
    if name.rpartition(".")[2] != "open":
        return True
    modes = [str(argument.value) for argument in _arguments(call) if isinstance(argument, ast.Constant)]
    writes = any(set("wa+") & set(mode) and len(mode) <= 3 for mode in modes)
    return not writes or first == "os.devnull" or any(keyword.arg == "opener" for keyword in call.keywords)


def waiting(source: str) -> Iterator[str]:
    """Calls in `source` that read a file and would wait for a pipe in its place, as `line: call`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and _waits(node):
            yield f"{node.lineno}: {ast.unparse(node)}"


def _waits(call: ast.Call) -> bool:
    name, text = ast.unparse(call.func), ast.unparse(call)
    if name.rpartition(".")[2] in ("read_text", "read_bytes"):
        return not name.startswith("files.") and "/proc/" not in text
    return name == "open" and "opener=" not in text and "os.devnull" not in text


def _arguments(call: ast.Call) -> list[ast.expr]:
    named = [keyword.value for keyword in call.keywords if keyword.arg == "mode"]
    return [*call.args[isinstance(call.func, ast.Name) :], *named]


def test_our_writers_follow_no_link() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES if path != HELPERS}
    assert [f"{path}:{call}" for path, text in texts.items() for call in unguarded(text)] == []


def test_our_readers_wait_for_no_pipe() -> None:
    texts = {path: path.read_text(encoding="utf-8") for path in SOURCES if path != HELPERS}
    calls = [f"{path.stem}:{call}" for path, text in texts.items() for call in waiting(text)]
    assert [call for call in calls if call.split(":")[0] not in NOT_OURS] == []


def test_control_a_reader_that_waits_is_found() -> None:
    for line in ("open(path)", "open(path, 'rb')", "path.read_text()", "(folder / 'x').read_bytes()"):
        assert len(list(waiting(line))) == 1
    for line in ("open(path, opener=files.plain)", "files.read_text(path)", "Path('/proc/self/statm').read_text()"):
        assert not list(waiting(line))


@pytest.mark.parametrize(
    "line",
    [
        "open(path, 'w')",
        "open(path, mode='ab')",
        "path.open('a')",
        "open(path, 'r+b')",
        "path.write_text('x')",
        "(folder / 'x').touch()",
        "os.open(path, os.O_WRONLY | os.O_CREAT)",
    ],
)
def test_control_a_writer_that_follows_links_is_found(line: str) -> None:
    assert len(list(unguarded(line))) == 1


@pytest.mark.parametrize("line", ["open(path, 'w', opener=files.no_link)", "open(path)", "open(path, 'xb')"])
def test_control_others_are_not(line: str) -> None:
    assert not list(unguarded(line))

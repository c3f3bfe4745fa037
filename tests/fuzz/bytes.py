"""Mutants of a file's bytes: torn, flipped, of other types, too deep, too large, in another encoding."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

WHOLE = (
    b"",
    b"\n",
    b"null",
    b"[]",
    b"{}",
    b"[[1]]",
    b'"text"',
    b"0",
    b"-1e999",
    b"NaN",
    b"\x00" * 4096,
    b"\xff\xfe\x00{",
)
DEEP = (b"[" * 100_000, b'{"a":' * 50_000)
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 2**63, 10**400, 1.5, float("nan"), float("inf"), -1e308, "", "text", "../../etc", "/",
    "\x1b[2J\x1b]0;owned\x07", "a\nb\r\tc", "\u202egnp.exe", "\ud800", "\x00", "9" * 5000, "x" * 100_000,
    [], {}, [[]], {"": None}, [None], ["a"], {"a": {"a": {}}},
)  # fmt: skip


def mutant(content: bytes, draw: random.Random) -> bytes:
    """One of many ways in which a file can be other than it was written."""
    return draw.choice(_WAYS)(content, draw)


def _cut(content: bytes, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def _flipped(content: bytes, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 4, 64)) if changed else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def _spliced(content: bytes, draw: random.Random) -> bytes:
    start, end = sorted(draw.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + draw.choice((content[start:end] * 2, b"", draw.randbytes(end - start))) + content[end:]


def _whole(content: bytes, draw: random.Random) -> bytes:
    return draw.choice((*WHOLE, *DEEP, content.decode("utf-8", "replace").encode("utf-16"), content * 3))


def _value(content: bytes, draw: random.Random) -> bytes:
    """One value of the JSON in it, or of one of its lines, is another or gone, or a key is."""
    lines = content.split(b"\n") if b"\n{" in content else [content]
    number = draw.randrange(len(lines))
    try:
        record = json.loads(lines[number])
    except ValueError:
        return _flipped(content, draw)
    lines[number] = json.dumps(_changed(record, draw)).encode()
    return b"\n".join(lines)


def _changed(value: Any, draw: random.Random) -> Any:
    """Descends to some place, and changes what is there."""
    if isinstance(value, (dict, list)) and value and draw.random() < 0.8:
        keys: Any = list(value) if isinstance(value, dict) else range(len(value))
        key = draw.choice(keys)
        copied = dict(value) if isinstance(value, dict) else list(value)
        if draw.random() < 0.1:
            del copied[key]
        else:
            copied[key] = _changed(copied[key], draw)
        return copied
    return draw.choice(VALUES)


_WAYS: tuple[Callable[[bytes, random.Random], bytes], ...] = (_cut, _flipped, _spliced, _whole, _value, _value, _value)

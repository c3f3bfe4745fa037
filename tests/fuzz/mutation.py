"""Mutation of inputs: bits, bytes, pieces, values and sizes that are other than they were."""

from __future__ import annotations

import random

PLANTED = "planted"
"""The file that code in a mutant makes, in the current folder."""
_CODE = (
    f"!!python/object/apply:os.system ['touch {PLANTED}']",
    f"_target_: os.system\ncommand: touch {PLANTED}\n",
    f"{{{{ cycler.__init__.__globals__.os.system('touch {PLANTED}') }}}}",
    f"__import__('os').system('touch {PLANTED}')",
)
_ODD = ("\\ud800", "\u202e", "${oc.env:HOME}", "../../..", "(a+)+$", "1000000000000", "&a", "*a", "<!--", "a: " * 200)
TOKENS = (
    *(mark.encode() for mark in ("{", "}", "[", "]", '"', "\\", ",", ":", "null", "true", "-1", "1e999", "NaN")),
    *(mark.encode() for mark in ("{%", "%}", "{{", "}}", "=", "+", "~", "/", "0x", "|", "'")),
    *(text.encode() for text in (*_CODE, *_ODD)),
    *(b"\x00", b"\xff", b"\xef\xbb\xbf", b"\r", b"\n", b"\t"),
    *(b"9" * 5000, b"[" * 3000, b'{"a":' * 3000),
    *((2**31 - 1).to_bytes(4, "little"), (2**63 - 1).to_bytes(8, "little")),
)


def mutant(content: bytes, draw: random.Random) -> bytes:
    """`content`, changed in one to four of its places; now and then cut off, doubled, or in another encoding."""
    way = draw.random()
    if way < 0.03:
        return content[: draw.randrange(len(content) + 1)]
    if way < 0.04:
        return content.decode("utf-8", "replace").encode(draw.choice(("utf-16", "utf-32", "utf-8-sig")), "replace")
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 1, 2, 4))):
        _change(changed, draw)
    return bytes(changed)


def _change(content: bytearray, draw: random.Random) -> None:
    place = draw.randrange(len(content) + 1)
    end = min(len(content), place + draw.choice((1, 1, 4, 8, 40)))
    way = draw.randrange(5)
    if way == 0 and place < len(content):
        content[place] ^= 1 << draw.randrange(8)
    elif way == 1:
        content[place:end] = draw.choice(TOKENS)
    elif way == 2:
        content[place:place] = draw.choice(TOKENS)
    elif way == 3:
        del content[place:end]
    else:
        start = draw.randrange(len(content) + 1)
        content[place:place] = content[start : start + draw.choice((1, 8, 64))]

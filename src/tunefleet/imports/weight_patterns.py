"""Names of weights: regular expressions of another tool as our shell patterns."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tunefleet.imports.draft import Draft

_PARTS = ((r"\\\.", "."), (r"\[0-9\]\+|\\d\+|\[\\d\]\+|\.\+", "?*"), (r"\.\*", "*"))
_SPECIAL = set("\\^$*+?{}()|")


def put_train_only(expressions: Sequence[str], draft: Draft, name: str) -> None:
    """The weights that are trainable alone; an expression that no shell pattern says is refused."""
    patterns = [_shell_pattern(expression) for expression in expressions]
    for expression, pattern in zip(expressions, patterns, strict=True):
        if not pattern:
            draft.refuse(f"{name}={expression}", "is an expression that no shell pattern of model.train_only says")
    if patterns and all(patterns):
        draft.put("model.train_only", list(dict.fromkeys(patterns)), name)


def _shell_pattern(expression: str) -> str:
    """The shell pattern of the names that begin as the expression says; empty where there is none."""
    pattern = expression.removeprefix("^")
    is_whole = pattern.endswith("$")
    pattern = pattern.removesuffix("$")
    for part, text in _PARTS:
        pattern = re.sub(part, text.replace("\\", r"\\"), pattern)
    plain = pattern.replace("?*", "").replace("*", "")
    if set(plain) & _SPECIAL or "[" in plain:
        return ""
    return pattern if is_whole or pattern.endswith("*") else f"{pattern}*"

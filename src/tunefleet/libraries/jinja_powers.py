"""Powers in Jinja templates: 10**10**10 would be computed for hours, and no signal ends that."""

from __future__ import annotations

from typing import Any

from jinja2.sandbox import SandboxedEnvironment

_BITS = 1 << 12  # of a result; Python writes out no longer numbers


def limit() -> None:
    """Templates that are compiled from now on raise `OverflowError` for powers that no text needs."""
    SandboxedEnvironment.intercepted_binops = frozenset({"**"})
    SandboxedEnvironment.default_binop_table = {**SandboxedEnvironment.default_binop_table, "**": _power}


def _power(base: Any, exponent: Any) -> Any:
    if isinstance(base, int) and isinstance(exponent, int) and base.bit_length() * exponent > _BITS:
        raise OverflowError(f"a power of more than {_BITS:,} bits")
    return base**exponent

"""Panics of the tokenizers library, which is written in Rust: they are no `Exception`, so nothing else catches them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from tunefleet.base.errors import ConfigError


@contextmanager
def refused() -> Iterator[None]:
    """Within it, a panic is raised as `ConfigError`."""
    try:
        yield
    except Exception:
        raise
    except BaseException as error:
        if type(error).__name__ != "PanicException":
            raise
        raise ConfigError(
            f"model.tokenizer: the tokenizer's files make the tokenizers library fail: {error}. A pattern of its "
            "pre-tokenizer may take too long. Fetch its files again, or name another tokenizer."
        ) from None

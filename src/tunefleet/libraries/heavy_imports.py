"""Heavy imports: torch, transformers and DeepSpeed are thousands of modules, which no garbage is looked for in."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tunefleet.base import garbage
from tunefleet.libraries import light_imports


@contextmanager
def heavy_imports(models: bool = True) -> Iterator[None]:
    """Within, the garbage collector waits: it would look through all that is imported so far a thousand times.

    Without `models` torch is not imported by this: tokenizers do without it.

    What is there at the end is never collected: a process would look through it at every full collection, and once
    more when it ends, for a second.
    """
    if "transformers" in sys.modules:  # a second time there is little to win, and a caller's garbage would stay
        yield
        return
    gc.disable()
    try:
        if models:
            light_imports.lighten()
        yield
    finally:
        gc.freeze()
        gc.enable()
        garbage.search_as_usual()

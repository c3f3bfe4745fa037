"""How an error reaches the person: our own messages without a traceback, bugs with one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tunefleet.base import stdio
from tunefleet.base.errors import INTERRUPTED, TunefleetError, UserError


@contextmanager
def friendly() -> Iterator[None]:
    """Ends the process with the error's exit code and its message on standard error.

    Output that cannot be written stops nothing.
    """
    stdio.protect()
    try:
        yield
    except UserError as error:
        print(_listed(error), file=sys.stderr)
        sys.exit(error.exit_code)
    except TunefleetError as error:
        print(f"tunefleet: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _listed(error: UserError) -> str:
    if len(error.complaints) == 1:
        return f"tunefleet: {error.complaints[0]}"
    lines = [f"tunefleet: {len(error.complaints)} things to mend:"]
    return "\n".join(lines + [f"  - {complaint}" for complaint in error.complaints])


def in_one_line(error: Exception) -> str:
    """What Hydra says about a mistake, without the link that it ends with."""
    return " ".join(line.strip() for line in str(error).split("See https")[0].splitlines()).strip()

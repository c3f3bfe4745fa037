"""How an error reaches the person: our own messages without a traceback, bugs with one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager

from tunefleet.base import stdio
from tunefleet.base.errors import INTERRUPTED, USER_ERROR, TunefleetError, UserError


@contextmanager
def friendly(mistakes: tuple[type[Exception], ...] = ()) -> Iterator[None]:
    """Ends the process with the error's exit code and its message on standard error.

    `mistakes` are a library's own errors that only the person's input can cause. Output that cannot be written
    stops nothing.
    """
    stdio.protect()
    try:
        yield
    except mistakes as error:
        print(f"tunefleet: {in_one_line(error)}", file=sys.stderr)
        sys.exit(USER_ERROR)
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
    return str(error).split("See https")[0].strip().replace("\n", ": ")

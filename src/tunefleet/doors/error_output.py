"""Error output: our own messages without a traceback, bugs with one, and the exit code."""

from __future__ import annotations

import errno
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tunefleet.base import disk, modes, secrets, stdio
from tunefleet.base.errors import DISK, INTERRUPTED, USER_ERROR, DiskError, TunefleetError, UserError

RESOLVING = "ConfigError raised while resolving interpolation: "
"""Before what a resolver of ours refuses, in OmegaConf's message."""
_OF_THE_FILE_SYSTEM = {  # what a path or a disk can be, whatever the program does; and the next move
    errno.EACCES: "Change its permissions, or choose another place.",
    errno.EPERM: "Change its permissions, or choose another place.",
    errno.EROFS: "Choose a place on another disk.",
    errno.ENOSPC: "Make room, or choose a place on another disk.",
    errno.EDQUOT: "Make room, or choose a place on another disk.",
    errno.EISDIR: "A file is needed there; move the folder away.",
    errno.ENOTDIR: "A folder is needed there; choose another place.",
    errno.ENAMETOOLONG: "Choose a shorter name.",
    errno.EINVAL: "A file is needed there; move away what is none.",
    errno.EFBIG: "No file of ours is that large; move it away.",
    errno.ELOOP: "A link stands in its place; remove the link.",
}


@contextmanager
def exit_on_error() -> Iterator[None]:
    """Ends the process with the error's exit code and its message on standard error.

    Output that cannot be written stops nothing.
    """
    stdio.protect()
    modes.keep()
    try:
        yield
    except UserError as error:
        print(secrets.redacted(_listed(error)), file=sys.stderr)
        sys.exit(error.exit_code)
    except TunefleetError as error:
        print(secrets.redacted(f"tunefleet: {error}"), file=sys.stderr)
        sys.exit(error.exit_code)
    except OSError as error:
        if not error.filename and isinstance(failure := disk.recognised(error, Path.cwd()), DiskError):
            print(f"tunefleet: {failure}", file=sys.stderr)
            sys.exit(DISK)
        if error.errno not in _OF_THE_FILE_SYSTEM or not error.filename:
            raise
        print(f"tunefleet: {error.filename}: {error.strerror}. {_OF_THE_FILE_SYSTEM[error.errno]}", file=sys.stderr)
        sys.exit(USER_ERROR)
    except KeyboardInterrupt:
        sys.exit(INTERRUPTED)


def _listed(error: UserError) -> str:
    if len(error.complaints) == 1:
        return f"tunefleet: {error.complaints[0]}"
    lines = [f"tunefleet: {len(error.complaints)} errors:"]
    return "\n".join(lines + [f"  - {complaint}" for complaint in error.complaints])


def in_one_line(error: Exception) -> str:
    """Hydra's message about a mistake, without the link that it ends with, and our own out of its wrapping."""
    text = " ".join(line.strip() for line in str(error).split("See https")[0].splitlines()).strip()
    return text.removeprefix(RESOLVING)

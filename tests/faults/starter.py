"""Start of a saved plan whose ranks only wait: `python -m tests.faults.starter RUN_DIRECTORY`."""

from __future__ import annotations

import sys
from pathlib import Path

from tests.faults import idle_rank
from tunefleet.doors.error_output import exit_on_error
from tunefleet.doors.start import start
from tunefleet.launch import local
from tunefleet.plan import Machine, Plan

if __name__ == "__main__":
    local.RANK_MODULE = idle_rank.__name__
    with exit_on_error():
        sys.exit(start(Plan.read(Path(sys.argv[1])), Machine.this()))

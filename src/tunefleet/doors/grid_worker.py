"""Point of a grid: `python -m tunefleet.doors.grid_worker RUN_DIRECTORY` starts the saved plan here."""

from __future__ import annotations

import sys
from pathlib import Path

from tunefleet.doors.error_output import exit_on_error
from tunefleet.doors.rank import end_with_launcher
from tunefleet.doors.start import start
from tunefleet.plan.plan import Plan
from tunefleet.plan.processes.machine import Machine


def main() -> None:
    """Ends with the run's exit code; its processes are new ones, whoever started the grid."""
    end_with_launcher()
    with exit_on_error():
        sys.exit(start(Plan.read(Path(sys.argv[1])), Machine()))


if __name__ == "__main__":
    main()

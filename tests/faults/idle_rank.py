"""Rank that only waits: `python -m tests.faults.idle_rank RUN_DIRECTORY`, a rank as every other, until it would train.

It does not listen to SIGTERM, as a rank that hangs, and ends when the run directory has a file `go`.
"""

from __future__ import annotations

import os
import signal
import time

from tunefleet.doors import rank
from tunefleet.plan import Plan


def idle(plan: Plan) -> int:
    """Says that it is there, and waits."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    (plan.paths.root / f"idle{os.environ['RANK']}").write_text(str(os.getpid()))
    while not (plan.paths.root / "go").exists():
        time.sleep(0.05)
    return 0


rank.train_plan = idle
if __name__ == "__main__":
    rank.main()

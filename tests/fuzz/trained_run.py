"""Mutants of a run with a checkpoint, an export, rows and prepared data, for commands that use its model.

Nothing trains: what `reproduce` and `resume` would start is replaced.
"""

from __future__ import annotations

import io
import os
from contextlib import redirect_stdout, suppress
from pathlib import Path
from unittest.mock import patch

from tests.faults.test_old_and_moved_runs import unpacked
from tests.fuzz.spoiled import Spoiled
from tests.stories.commands import tunefleet
from tunefleet.doors import cli
from tunefleet.launch import restarts

RUN = "saved"
SECONDS = 120
"""Of one command on a machine that is shared; the first one imports torch."""
COMMANDS = (
    ("export", RUN),
    ("export", RUN, "--checkpoint", "4"),
    ("export", RUN, "--overwrite"),
    ("evaluate", RUN),
    ("evaluate", RUN, "--checkpoint", "4"),
    ("chat", RUN),
    ("reproduce", RUN),
    ("resume", RUN),
    ("data", "batch", RUN, "--step", "3"),
)


def spoiled(folder: Path) -> Spoiled:
    """A run of version 0.1 that this one has finished, and exported.

    An export is compared in a process of its own, which takes seconds and reads what was just staged alone: left out.
    """
    from tunefleet.runs import checkpoint_export, evaluate, verify_export  # noqa: F401  # imported before memory is limited

    unpacked(folder)
    tunefleet(folder, "resume", RUN)
    patch.object(restarts, "run", lambda plan: 0).start()
    patch.object(verify_export, "verify", lambda folder, expected: {}).start()
    patch.dict(os.environ, {"HF_HOME": str(folder / "hf")}).start()
    with suppress(SystemExit), redirect_stdout(io.StringIO()):
        cli.main(["--outputs", str(folder / "outputs"), "export", RUN, "--overwrite"])
    assert (folder / "outputs" / RUN / "export" / "model.safetensors").exists()
    return Spoiled(folder / "outputs", COMMANDS, SECONDS)

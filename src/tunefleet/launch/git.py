"""Git: the output of one command in a folder; None where there is no answer."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

_REDIRECTIONS = ("GIT_DIR", "GIT_WORK_TREE", "GIT_INDEX_FILE", "GIT_PREFIX")  # a hook sets them for its own repository


def output(folder: Path, *arguments: str) -> bytes | None:
    """What `git WORDS` prints in `folder`; None where git refuses, or there is no git or no repository."""
    environment = {name: value for name, value in os.environ.items() if name not in _REDIRECTIONS}
    environment["GIT_OPTIONAL_LOCKS"] = "0"  # the user may be committing at this moment
    try:
        done = subprocess.run(
            ["git", *arguments], cwd=folder, env=environment, stdin=subprocess.DEVNULL, capture_output=True, check=False
        )
    except OSError:
        return None
    return done.stdout if done.returncode == 0 else None

"""Push of an export to a hub, by Hugging Face's own program, in a process of its own: this one stays offline."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

from tunefleet.base import delivery
from tunefleet.base.errors import ConfigError, RunError

_REPOSITORY = re.compile(r"[A-Za-z0-9][\w.-]{0,95}/[A-Za-z0-9][\w.-]{0,95}")
_OFFLINE = ("HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_DATASETS_OFFLINE")
_CARD = "README.md"


def expect_name(repository: str) -> None:
    """Raises `ConfigError` for what no repository can be called."""
    if not _REPOSITORY.fullmatch(repository):
        raise ConfigError(f"--push: {repository!r} is no repository. Name it as OWNER/NAME.")


def push(folder: Path, repository: str) -> None:
    """Uploads what an export left in `folder`, and nothing else there; a new repository is private.

    Raises `RunError` with the last thing that the program said where it fails.
    """
    record = delivery.record(folder) or {"files": {}}
    names = [*record["files"], *([_CARD] if (folder / _CARD).exists() else [])]
    program = Path(sys.executable).with_name("hf")
    command = [str(program), "upload", repository, str(folder), ".", "--private", "--quiet"]
    environment = {name: value for name, value in os.environ.items() if name not in _OFFLINE}
    included = [argument for name in names for argument in ("--include", name)]
    done = subprocess.run([*command, *included], env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = [
            line.strip(" \u2502\u2570\u256d") for line in (done.stderr or done.stdout).splitlines() if line.strip()
        ]
        reason = " ".join(lines[-1:])[:300] or f"exit code {done.returncode}"
        raise RunError(f"{folder}: is written, and was not pushed to {repository}: {reason}")

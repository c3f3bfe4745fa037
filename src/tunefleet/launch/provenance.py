"""Provenance of a run: the commit, the edits, the versions, who started it and how."""

from __future__ import annotations

import getpass
import hashlib
import os
import platform
import re
import shlex
import socket
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from importlib import metadata
from pathlib import Path

from tunefleet.base import files, secrets
from tunefleet.base.paths import RunPaths
from tunefleet.launch import git, project

_SHORT = 7
_REDACTED_DIFF = "# This diff held secrets, which read *** here: git may not apply it."
_PREFIXES = ("-c", "diff.noprefix=false", "-c", "diff.mnemonicPrefix=false")
_DIFF = (
    *_PREFIXES,
    "diff",
    "--no-color",
    "--no-ext-diff",
    "--no-textconv",
    "--binary",
    "HEAD",
    "--",
    ":(top)",
)  # for `git apply`
_NO_SECRET_FILES = tuple(f":(top,exclude,icase,glob)**/{pattern}" for pattern in secrets.FILES)
_PACKAGES = (
    "tunefleet",
    "torch",
    "triton",
    "deepspeed",
    "transformers",
    "tokenizers",
    "huggingface-hub",
    "safetensors",
    "accelerate",
    "peft",
    "bitsandbytes",
    "flash-attn",
    "numpy",
    "jinja2",
    "hydra-core",
    "omegaconf",
    "submitit",
    "optuna",
    "wandb",
)


@dataclass(frozen=True)
class Provenance:
    """What is needed to start the same run again. Texts are empty where git knows nothing of the code."""

    commit: str
    branch: str
    dirty: bool
    """Whether files that git tracks differ from the commit."""
    untracked: Sequence[str]
    """Files that git neither tracks nor ignores; a folder of such files is named once."""
    python: str
    packages: dict[str, str]
    host: str
    user: str
    command: str
    time: str
    """When it was recorded, with the offset from UTC."""
    snapshot: str = ""
    """The digest of the code snapshot; empty where the run uses the project's own files."""
    diff: str = field(default="", repr=False)
    """The edits against the commit, as text, without secrets; saved in a file of its own."""


def record(repository: Path, snapshot: str = "") -> Provenance:
    """The provenance of a run that this process starts now; nothing heavy is imported for it."""
    tracked = bool(_git(repository, "ls-files", str(project.PACKAGE)))  # git may be one of a folder around our code
    diff = _without_secrets(_git(repository, *_DIFF, *_NO_SECRET_FILES)) if tracked else ""
    untracked = _git(repository, "ls-files", "-z", "--others", "--exclude-standard", "--directory") if tracked else ""
    return Provenance(
        commit=_git(repository, "rev-parse", "--verify", "HEAD").strip() if tracked else "",
        branch=_git(repository, "branch", "--show-current").strip() if tracked else "",
        dirty=bool(diff),
        untracked=[name for name in untracked.split("\0") if name],
        python=platform.python_version(),
        packages=_versions(),
        host=socket.gethostname(),
        user=_user(),
        command=secrets.redacted(shlex.join(sys.orig_argv).encode(errors="replace").decode()),
        time=datetime.now().astimezone().isoformat(timespec="seconds"),
        snapshot=snapshot,
        diff=diff,
    )


def write(path: Path, provenance: Provenance) -> None:
    """Replaces the file atomically, and the diff beside it; no edits, no diff."""
    diff = RunPaths(path.parent).diff
    if provenance.dirty:
        files.write_text(diff, provenance.diff)
    else:
        diff.unlink(missing_ok=True)
    files.write_json(path, {name: value for name, value in asdict(provenance).items() if name != "diff"})


def read(path: Path) -> Provenance | None:
    """The provenance in `path`, or None where there is none that can be read."""
    try:
        saved = files.read_json(path)
        values = {f.name: saved[f.name] for f in fields(Provenance) if f.name in saved}
        diff = files.read_bytes(RunPaths(path.parent).diff).decode() if saved["dirty"] else ""  # line ends as they were
        return Provenance(**{**values, "diff": diff})
    except (OSError, ValueError, KeyError, TypeError):
        return None


def differences(recorded: Provenance, current: Provenance) -> list[str]:
    """What has changed, a line each, such as `torch: 2.6.0 then, 2.7.1 now`; host, user and time may change."""
    old, new = _facts(recorded), _facts(current)
    if not (recorded.snapshot and current.snapshot):  # where one had none, commit and edits tell
        old["snapshot"] = new["snapshot"] = ""
    pairs = ((name, old.get(name, "absent"), new.get(name, "absent")) for name in {**old, **new})
    return [f"{name}: {earlier} then, {after} now" for name, earlier, after in pairs if earlier != after]


def _facts(provenance: Provenance) -> dict[str, str]:
    """What decides how a run goes, by name."""
    return {
        "commit": provenance.commit[:_SHORT] or "unknown",
        "uncommitted edits": _described(provenance.diff),
        "snapshot": provenance.snapshot,
        "Python": provenance.python,
        **provenance.packages,
    }


def _described(diff: str) -> str:
    digest = hashlib.sha256(diff.encode()).hexdigest()[:_SHORT]
    return f"a diff of {len(diff.splitlines())} lines ({digest})" if diff else "none"


def _git(repository: Path, *arguments: str) -> str:
    return (git.output(repository, *arguments) or b"").decode(errors="replace")


def _without_secrets(diff: str) -> str:
    """A diff with *** in the place of secrets; where there are some, its first line says so, which git passes over."""
    parts = re.split(r"^(?=diff --git )", diff, flags=re.MULTILINE)
    text = "".join(part if "\nGIT binary patch\n" in part else _redacted_part(part) for part in parts)
    return text if text == diff else f"{_REDACTED_DIFF}\n{text}"


def _redacted_part(part: str) -> str:
    """The diff of one file: code keeps its expressions."""
    name = part.partition("\n")[0]
    return secrets.redacted_code(part) if name.endswith(".py") else secrets.redacted(part)


def _versions() -> dict[str, str]:
    versions = {}
    for name in _PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container without /etc/passwd
        return str(os.getuid())

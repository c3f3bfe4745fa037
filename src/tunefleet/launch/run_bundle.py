"""Bundle of a run: one file to send when something failed, without weights, data and secrets."""

from __future__ import annotations

import io
import json
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tarfile
import time
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path
from typing import IO, Any

from tunefleet.base import disk, files, secrets
from tunefleet.base.errors import RunError
from tunefleet.base.paths import RunPaths
from tunefleet.launch import submission

LINES = 200
"""Last lines of each log and of metrics.jsonl."""
_MEMBER_BYTES = 1 << 20
BYTES = 32 << 20
"""All members together, before they are compressed: of the logs of thousands of ranks the last are left out."""
_FILES_LISTED = 2000
_RECORDS = (
    *("status.json", "plan.json", "provenance.json"),
    *("submission.json", "rung.json", "data.json", "hang.json", "order.json"),
)
_ANSWERS = re.compile(r"^ {2,}(?:->|!=|==) ")  # of the model, below the row that was asked
_VARIABLES = re.compile(r"(?:SLURM|NCCL|CUDA|OMP|TORCH|PYTORCH|DS|DEEPSPEED|GLOO|UCX|HF|WANDB|MASTER)_|LD_LIB")
_EXPLANATION = """What a run of tunefleet left behind, to be read by whoever helps. There are no weights in it, no rows
of data and no answers of the model; whatever looked like a secret reads ***. It is text: look before you send it.
"""


def write(run: RunPaths, target: Path) -> list[str]:
    """Writes `target` (a new .tar.gz); returns a line for each member, and for each file that could not be taken.

    Raises `RunError` where `target` is there already, or has no folder; `DiskError` where its disk has no room.
    """
    _expect_new(target)
    members, notes = _members(run)
    contents = [f"{name}: {len(content):,} bytes" for name, content in members.items()] + notes
    members = {"CONTENTS.txt": (_EXPLANATION + "\n" + "\n".join(contents) + "\n").encode(), **members}
    packed = io.BytesIO()  # of 32 MiB at most: what is needed of the disk is known before it is written
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in members.items():
            _add(archive, f"{run.root.name}/{name}", content)
    disk.expect_room(target, packed.tell())
    try:
        with disk.writing(target, packed.tell()), _opened(target) as stream:
            stream.write(packed.getbuffer())
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return contents


def hint(path: str) -> str:
    """What the console of a failed run ends with; `path` is the run's directory."""
    return f"tunefleet: one file to send about it: tunefleet bundle {shlex.quote(path)}"


def _opened(target: Path) -> IO[bytes]:
    return open(target, "xb", opener=lambda name, flags: os.open(name, flags, 0o600))


def _expect_new(target: Path) -> None:
    if os.path.lexists(target):
        raise RunError(f"{target}: is there already, and nothing is overwritten. Choose another name: --to FILE.")
    if not target.absolute().parent.is_dir():
        raise RunError(f"{target}: there is no folder {target.parent}. Make it, or choose another place: --to FILE.")


def _members(run: RunPaths) -> tuple[dict[str, bytes], list[str]]:
    """{name: content} in order of importance, and what is missing, torn, or too much."""
    members: dict[str, bytes] = {}
    notes: list[str] = []
    for name, source in _sources(run):
        try:
            content = (source() if callable(source) else _text(source, name, notes)).encode()
        except OSError as error:
            if name in _RECORDS[:3] or not isinstance(error, FileNotFoundError):
                notes.append(f"{name}: left out: {error.strerror or error}")
            continue
        if sum(map(len, members.values())) + len(content) > BYTES:
            notes.append(f"{name}: left out: the bundle has its {BYTES >> 20} MiB")
        else:
            members[name] = content
    return members, notes


def _sources(run: RunPaths) -> Iterator[tuple[str, Any]]:
    """(name, file or function of the text), what tells most first."""
    yield "versions.json", _versions
    yield from ((name, run.root / name) for name in _RECORDS)
    yield from ((name, run.root / name) for name in ("attempts.jsonl", "metrics.jsonl", "batches.jsonl", "code.diff"))
    logs = sorted(run.root.glob("logs/*"), key=lambda path: (path.suffix == ".log", _rank(path), path.name))
    yield from ((f"logs/{path.name}", path) for path in logs)
    yield from _of_job(run)
    yield "checkpoints/latest.json", run.checkpoints / "latest.json"
    yield "files.txt", lambda: _listing(run.root)


def _rank(path: Path) -> int:
    return int((re.findall(r"\d+", path.name) or ["0"])[0])


def _of_job(run: RunPaths) -> Iterator[tuple[str, Path]]:
    """The submission, the batch script and what it printed, of a run that was a SLURM job."""
    place = submission.place(run)
    if place is None:
        return
    folder = Path(place.submission.folder)
    yield from ((f"slurm/{path.name}", path) for path in sorted(folder.glob("*")) if path.is_file())
    yield "slurm/job.sh", folder / "slurm" / "job.sh"
    yield f"slurm/{place.batch_log.name}", place.batch_log


def _text(path: Path, name: str, notes: list[str]) -> str:
    """The file without secrets: JSON whole, of what grows the end. Raises `OSError`."""
    if path.is_symlink() or not path.is_file():
        if os.path.lexists(path):
            raise OSError(0, "it is no plain file")
        raise FileNotFoundError(2, "it is not there")
    text = _tail(path) if path.suffix in (".log", ".out", ".jsonl") else _head(path, name, notes)
    if path.suffix in (".log", ".out"):
        text = _without_answers(text)
    if path.suffix != ".json":
        return secrets.redacted_code(text) if path.suffix == ".diff" else secrets.redacted(text)
    try:
        value = files.parse_json(text.encode())
        return json.dumps(secrets.redacted_values(value), indent=2, ensure_ascii=False) + "\n"
    except (ValueError, RecursionError):
        notes.append(f"{name}: torn, and taken as it is")
        return secrets.redacted(text)


def _head(path: Path, name: str, notes: list[str]) -> str:
    with open(path, "rb", opener=files.plain) as stream:
        content = stream.read(_MEMBER_BYTES + 1)
    if len(content) > _MEMBER_BYTES:
        notes.append(f"{name}: its first {_MEMBER_BYTES >> 20} MiB alone")
    return content[:_MEMBER_BYTES].decode(errors="replace")


def _tail(path: Path) -> str:
    """The last lines, of a long file the last megabyte of them."""
    with open(path, "rb", opener=files.plain) as stream:
        stream.seek(max(0, path.stat().st_size - _MEMBER_BYTES))
        lines = stream.read(_MEMBER_BYTES).decode(errors="replace").split("\n")
    return "\n".join(lines[-LINES - 1 :])


def _without_answers(text: str) -> str:
    """A log without the rows of the validation split and the model's answers, which end a run's report."""
    lines = text.split("\n")
    answers = {number for number, line in enumerate(lines) if _ANSWERS.match(line)}
    rows = {number - 1 for number in answers} - answers
    return "\n".join(
        "  (a row or an answer)" if number in answers | rows else line for number, line in enumerate(lines)
    )


def _listing(root: Path) -> str:
    """Every file below the run with its size and time, checkpoints and exports too; no content of them."""
    lines = []
    for folder, _, names in os.walk(root):
        for name in sorted(names):
            path = Path(folder, name)
            information = path.lstat()
            modified = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(information.st_mtime))
            lines.append(
                f"{oct(information.st_mode)[-3:]} {information.st_size:>14,} {modified} {path.relative_to(root)}"
            )
    more = [f"... and {len(lines) - _FILES_LISTED} more"] if len(lines) > _FILES_LISTED else []
    return secrets.redacted("\n".join([*lines[:_FILES_LISTED], *more]) + "\n")


def _versions() -> str:
    """Python, packages, system, GPUs and disk of this machine, and the environment that ranks read, as JSON."""
    packages = {dist.metadata["Name"]: dist.version for dist in metadata.distributions() if dist.metadata["Name"]}
    space = shutil.disk_usage(Path.cwd())
    variables = {name: value for name, value in sorted(os.environ.items()) if _VARIABLES.match(name)}
    values = {
        "python": sys.version,
        "platform": platform.platform(),
        "host": platform.node(),
        "cores": os.cpu_count(),
        "disk": {"total": space.total, "free": space.free},
        "gpus": _gpus(),
        "packages": dict(sorted(packages.items())),
        "environment": secrets.redacted_values(variables),
    }
    return json.dumps(values, indent=2) + "\n"


def _gpus() -> list[str]:
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total,memory.used", "--format=csv,noheader"]
    try:
        answer = subprocess.run(query, capture_output=True, text=True, timeout=10, check=False).stdout
    except (OSError, subprocess.SubprocessError):
        return []
    return answer.splitlines()


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode, member.mtime = len(content), 0o600, int(time.time())
    archive.addfile(member, io.BytesIO(content))

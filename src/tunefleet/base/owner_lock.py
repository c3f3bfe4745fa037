"""Lock of a file name: one process at a time, also on network disks, whose own file locks may do nothing.

A record of the owner stands under the name. It is made elsewhere and linked to the name, which only one process can do.
A dead owner's record is replaced by its one heir: who has the lock of that very record's succession, taken in the same
way. Processes that one owner has started may join: the lock is free when all of them are gone, too.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tunefleet.base import files, heartbeats, modes
from tunefleet.base import owner as owners
from tunefleet.base.errors import RunError
from tunefleet.base.owner import Owner

POLL = 0.2  # seconds
_YOUNG = 5.0  # seconds in which a record that cannot be read may be half written
_UNKNOWN = Owner("an unknown machine", 0)
Notify = Callable[[Owner], None]


class LockedError(RunError):
    """Another process has the lock; `owner` is one of those."""

    def __init__(self, path: Path, owner: Owner) -> None:
        self.owner = owner
        super().__init__(f"{path}: in use by {owner.describe()}. Wait for it.")


@contextmanager
def hold(path: Path, wait: float = 0.0, me: Owner | None = None, notify: Notify | None = None) -> Iterator[Owner]:
    """Has the lock `path` meanwhile; yields the owner that it has written, `me` or this process.

    Raises `LockedError` where another process has it for longer than `wait` seconds, after `notify` was called with it
    once; `OSError` where nothing can be written.
    """
    modes.make(path.parent)
    claim = me or Owner.current()
    content = claim.content()
    _take(path, claim, time.monotonic() + wait, notify)
    heartbeats.begin(path, lambda: _read(path) in (content, None))
    try:
        yield claim
    finally:
        heartbeats.end(path)
        _release(path, content)
        _forget_dead(path)


@contextmanager
def join(path: Path, me: Owner) -> Iterator[None]:
    """Is one of the processes of the start `me.start`, whose owner has the lock: that is not free before this ends.

    Raises `LockedError` where another start has it, or none.
    """
    member = path.with_name(f"{path.name}.{me.token}.joined")
    record = path.with_name(f"{path.name}.{me.token}.new")
    _write(record, me.content())
    os.replace(record, member)
    try:
        if not is_of(path, me.start):  # looked at after that was written: this start or the other one sees the other
            raise LockedError(path, claimed(path) or _UNKNOWN)
        heartbeats.begin(member, lambda: is_of(path, me.start))
        yield
    finally:
        heartbeats.end(member)
        member.unlink(missing_ok=True)


def claimed(path: Path) -> Owner | None:
    """Who is recorded as the owner, dead or alive; None where nobody is."""
    return owners.parsed(_read(path) or b"")


def is_of(path: Path, start: str) -> bool:
    """Whether the owner that is recorded is of `start`."""
    current = claimed(path)
    return current is not None and current.start == start


def living(path: Path, watch: float | None = None) -> list[Owner]:
    """Who has the lock now: the owner, and those who joined. `watch` is as in `owner.lives`; 0 only to show it."""
    current = _living_owner(path, _read(path), watch)
    members = [process for member, process in _records(path, ".joined") if owners.lives(member, process, watch)]
    return [current, *members] if current else members


def living_here(path: Path) -> list[Owner]:
    """The processes of this machine among those that have the lock now; nothing is written to find them."""
    recorded = [claimed(path), *(process for _, process in _records(path, ".joined"))]
    return [process for process in recorded if process and process.is_here and owners.lives(path, process)]


def _take(path: Path, claim: Owner, deadline: float, notify: Notify | None = None) -> None:
    """Returns when `claim` stands at `path`, and no process of another start lives."""
    record = path.with_name(f"{path.name}.{claim.token}.new")
    while rival := _living_owner(path, content := _read(path)) or _written(path, claim, record, content):
        if time.monotonic() >= deadline:
            raise LockedError(path, rival)
        if notify:
            notify(rival)
            notify = None
        time.sleep(POLL)


def _written(path: Path, claim: Owner, record: Path, dead: bytes | None) -> Owner | None:
    """Puts `claim` under the name, where `dead` may stand; returns a process that has the lock by now, or joined it."""
    _write(record, claim.content())
    try:
        while not _link(record, path, claim.content()):
            content = _read(path)
            if content != dead and (rival := _living_owner(path, content)):
                return rival
            dead = content
            if content is not None and _replace(path, content, claim, record):
                break
    except LockedError as error:  # another heir
        return error.owner
    finally:
        record.unlink(missing_ok=True)
    return _member_of_another_start(path, claim)


def _replace(path: Path, content: bytes, claim: Owner, record: Path) -> bool:
    """Puts `record` in the place of a dead owner's `content`, unless that has gone meanwhile. Raises `LockedError`."""
    heir = path.with_name(f"{path.name}.{hashlib.sha256(content).hexdigest()[:12]}.heir")
    _take(heir, claim, 0.0)
    try:
        if _read(path) != content:  # only its heir replaces it
            return False
        os.replace(record, path)
        return True
    finally:
        _release(heir, claim.content())


def _member_of_another_start(path: Path, claim: Owner) -> Owner | None:
    """A living process that keeps `claim` from the lock, which is given back."""
    for member, process in _records(path, ".joined"):
        if process.start != claim.start and owners.lives(member, process):
            _release(path, claim.content())
            return process
    _forget_dead(path)
    return None


def _forget_dead(path: Path) -> None:
    """Removes the records that processes have left which were killed."""
    with suppress(OSError):
        for record, process in _records(path, ".joined", ".new", ".heir"):
            if not owners.lives(record, process, watch=0.0):
                record.unlink(missing_ok=True)


def _records(path: Path, *kinds: str) -> list[tuple[Path, Owner]]:
    """Files beside the lock, and who has written them."""
    try:
        names = [name for name in os.listdir(path.parent) if name.startswith(f"{path.name}.") and name.endswith(kinds)]
    except OSError:
        return []
    files = [(path.with_name(name), owners.parsed(_read(path.with_name(name)) or b"")) for name in sorted(names)]
    return [(record, process) for record, process in files if process]


def _living_owner(path: Path, content: bytes | None, watch: float | None = None) -> Owner | None:
    """The owner whose record `content` is, if it lives. One without a record may be writing it, or of version 0.1."""
    if content is None:
        return None
    current = owners.parsed(content)
    if current is None and _is_flocked(path):
        return _UNKNOWN
    deadline = time.monotonic() + _YOUNG
    while current is None and _is_young(path) and time.monotonic() < deadline:
        time.sleep(POLL)
        current = claimed(path)
    return current if current and owners.lives(path, current, watch) else None


def _is_young(path: Path) -> bool:
    try:
        return owners.disk_time(path.parent) - (owners.modified(path) or 0.0) < _YOUNG
    except OSError:
        return False


def _is_flocked(path: Path) -> bool:
    """Whether a process of version 0.1 has it, which wrote no record."""
    try:
        with open(path, "rb", opener=files.plain) as stream:
            fcntl.flock(stream, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:
        return False
    return False


def _link(record: Path, path: Path, content: bytes) -> bool:
    """Whether `path` is now another name of `record`; False where there is one already. Raises `OSError`."""
    try:
        os.link(record, path)
    except FileExistsError:
        return _read(path) == content  # a network disk may repeat what was done, and then refuse it
    except OSError as error:
        if error.errno not in files.NO_LINKS:
            raise
        return _create(path, content)
    return True


def _create(path: Path, content: bytes) -> bool:
    """The same on a disk without links."""
    try:
        _write(path, content)
    except FileExistsError:
        return False
    return True


def _write(path: Path, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)


def _release(path: Path, content: bytes) -> None:
    with suppress(OSError):  # its folder may be gone, or not be writable any more
        if _read(path) == content:
            path.unlink()


def _read(path: Path) -> bytes | None:
    try:
        return files.read_bytes(path)
    except OSError:
        return None

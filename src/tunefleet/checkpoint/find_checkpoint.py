"""The checkpoint to resume from: the one of the highest step every byte of which is as it was saved."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from tunefleet.base import checksums
from tunefleet.base.errors import RunError
from tunefleet.checkpoint import checkpoint_manifest, folders, pointer
from tunefleet.checkpoint.checkpoint_manifest import Manifest
from tunefleet.checkpoint.pointer import Pointer
from tunefleet.contracts import Group, RunState

SHARDS = "shards"
_UNIVERSAL = ("universal.tmp", "latest_universal")  # left by an earlier version that was killed


@dataclass(frozen=True)
class Checkpoint:
    """A checkpoint every byte of which is as it was saved, by `ranks` processes."""

    folder: Path
    state: RunState
    ranks: int
    note: str = ""
    """Why it is this one, where it is not the one that was saved last."""
    damaged: tuple[Path, ...] = ()
    """Those of higher steps, which are not as they were saved."""
    digest: str = ""
    """The SHA-256 of its manifest."""
    early_stopping: Mapping[str, float] = field(default_factory=dict)
    """What early stopping knew when it was saved."""
    same_strategy: bool = True
    """Whether the same parallel group saved it."""

    @property
    def shards(self) -> Path:
        """The folder of DeepSpeed's files."""
        return self.folder / SHARDS


@dataclass(frozen=True)
class _Listing:
    """What rank 0 sees in the folder of the checkpoints: names, the one to be tried first first."""

    names: list[str]
    set_aside: list[str]
    pointer: Pointer | None
    complaint: str


def newest(folder: Path, identity: str, group: Group, trajectory: str = "") -> Checkpoint | None:
    """The checkpoint below `folder` to resume from, or None where nothing was ever saved there. Collective.

    Raises `RunError` where checkpoints exist and none of them can be used, or where they are those of another
    configuration than `identity`; another strategy for the same `trajectory` is none.
    """
    listing = _shared_listing(folder, group)
    digests = listing.pointer.manifests if listing.pointer else {}
    complaints: list[str] = []
    for name in listing.names:
        checkpoint = _read(folder / name, (identity, trajectory), digests.get(name), group)
        if isinstance(checkpoint, Checkpoint):
            damaged = tuple(folder / name for name in listing.names[: len(complaints)])
            return replace(checkpoint, note=_note(checkpoint, listing, complaints), damaged=damaged)
        complaints.append(checkpoint)
    if complaints := [*_of_pointer(listing), *complaints, *_of_set_aside(listing)]:
        raise RunError(
            f"{folder}: none of the checkpoints there can be used: {'; '.join(complaints)}. Put the files back, "
            "or remove the folder to start again from the first step."
        )
    return None


def of_step(folder: Path, step: int, identity: str, group: Group, trajectory: str = "") -> Checkpoint:
    """The checkpoint of `step`. Raises `RunError` where there is none, or it is not as it was saved. Collective."""
    listing = _shared_listing(folder, group)
    name = next((name for name in listing.names if folders.step_of(name) == step), None)
    steps = ", ".join(str(folders.step_of(name)) for name in reversed(listing.names)) or "none"
    if name is None:
        raise RunError(f"{folder}: no checkpoint of step {step} is there. Steps that are: {steps}.")
    digests = listing.pointer.manifests if listing.pointer else {}
    checkpoint = _read(folder / name, (identity, trajectory), digests.get(name), group)
    if isinstance(checkpoint, Checkpoint):
        return checkpoint
    raise RunError(f"{checkpoint}. Put the file back, or choose another step of {steps}.")


def latest(folder: Path, step: int | None = None) -> tuple[int, float]:
    """(step, when it was saved) of the checkpoint of the highest step, or of `step`; (0, 0) where there is none.

    It is not verified.
    """
    for path in reversed(folders.checkpoints(folder)):
        if step is not None and folders.step_of(path.name) != step:
            continue
        try:
            manifest = checkpoint_manifest.read(path)
        except ValueError:
            continue
        return manifest.state.step, manifest.saved
    return 0, 0.0


def _shared_listing(folder: Path, group: Group) -> _Listing:
    """What rank 0 sees. Collective."""
    values = group.gather(asdict(_listing(folder)))[0]
    pointed = values.pop("pointer")
    return _Listing(**values, pointer=Pointer(**pointed) if pointed else None)


def _listing(folder: Path) -> _Listing:
    names = [path.name for path in reversed(folders.checkpoints(folder))]
    set_aside = [path.name for path in folders.damaged(folder)]
    try:
        pointed = pointer.read(folder)
    except ValueError as error:
        return _Listing(names, set_aside, None, str(error))
    reason = _why_not_newest(pointed, names)
    return _Listing(names, set_aside, pointed, f"{folder / pointer.FILE}: {reason}" if reason else "")


def _why_not_newest(pointed: Pointer | None, names: Sequence[str]) -> str:
    """What is wrong with a pointer; empty where it names the highest step, or there is nothing to name."""
    if pointed is None:
        return "is missing" if names else ""
    if pointed.checkpoint not in names:
        return f"names {pointed.checkpoint}, which is no checkpoint there"
    return "" if pointed.checkpoint == names[0] else f"names {pointed.checkpoint}, and {names[0]} is there"


def _read(folder: Path, run: tuple[str, str], digest: str | None, group: Group) -> Checkpoint | str:
    """The checkpoint in `folder`, or why it cannot be used; `run` is its identity and its trajectory."""
    manifest, complaint = _shared_manifest(folder, digest, group)
    if manifest is None:
        return str(complaint)
    identity, trajectory = run
    if manifest.identity != identity and not (trajectory and manifest.trajectory == trajectory):
        raise RunError(f"{folder / checkpoint_manifest.FILE}: of another configuration. Choose another name=...")
    if changed := changes(folder, manifest, group):
        return f"{folder / changed[0]}"
    return Checkpoint(
        folder,
        manifest.state,
        manifest.ranks,
        digest=manifest.digest,
        early_stopping=manifest.early_stopping,
        same_strategy=manifest.identity == identity,
    )


def _shared_manifest(folder: Path, digest: str | None, group: Group) -> tuple[Manifest | None, str]:
    """What rank 0 reads. Collective."""
    manifest, complaint = _manifest(folder, digest)
    values, complaint = group.gather((asdict(manifest) if manifest else None, complaint))[0]
    return Manifest(**{**values, "state": RunState(**values["state"])}) if values else None, complaint


def _manifest(folder: Path, digest: str | None) -> tuple[Manifest | None, str]:
    """(the manifest of `folder`, why it cannot be used); `digest` is the pointer's."""
    try:
        manifest = checkpoint_manifest.read(folder)
    except ValueError as error:
        return None, str(error)
    if digest and digest != manifest.digest:
        complaint = f"changed since it was saved: SHA-256 {manifest.digest[:16]}, expected {digest[:16]}"
        return None, f"{folder / checkpoint_manifest.FILE}: {complaint}"
    if manifest.state.step != folders.step_of(folder.name):
        return None, f"{folder / checkpoint_manifest.FILE}: is of step {manifest.state.step}"
    return manifest, ""


def changes(folder: Path, saved: Manifest, group: Group) -> list[str]:
    """What in a checkpoint is not as it was saved, as `name: what`; each rank reads its part. Collective."""
    part = dict(sorted(saved.files.items())[group.rank :: group.size])
    changed = sorted(change for reasons in group.gather(checksums.changes(folder, part)) for change in reasons)
    present = checksums.names(folder, without=(checkpoint_manifest.FILE, *_UNIVERSAL))
    added = [f"{name}: was not there when it was saved" for name in present if name not in saved.files]
    return [*changed, *group.gather(added)[0]]


def _of_pointer(listing: _Listing) -> list[str]:
    return [listing.complaint] if listing.complaint else []


def _of_set_aside(listing: _Listing) -> list[str]:
    return [f"{', '.join(listing.set_aside)}: set aside earlier"] if listing.set_aside else []


def _note(checkpoint: Checkpoint, listing: _Listing, complaints: Sequence[str]) -> str:
    """Which checkpoints and pointers are not as they should be, and how many steps that costs."""
    complaints = [*_of_pointer(listing), *complaints]
    if not complaints:
        return ""
    names = [*listing.names, listing.pointer.checkpoint if listing.pointer else ""]
    lost_steps = max(map(folders.step_of, names)) - checkpoint.state.step
    losses = f", so {lost_steps} step{'s' * (lost_steps > 1)} more must be computed again" if lost_steps > 0 else ""
    newest_step = f"Step {checkpoint.state.step} is the newest that is as it was saved{losses}"
    return f"{'; '.join(complaints)}. {newest_step}: {checkpoint.folder}"

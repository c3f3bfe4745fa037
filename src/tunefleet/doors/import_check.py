"""`tunefleet import --check`: how many files of a folder convert and plan, and what keeps the others."""

from __future__ import annotations

import os
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tunefleet.base import files
from tunefleet.base.errors import DONE, ConfigError
from tunefleet.doors import compose, model_stand_in, plan
from tunefleet.doors.import_file import SCRIPTS, TO_INSTALL, Wish, drafted, on_machine
from tunefleet.imports.draft import Draft
from tunefleet.imports.experiment_text import experiment_text
from tunefleet.imports.option import Kind

_SUFFIXES = (".yaml", ".yml", *SCRIPTS)
MACHINE = "8xH100-80G"
"""What the files are planned for unless another machine is named."""
_LONGEST = 110  # characters of a reason in the sums


@dataclass(frozen=True)
class Verdict:
    """What became of a file: `converts` and `plans`, with the reasons where it does not."""

    path: Path
    title: str
    converts: bool
    plans: bool
    reasons: tuple[str, ...]
    missing: tuple[str, ...] = ()
    """The reasons without values, to be counted."""
    is_near: bool = False

    @property
    def column(self) -> str:
        """Its column in the list."""
        if not self.converts:
            return "refused"
        if not self.plans:
            return "no plan"
        return "nearly" if self.is_near else "converts"


def check(folder: Path, wish: Wish, machine: str | None) -> int:
    """Prints a line for each configuration below `folder`, the share that converts and plans, and what is missing.

    Raises `ConfigError` where it is no folder.
    """
    if not folder.is_dir():
        raise ConfigError(f"--check: {folder} is not a folder of configurations.")
    verdicts, unknown = [], 0
    for path in _configurations(folder):
        verdict = judge(path, wish, machine or MACHINE)
        unknown += verdict is None
        if verdict:
            verdicts.append(verdict)
            print(f"{verdict.column:10} {os.path.relpath(path, folder)} ({verdict.title}){_reasons(verdict)}")
    print(*_sums(verdicts, unknown), sep="\n")
    return DONE


def judge(path: Path, wish: Wish, machine: str) -> Verdict | None:
    """What becomes of a file; None where it is no configuration that we know."""
    try:
        draft = drafted(path, on_machine(wish, machine))
    except ConfigError:
        return None
    if draft.refusals:
        missing = tuple(f"{remark.option.split('=')[0]}: {remark.note}" for remark in draft.refusals)
        return Verdict(path, draft.title, False, False, tuple(map(str, draft.refusals)), missing)
    complaints = tuple(_complaints(draft, path, machine))
    return Verdict(
        path, draft.title, True, not complaints, complaints, complaints, bool(draft.of_kinds([Kind.APPROXIMATE]))
    )


def _configurations(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.suffix in _SUFFIXES and path.is_file())


def _complaints(draft: Draft, path: Path, machine: str) -> Iterator[str]:
    """What the plan has against the experiment, apart from a model or a package that is not on this machine."""
    with tempfile.TemporaryDirectory() as folder:
        target = Path(folder) / "experiment" / "imported.yaml"
        files.write_text(target, experiment_text(draft, path.name, ""))
        overrides = [f"--config-dir={folder}", "experiment=imported"]
        error = _plan_error(overrides, machine)
        if error and model_stand_in.is_absent(error):
            error = _plan_error([*overrides, f"model={model_stand_in.choice(str(draft.value('model.path')))}"], machine)
        complaints = model_stand_in.other_complaints(error) if error else []
        yield from (complaint for complaint in complaints if TO_INSTALL not in complaint)


def _plan_error(overrides: Sequence[str], machine: str) -> ConfigError | None:
    try:
        plan.shortfalls(compose.from_overrides(overrides, with_project_conf=False), machine)
    except ConfigError as error:
        return error
    return None


def _reasons(verdict: Verdict) -> str:
    return "".join(f"\n             {reason}" for reason in verdict.reasons)


def _sums(verdicts: Sequence[Verdict], unknown: int) -> Iterator[str]:
    """The share in all and by tool, and the reasons by how many files they keep."""
    yield ""
    for title in dict.fromkeys(verdict.title for verdict in verdicts):
        yield f"{title}: {_share([verdict for verdict in verdicts if verdict.title == title])}"
    if verdicts:
        yield f"all: {_share(verdicts)}"
    yield f"{unknown} other files hold no configuration that trains, or none that we know"
    reasons = Counter(name[:_LONGEST] for verdict in verdicts for name in set(verdict.missing))
    if reasons:
        yield "what is missing, by files:"
        yield from (f"  {count:4} {reason}" for reason, count in reasons.most_common(20))


def _share(verdicts: Sequence[Verdict]) -> str:
    count = sum(verdict.plans for verdict in verdicts)
    approximate_count = sum(verdict.plans and verdict.is_near for verdict in verdicts)
    return (
        f"{count} of {len(verdicts)} convert and plan ({count / len(verdicts):.0%}), {approximate_count} of them nearly"
    )

"""`tunefleet import`: another tool's configuration as an experiment of ours, and its plan."""

from __future__ import annotations

import os
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.doors import model_stand_in, plan, yaml_files
from tunefleet.imports import foreign_file
from tunefleet.imports.convert import convert
from tunefleet.imports.draft import Draft
from tunefleet.imports.experiment_text import experiment_text
from tunefleet.imports.option import Kind
from tunefleet.imports.tool import Source
from tunefleet.plan.estimate.gpus import cluster

_FOLDER = "experiment"
TO_INSTALL = "pip install"
"""What a complaint says that is about a package which this machine lacks."""
SCRIPTS = (".sh", ".bash", ".txt")


@dataclass(frozen=True)
class Wish:
    """What the user adds to a file: where it goes, what is left out, on how many processes it trained."""

    to: Path | None = None
    overwrite: bool = False
    without: tuple[str, ...] = ()
    processes: int | None = None
    machine_processes: int | None = None
    """Processes of the machine that is planned for, where neither the file nor the user says any."""
    dataset_folder: Path | None = None


def import_file(path: Path, wish: Wish, machine: str | None) -> None:
    """Writes the experiment of the file at `path`, prints what became of its options, and plans it.

    Raises `ConfigError` for a file that we do not know, options without a counterpart, and a file that is there.
    """
    draft = drafted(path, on_machine(wish, machine))
    if draft.refusals:
        raise ConfigError(*refusal_messages(path, draft))
    target = wish.to or Path("conf") / _FOLDER / f"{path.stem}.yaml"
    overrides = experiment_words(target)
    command = shlex.join(["python", "train.py", *overrides])
    write = files.write_text if wish.overwrite else files.write_new
    try:
        write(target, experiment_text(draft, path.name, command))
    except FileExistsError:
        raise ConfigError(
            f"{target}: is there already. --to FILE writes another one, --overwrite replaces it."
        ) from None
    print(*_summary(target, draft, command), sep="\n")
    print()
    _plan(overrides, draft, machine)


def drafted(path: Path, wish: Wish) -> Draft:
    """What the file at `path` becomes. Raises `ConfigError` where it is no file of a tool that we know."""
    if not path.is_file():
        raise ConfigError(f"{path}: not a file. Give a configuration of {foreign_file.TITLES}.")
    yaml_files.expect_bounded(path)
    source = Source(path, wish.processes, wish.dataset_folder, wish.machine_processes)
    try:
        with yaml_files.refused(str(path)):
            text = files.read_bytes(path).decode()
            foreign = foreign_file.read(text, path.suffix in SCRIPTS, source)
    except foreign_file.UnknownFile as error:
        raise ConfigError(f"{path}: {error}.") from None
    return convert(foreign, source, wish.without)


def on_machine(wish: Wish, machine: str | None) -> Wish:
    """A named machine says on how many GPUs the file trained, where nothing else does. Raises `ConfigError`."""
    if wish.processes or machine in (None, "this"):
        return wish
    hardware = cluster(str(machine))
    return replace(wish, machine_processes=hardware.hosts * hardware.gpus)


def refusal_messages(path: Path, draft: Draft) -> list[str]:
    """A line for each option that has no counterpart, and the next move behind the last one."""
    lines = [f"{path.name}: {remark}." for remark in draft.refusals]
    return [*lines[:-1], f"{lines[-1]} Nothing is written; --without OPTION leaves one out, with a comment."]


def experiment_words(target: Path) -> list[str]:
    """The overrides that train the experiment in `target`. Raises `ConfigError` where train.py would not look."""
    folders = [folder for folder in target.absolute().parents if folder.name == _FOLDER]
    if target.suffix != ".yaml" or not folders:
        raise ConfigError(f"--to: {target} is no YAML file below a folder {_FOLDER}, such as conf/{_FOLDER}/NAME.yaml.")
    folder = folders[-1]
    name = target.absolute().relative_to(folder).with_suffix("").as_posix()
    searched = [] if folder.parent == Path("conf").absolute() else [f"--config-dir={os.path.relpath(folder.parent)}"]
    return [*searched, f"{_FOLDER}={name}"]


def _summary(target: Path, draft: Draft, command: str) -> list[str]:
    counts = {kind: draft.counts[kind] for kind in (Kind.EQUAL, Kind.APPROXIMATE, Kind.INERT, Kind.IMPLIED)}
    counted = ", ".join(f"{count} {kind.value}" for kind, count in counts.items() if count)
    return [
        f"written     {os.path.relpath(target)}",
        f"from        {draft.title}: {counted}",
        *(f"nearly      {remark}" for remark in draft.of_kinds([Kind.APPROXIMATE])),
        *(f"left out    {remark}" for remark in draft.of_kinds([Kind.INERT])),
        f"train       {command}",
    ]


def _plan(overrides: Sequence[str], draft: Draft, machine: str | None) -> None:
    """The plan of what was written; with another architecture where the model is not on this machine."""
    try:
        plan.single(overrides, machine, None)
    except ConfigError as error:
        if not model_stand_in.is_absent(error):
            _expect_packages_alone(error)
            return
        path = draft.value("model.path")
        choice = model_stand_in.choice(str(path))
        print(f"note        {path} is not on this machine: planned as {choice}, memory and time too")
        _plan_as(choice, overrides, machine)


def _plan_as(choice: str, overrides: Sequence[str], machine: str | None) -> None:
    try:
        plan.single([*overrides, f"model={choice}"], machine, None)
    except ConfigError as error:
        _expect_packages_alone(error)


def _expect_packages_alone(error: ConfigError) -> None:
    """Prints what has to be installed before there is a plan; raises `error` where anything else is wrong."""
    complaints = model_stand_in.other_complaints(error)
    if not all(TO_INSTALL in complaint for complaint in complaints):
        raise ConfigError(*complaints)
    print(*(f"no plan     {complaint}" for complaint in complaints), sep="\n")

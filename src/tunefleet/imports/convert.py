"""Converting: the options of another tool's file to a draft of an experiment."""

from __future__ import annotations

from collections.abc import Collection

from tunefleet.imports.draft import Draft, Remark
from tunefleet.imports.foreign_file import ForeignFile
from tunefleet.imports.option import Kind, is_in_force
from tunefleet.imports.tool import Source


def convert(foreign: ForeignFile, source: Source, without: Collection[str] = ()) -> Draft:
    """What the file becomes; options in `without` are left out with a comment, whatever they change.

    An option that no table has, or that has no counterpart, is among the draft's refusals.
    """
    tool, draft = foreign.tool, Draft(foreign.tool.title)
    values = {name: value for name, value in foreign.values.items() if name not in without}
    for name, value in foreign.values.items():
        if name in without:
            draft.remark(name, Kind.INERT, f"{value!r:.60} was left out on request (--without)")
        else:
            draft.take(name, value, tool.options.get(name))
    try:
        tool.gather(values, draft, source)
    except (ValueError, TypeError, AttributeError) as error:
        draft.refuse(source.path.name, f"cannot be read: {error}")
    draft.remarks = [_left_out(remark) if _name(remark) in without else remark for remark in draft.remarks]
    if draft.value("train.max_steps"):
        draft.settings.pop("train.epochs", None)
    if "checkpoint.keep" not in draft and is_in_force(draft.value("checkpoint.every")):
        draft.remark("checkpoints", Kind.INERT, "would all stay; here the newest 2 do: checkpoint.keep=N")
    return draft


def _left_out(remark: Remark) -> Remark:
    """What was refused, as a comment: the user asked for it."""
    note = remark.note if remark.kind is Kind.INERT else f"was left out on request (--without), but {remark.note}"
    return Remark(remark.option, Kind.INERT, note)


def _name(remark: Remark) -> str:
    return remark.option.split("=")[0].split(":")[0]

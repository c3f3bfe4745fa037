"""Axolotl's rows: the options of an entry of `datasets`, as sources of ours."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tunefleet.imports import row_sets
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import (
    Kind,
    Options,
    as_list,
    as_text,
    choices,
    equal,
    implied,
    inert,
    is_in_force,
    joint,
    missing,
)

_PICTURES = ("images", "image", "videos", "audio")
_TYPES: Mapping[str, Mapping[str, Any]] = {
    "alpaca": {"format": "alpaca"},
    "chat_template": {"format": "messages"},
    "completion": {"format": "text"},
    "sharegpt": {"format": "sharegpt"},
}
_COLUMNS = {
    "field_instruction": "instruction",
    "field_input": "input",
    "field_output": "output",
    "field_system": "system",
}
_ROLES = {("role", "content"): "messages", ("from", "value"): "sharegpt"}

DATASET_OPTIONS: Options = {
    "path": joint("`data.path=hub:NAME`, or a file"),
    "name": equal("subset", as_text),
    "split": equal("split", as_text),
    "revision": joint("`hub:NAME@REVISION`"),
    "data_files": joint("`hub:NAME/FILE`"),
    "ds_type": implied("goes by the name of the file"),
    "type": choices("`data.format`", _TYPES, "has a prompt of its own that tunefleet does not write"),
    "chat_template": joint("`data.template`"),
    "field": joint("`data.columns.text`"),
    "field_messages": joint("`data.columns`"),
    "message_property_mappings": joint("`data.format`"),
    "message_field_role": joint("`data.format`"),
    "message_field_content": joint("`data.format`"),
    "field_thinking": joint("", "reasoning is read from the keys thinking, reasoning, reasoning_content and thought"),
    "template_thinking_key": implied("the chat template gets it as reasoning_content"),
    **{name: joint(f"`data.columns.{our_key}`") for name, our_key in _COLUMNS.items()},
    "field_tools": joint("`data.columns.tools`"),
    "roles": joint("", "roles by their usual names are known"),
    "roles_to_train": joint("", "answers of the assistant"),
    "train_on_eos": choices("", {"turn": {}, "all": {}}, "leaves the end of an answer out of the loss"),
    "train_on_eot": choices("", {"turn": {}, "all": {}}, "leaves the end of an answer out of the loss"),
    "message_field_training": missing("marks messages in the loss by a column of its own: a message's weight is ours"),
    "message_field_training_detail": missing("marks parts of messages in the loss"),
    "drop_system_message": missing("leaves system texts out"),
    "conversation": missing("names a template of FastChat"),
    "shards": missing("takes a part of the rows: data.split='train[:10%]' is ours"),
    "shards_idx": missing("takes a part of the rows"),
    "preprocess_shards": implied("is how rows are prepared"),
    "trust_remote_code": inert("runs code of the data's folder, which tunefleet never does"),
    "input_format": implied("is what an entry without format has"),
    "system_prompt": missing("puts a system text before every row"),
    "skip": missing("leaves out the first rows: data.split='train[N:]' is ours"),
    "chat_template_jinja": missing("is a template in the file itself: save it and set data.template=FILE"),
}


def put_rows(values: Mapping[str, Any], draft: Draft) -> None:
    """The sets of `datasets`, and the one chat template of all of them."""
    entries = values.get("datasets") or []
    if not isinstance(entries, list) or not all(isinstance(entry, Mapping) for entry in entries):
        draft.refuse("datasets", "is no list of sets")
        return
    sets = [rows for entry in entries if (rows := _set(entry, draft))]
    if sets or not entries:
        row_sets.put_sets(draft, sets, "datasets")
    _template(values, sets, draft)
    _validation(values, draft)


def _validation(values: Mapping[str, Any], draft: Draft) -> None:
    entries = values.get("test_datasets") or []
    if len(entries) > 1:
        draft.refuse("test_datasets", "names several sets, and data.validation_path is one")
    elif entries:
        rows = _set(entries[0], draft)
        draft.put("data.validation_path", rows.get("path"), "test_datasets")
        if rows.get("split"):
            draft.put("data.validation_split", rows["split"], "test_datasets")


def _set(entry: Mapping[str, Any], draft: Draft) -> dict[str, Any]:
    """A source of ours; what cannot be had is refused in `draft`."""
    entry_draft = Draft(draft.title)
    for name, value in entry.items():
        entry_draft.take(f"datasets.{name}", value, DATASET_OPTIONS.get(name))
    rows = {key: setting.value for key, setting in entry_draft.settings.items()}
    if not entry.get("type"):
        entry_draft.refuse("datasets.type", "is not set: how are its rows read?")
    path = str(entry.get("path") or "")
    if path.startswith(("s3://", "gs://", "gcs://", "az://", "oci://", "http")):
        entry_draft.refuse(f"datasets.path={path}", "is not on this machine: copy it")
    _roles(entry, entry_draft, rows)
    draft.remarks += [remark for remark in entry_draft.remarks if remark not in draft.remarks]
    columns = _columns(entry, rows)
    return {"path": _path(entry, path), **rows, **({"columns": columns} if columns else {})}


def _path(entry: Mapping[str, Any], path: str) -> str:
    files = as_list(entry.get("data_files") or [])
    if path in ("json", "csv", "parquet", "text", "arrow") and files:
        return files[0]
    name = row_sets.hub_or_file(path, Path(path).exists())
    if not name.startswith("hub:"):
        return f"{name}/{files[0]}" if files else name
    revision = f"@{entry['revision']}" if is_in_force(entry.get("revision")) else ""
    return name + revision + (f"/{files[0]}" if files else "")


def _roles(entry: Mapping[str, Any], entry_draft: Draft, rows: dict[str, Any]) -> None:
    """Which keys hold a message's role and text, and whose turns are in the loss."""
    if rows.get("format") == "messages":
        mapping = entry.get("message_property_mappings") or {}
        role = mapping.get("role", entry.get("message_field_role", "role"))
        content = mapping.get("content", entry.get("message_field_content", "content"))
        if (role, content) not in _ROLES:
            entry_draft.refuse(
                "datasets.message_property_mappings", f"has roles in {role} and texts in {content}: not read here"
            )
        rows["format"] = _ROLES.get((role, content), "messages")
    if set(as_list(entry.get("roles_to_train") or ["assistant"])) - {"assistant", "gpt", "model"}:
        entry_draft.refuse(
            "datasets.roles_to_train", "trains on other turns than answers: data.train_on=all is every text"
        )
    thinking = entry.get("field_thinking")
    if is_in_force(thinking) and thinking not in ("thinking", "reasoning", "reasoning_content", "thought"):
        entry_draft.refuse(f"datasets.field_thinking={thinking}", "is a key of messages that is not read as reasoning")
    for name in _PICTURES:
        if name in str(entry.get("type", "")):
            entry_draft.refuse(
                f"datasets.type={entry['type']}", "holds pictures or sound, and tunefleet trains on text"
            )
    if len(as_list(entry.get("data_files") or [])) > 1:
        entry_draft.refuse("datasets.data_files", "names several files: give each an entry of its own")


def _columns(entry: Mapping[str, Any], rows: Mapping[str, Any]) -> dict[str, str]:
    """Our names of columns and theirs, where they differ."""
    columns = {our_key: str(entry[name]) for name, our_key in _COLUMNS.items() if is_in_force(entry.get(name))}
    if rows.get("format") == "text":
        columns = {"text": str(entry.get("field") or "text")}
    if rows.get("format") in ("messages", "sharegpt"):
        our_key = "messages" if rows["format"] == "messages" else "conversations"
        default = "messages" if entry.get("type") == "chat_template" else "conversations"
        columns = {**columns, our_key: str(entry.get("field_messages") or default)}
    if is_in_force(entry.get("field_tools")):
        columns["tools"] = str(entry["field_tools"])
    return {our_key: their_key for our_key, their_key in columns.items() if our_key != their_key}


def _template(values: Mapping[str, Any], sets: list[dict[str, Any]], draft: Draft) -> None:
    """Alpaca's own prompt for alpaca rows, a chat template for messages; a mixture of both has no template."""
    formats = {str(rows.get("format")) for rows in sets} - {"text"}
    if is_in_force(values.get("chat_template_jinja")):
        _jinja(str(values["chat_template_jinja"]), draft)
    if "alpaca" in formats and formats != {"alpaca"}:
        draft.refuse("datasets.type", "mixes alpaca with messages, which have two prompts, and data.template is one")
    elif "alpaca" in formats:
        draft.put("data.template", "alpaca-line", "datasets.type=alpaca")
    elif "data.template" not in draft and formats:
        draft.default("data.template", "auto")


def _jinja(text: str, draft: Draft) -> None:
    if Path(text).is_file():
        draft.put("data.template", text, "chat_template_jinja")
    else:
        draft.remark(
            "chat_template_jinja", Kind.MISSING, "is a template in the file itself: save it and set data.template=FILE"
        )

"""dataset_info.json: LLaMA-Factory's names of sets of rows, as sources of ours."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.imports.draft import Draft
from tunefleet.imports.option import Kind, is_in_force
from tunefleet.imports.tool import Source

FILE = "dataset_info.json"
_LARGEST = 1 << 22  # bytes of it
_COLUMNS = {
    "alpaca": {"prompt": "instruction", "query": "input", "response": "output", "history": "history"},
    "sharegpt": {"messages": "conversations"},
}
_COMMON = {"system": "system", "tools": "tools"}
_PICTURES = ("images", "videos", "audios")
_RANKED = ("chosen", "rejected", "kto_tag")
_ROLES = {("from", "value"): "sharegpt", ("role", "content"): "messages"}


def sets(names: Sequence[str], option: str, folder: Any, draft: Draft, source: Source) -> list[dict[str, Any]]:
    """The sets of these names, by the keys of our sources; what cannot be had is refused in `draft`."""
    if not names:
        return []
    if str(folder or "").startswith("REMOTE:"):
        draft.refuse(
            f"dataset_dir={folder}", "is on the hub: fetch its dataset_info.json and files, and name the folder"
        )
        return []
    data_folder = _folder(folder, source)
    if data_folder is None:
        draft.refuse(
            option, f"its names are in {FILE}, which is not in {folder or 'data'}: --dataset-dir FOLDER names it"
        )
        return []
    table = _read(data_folder / FILE)
    entries = {name: table.get(name) for name in names}
    for name, entry in entries.items():
        if not isinstance(entry, Mapping):
            draft.refuse(f"{option}={name}", f"is not in {data_folder / FILE}")
    read = [(name, entry) for name, entry in entries.items() if isinstance(entry, Mapping)]
    return [rows for name, entry in read if (rows := _set(name, entry, data_folder, option, draft))]


def _folder(folder: Any, source: Source) -> Path | None:
    """The folder with the file: the user's, else the named one seen from here, the file, or a folder above it."""
    if source.dataset_folder:
        return source.dataset_folder if (source.dataset_folder / FILE).is_file() else None
    name = str(folder or "data")
    candidates = [Path(name), *(above / name for above in source.path.resolve().parents)]
    return next((data_folder for data_folder in candidates if (data_folder / FILE).is_file()), None)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        values = json.loads(files.read_bytes(path)) if path.stat().st_size <= _LARGEST else None
    except (ValueError, RecursionError, OSError):
        values = None
    return values if isinstance(values, Mapping) else {}


def _set(name: str, entry: Mapping[str, Any], data_folder: Path, option: str, draft: Draft) -> dict[str, Any]:
    """A source of ours; empty where it was refused."""
    complaints = list(_refused(entry))
    for complaint in complaints:
        draft.refuse(f"{option}={name}", complaint)
    path = _path(entry, data_folder)
    if complaints or not path:
        return {}
    kind = str(entry.get("formatting", "alpaca"))
    tags = _mapping(entry.get("tags"))
    style = _ROLES.get((tags.get("role_tag", "from"), tags.get("content_tag", "value")), "sharegpt")
    if kind == "alpaca":
        draft.remark(
            option, Kind.APPROXIMATE, "joins an instruction and its input by one line break, and here by an empty line"
        )
    columns = _columns(kind, style, _mapping(entry.get("columns")))
    keys = {"subset": entry.get("subset"), "split": entry.get("split"), "max_rows": entry.get("num_samples")}
    return {
        "path": path,
        "format": kind if kind == "alpaca" else style,
        **({"columns": columns} if columns else {}),
        **{key: value for key, value in keys.items() if value},
    }


def _refused(entry: Mapping[str, Any]) -> Iterator[str]:
    columns, tags = _mapping(entry.get("columns")), _mapping(entry.get("tags"))
    if pictures := [name for name in _PICTURES if name in columns]:
        yield f"holds {', '.join(pictures)}, and tunefleet trains on text"
    if entry.get("ranking") or any(name in columns for name in _RANKED):
        yield "holds ranked answers, which are for training on preferences"
    if str(entry.get("formatting", "alpaca")) not in _COLUMNS:
        yield f"has the format {entry.get('formatting')}, which tunefleet does not read"
    if tags and (tags.get("role_tag", "from"), tags.get("content_tag", "value")) not in _ROLES:
        yield f"has roles in {tags.get('role_tag')}, texts in {tags.get('content_tag')}, which tunefleet does not read"
    if not any(is_in_force(entry.get(key)) for key in ("file_name", "hf_hub_url")):
        yield "has neither file_name nor hf_hub_url"
    if is_in_force(entry.get("folder")):
        yield "names a folder inside of its repository"


def _path(entry: Mapping[str, Any], data_folder: Path) -> str:
    name = entry.get("file_name")
    if is_in_force(name) and ((data_folder / str(name)).exists() or not entry.get("hf_hub_url")):
        return str(data_folder / str(name))
    return f"hub:{entry['hf_hub_url']}" if is_in_force(entry.get("hf_hub_url")) else ""


def _columns(kind: str, style: str, their_key: Mapping[str, Any]) -> dict[str, str]:
    """Our names of columns and theirs, where they differ."""
    names = {**_COLUMNS[kind], **_COMMON}
    if style == "messages":
        names["messages"] = "messages"
    return {names[key]: str(column) for key, column in their_key.items() if key in names and column != names[key]}


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}

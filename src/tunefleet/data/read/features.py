"""Features of Arrow columns beyond what Arrow stores: JSON, names of labels, pictures, absent keys."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from tunefleet.data.read.row_fields import decoded, listed
from tunefleet.data.read.source_row import Media

Mean = Callable[[Any, str], Any]
"""The value that a stored one stands for; the second is its place, for an error."""
MEDIA = ("Image", "Audio", "Video", "Pdf", "Nifti")
"""Types of `datasets` whose values are no text."""


def columns(schema: Any) -> dict[str, Mean]:
    """How to read each column that is not read as it is stored.

    Arrow fills keys that a row does not have with null, so a null inside of a column is no value. `datasets` writes
    its features into the schema: `Json` is text that stands for any value, `ClassLabel` a number with a name.
    """
    features = _features(schema)
    means = {field.name: _mean(field.type, features.get(field.name)) for field in schema}
    return {name: mean for name, mean in means.items() if mean}


def _features(schema: Any) -> dict[str, Any]:
    """What `datasets` wrote down; nothing where it cannot be read."""
    try:
        features = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return {}
    return features if isinstance(features, dict) else {}


def _mean(stored: Any, feature: Any) -> Mean | None:
    import pyarrow.types as kinds

    named = feature.get("_type") if isinstance(feature, dict) else None
    if named in MEDIA:
        return lambda value, location: None if value is None else Media(str(named))
    if named == "Json" or getattr(stored, "extension_name", None) == "arrow.json":
        return decoded
    if named == "ClassLabel":
        return _name_of([*map(str, listed(feature.get("names"), "the features' names of labels"))])
    if kinds.is_struct(stored):
        return _struct({field.name: _mean(field.type, _inside(feature, field.name)) for field in stored})
    if kinds.is_list(stored) or kinds.is_large_list(stored) or kinds.is_fixed_size_list(stored):
        return _list(_mean(stored.value_type, _item(feature)))
    if kinds.is_binary(stored) or kinds.is_large_binary(stored):
        return lambda value, location: None if value is None else Media("bytes")
    return None


def _inside(feature: Any, name: str) -> Any:
    """The feature of a key; `Sequence` of a dictionary is stored as a dictionary of lists."""
    if isinstance(feature, dict) and feature.get("_type") in ("Sequence", "List", "LargeList"):
        inner = _inside(feature.get("feature"), name)
        return None if inner is None else {"_type": "List", "feature": inner}
    return feature.get(name) if isinstance(feature, dict) else None


def _item(feature: Any) -> Any:
    if isinstance(feature, list):
        return feature[0] if feature else None
    return feature.get("feature") if isinstance(feature, dict) else None


def _struct(inner: Mapping[str, Mean | None]) -> Mean:
    means = {key: mean for key, mean in inner.items() if mean}

    def mean(value: Any, location: str) -> Any:
        if value is None:
            return None
        for key, inner_mean in means.items():
            value[key] = inner_mean(value[key], location)
        return {key: part for key, part in value.items() if part is not None}

    return mean


def _list(inner: Mean | None) -> Mean | None:
    if inner is None:
        return None
    return lambda value, location: None if value is None else [inner(part, location) for part in value]


def _name_of(names: list[str]) -> Mean:
    return lambda number, location: names[number] if isinstance(number, int) and 0 <= number < len(names) else None

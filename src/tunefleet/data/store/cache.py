"""Cache of prepared data: a folder named by all that they depend on, which one process at a time may write."""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet import __version__
from tunefleet.base import files, own_code, owner_lock, progress
from tunefleet.base.digests import digest
from tunefleet.base.errors import DataError
from tunefleet.config.data import DataConfig, SourceConfig
from tunefleet.config.load import dump
from tunefleet.data.encode.template import ChatTemplate
from tunefleet.data.encode.token_cache import TokenCache
from tunefleet.data.read import select_sources
from tunefleet.data.store import dataset, manifest
from tunefleet.data.store.dataset import Dataset

_LAYOUT = 11  # of the files in the cache: raise it when they change, or what is written into them
_NAMES, _DIGESTS = "names.json", "digests"
_AFTERWARDS = dict.fromkeys(  # settings that change nothing in it
    ("cache", "name", "workers", "group_by_length", "test_path", "test_target_path", "test_split")
)


def folder_of(config: DataConfig, chat: ChatTemplate, tokenizer: Any, sequence_length: int) -> Path:
    """The folder for these data. Raises `DataError` for a file that cannot be read."""
    digests = Path(config.cache) / _DIGESTS
    parts = [
        str(_LAYOUT),
        __version__,
        json.dumps({**dump(config), **_AFTERWARDS}, sort_keys=True),
        *(
            source.fingerprint(digests)
            for source in select_sources.training(config) + select_sources.validation(config)
        ),
        chat.source,
        chat.tool_source,
        json.dumps(chat.specials, sort_keys=True),
        _identity(tokenizer),
        str(sequence_length),
        *(_own_format(source, digests) for source in (config, *config.mix) if source.own_format),
    ]
    return Path(config.cache) / hashlib.sha256("\0".join(parts).encode()).hexdigest()[:24]


def _own_format(source: SourceConfig, digests: Path) -> str:
    """What the file of the function holds that makes its rows."""
    return digest(own_code.file_of(str(source.own_format)), digests).hex()


def _identity(tokenizer: Any) -> str:
    """The tokenizer without how it was called last; transformers sets that anew with every call."""
    backend = tokenizer.backend_tokenizer
    backend.no_truncation()
    backend.no_padding()
    return str(backend.to_str())


def token_cache(config: DataConfig, tokenizer: Any) -> TokenCache:
    """Texts that were tokenised before: another sequence length, packing or share of held-out rows needs no others."""
    parts = [str(_LAYOUT), __version__, str(config.train_on.value), _identity(tokenizer)]
    return TokenCache(Path(config.cache) / "tokens", "\0".join(parts))


def bad_rows(folder: Path) -> Path:
    """The report of bad rows that were left out."""
    return folder.with_suffix(".bad_rows.txt")


def removed_rows(folder: Path) -> Path:
    """The report of rows that were left out on purpose."""
    return folder.with_suffix(".removed_rows.txt")


@contextmanager
def locked(folder: Path) -> Iterator[None]:
    """One process at a time for this folder."""
    with owner_lock.hold(folder.with_suffix(".lock"), wait=math.inf):
        yield


@dataclass(frozen=True)
class CachedData:
    """The data sets of a folder by name, and how many rows were left out: bad ones, and by each step of cleaning.

    `unread` are keys with text that are not read, and the place of the first.
    """

    sets: dict[str, Dataset]
    bad_rows: int
    removed: Mapping[str, int]
    unread: Mapping[str, str]


def publish(
    temporary: Path,
    folder: Path,
    names: Sequence[str],
    bad_rows: int,
    removed: Mapping[str, int],
    unread: Mapping[str, str],
) -> None:
    """Gives finished data sets their final name."""
    sets = {name: manifest.of_itself(temporary / name) for name in names}
    described = {"sets": sets, "bad_rows": bad_rows, "removed": removed, "unread": unread}
    files.write_json(temporary / _NAMES, {**described, "sha256": _digest(described)})
    shutil.rmtree(folder, ignore_errors=True)
    files.publish(temporary, folder)


def read(folder: Path, thorough: bool = False) -> CachedData | None:
    """The data sets in `folder`, every byte of them as it was written; None where it is missing.

    A damaged one is named on the console and renamed, and then it is missing. Bytes that were compared since the last
    change of their file are not read again, unless the look is `thorough`.
    """
    if not folder.exists():
        return None
    try:
        described = _described(folder)
        with progress.during("comparing prepared data with what was written"):
            for name, sealed in described["sets"].items():
                manifest.expect_whole(folder / name, sealed, None if thorough else folder.parent / _DIGESTS)
        sets = {name: dataset.read(folder / name) for name in described["sets"]}
        return CachedData(sets, described["bad_rows"], described["removed"], described["unread"])
    except (OSError, EOFError, ValueError, TypeError, KeyError, AttributeError, DataError) as error:
        _set_aside(folder, error)
        return None


def _described(folder: Path) -> dict[str, Any]:
    described: dict[str, Any] = files.read_json(folder / _NAMES)
    if described.pop("sha256") != _digest(described):
        raise ValueError(f"{folder / _NAMES}: changed since it was written")
    return described


def _digest(described: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(described, sort_keys=True).encode()).hexdigest()


def _set_aside(folder: Path, error: Exception) -> None:
    damaged = folder.with_suffix(".damaged")
    shutil.rmtree(damaged, ignore_errors=True)
    files.publish(folder, damaged)
    reason = str(error) if str(folder) in str(error) else f"{folder}: {type(error).__name__}: {error}"
    print(f"tunefleet: prepared data are damaged, and prepared again: {reason}. See {damaged}.", file=sys.stderr)

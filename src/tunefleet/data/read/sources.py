"""Sources of rows: files, folders and globs, the hub, the built-in demo; each row knows its place."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path

from tunefleet.base import progress
from tunefleet.base.digests import digest
from tunefleet.config.data import FileType, SourceConfig
from tunefleet.data import demo
from tunefleet.data.demo import generate
from tunefleet.data.read import bounds, file_readers, hub, meter
from tunefleet.data.read.source_row import Row, RowOrError
from tunefleet.plan.paths import data_files


@dataclass(frozen=True)
class Source:
    """Rows of one source, under the name of the data set that they become."""

    name: str
    config: SourceConfig

    def rows(self) -> Iterator[RowOrError]:
        """The first `max_rows` rows; a bad one is given as its `DataError`. Raises `DataError` for a bad file."""
        config = self.config
        if config.path == data_files.DEMO:
            return self._demo()
        if config.target_path:
            pair = Path(str(config.path)), Path(config.target_path)
            meter.current().begin(self.name, pair, config.max_rows)
            return islice(file_readers.aligned(*pair), config.max_rows)
        return islice(self._read(), config.max_rows)

    def parts(self) -> list[Iterator[RowOrError]]:
        """As `rows`, the rows of each file by themselves; of limited, aligned or made rows all are one part."""
        config = self.config
        if config.path == data_files.DEMO or config.target_path or config.max_rows:
            return [self.rows()]
        settings = self._settings()
        return [file_readers.read(path, settings) for path in self._files()]

    def fingerprint(self, memory: Path | None = None) -> str:
        """Changes when the content does; the folder `memory` remembers large files."""
        config = self.config
        fingerprint = hashlib.sha256(f"{config.subset}|{config.split}|{config.max_rows}|".encode())
        named = [*self._files(), *(Path(p) for p in (config.target_path, config.label_file) if p)]
        with progress.during(f"{self.name}: comparing files with those that were prepared"):
            for path in named:
                fingerprint.update(digest(path, memory))
        return fingerprint.hexdigest()

    def bounds(self) -> Mapping[str, int | None]:
        """By file at least as many rows as are read of it, counted without reading them; None where that is unknown."""
        if self.config.path == data_files.DEMO:
            return {}
        settings, most = self._settings(), self.config.max_rows
        if self.config.target_path:
            settings = replace(settings, file_type=FileType.TEXT)  # a row on each line, whatever the file is called
        counted = {str(path): bounds.most_rows(path, settings) for path in self._files()}
        return {path: most if count is None else min(count, most or count) for path, count in counted.items()}

    def _demo(self) -> Iterator[Row]:
        split = self.config.split or "train"
        meter.current().begin(self.name, (), self.config.max_rows)
        values = generate.rows(split, self.config.max_rows or 0)
        return (Row(dict(row), f"demo/{split}:{i}") for i, row in enumerate(values, 1))

    def _read(self) -> Iterator[RowOrError]:
        settings = self._settings()
        named = data_files.hub_name(str(self.config.path))
        read = self._files()
        meter.current().begin(self.name, read, self.config.max_rows)
        if named and not named.file and hub.is_slice(self.config):
            yield from hub.sliced(named, self.config)
            return
        for path in read:
            yield from file_readers.read(path, settings)

    def _files(self) -> list[Path]:
        path = str(self.config.path)
        if path == data_files.DEMO:
            return sorted(Path(demo.__file__).parent.glob("*.py"))
        named = data_files.hub_name(path)
        return hub.files(named, self.config) if named else data_files.files_of(self.config)

    def _settings(self) -> SourceConfig:
        """How each file is read: what the hub or a folder has split already is whole."""
        config, named = self.config, data_files.hub_name(str(self.config.path))
        if named and not named.file:
            return replace(config, split=None, file_type=FileType.ARROW)
        return replace(config, split=None) if data_files.has_split_folder(config) else config

"""YAML files that users write: broken ones are named by file and line, and none may multiply or go deep without end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml

from tunefleet.base import files
from tunefleet.base.errors import ConfigError

_LARGEST = 1 << 20  # bytes of a file
_VALUES = 100_000  # of a file, each as often as an alias repeats it


@contextmanager
def refused(name: str) -> Iterator[None]:
    """Within it, what is wrong with the config `name` as YAML is raised as `ConfigError`."""
    try:
        yield
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        location = f"{mark.name}:{mark.line + 1}" if mark else name
        raise ConfigError(f"{location}: broken YAML: {error.problem or error.context}.") from None
    except RecursionError:
        raise ConfigError(f"{name}: values too deep inside of each other.") from None
    except (yaml.YAMLError, OSError, ValueError, OverflowError, TypeError, AttributeError) as error:
        reason = " ".join(str(error).split())[:200]
        raise ConfigError(f"{name}: cannot be read as YAML: {reason}.") from None


def expect_bounded(path: Path) -> None:
    """Raises `ConfigError` where a file is no plain one, or its aliases multiply what it says."""
    if not path.exists():
        return
    if not path.is_file() or path.stat().st_size > _LARGEST:
        raise ConfigError(f"{path}: no file of at most {_LARGEST >> 20} MiB, as settings are. Name another.")
    content = files.read_bytes(path)
    if b"&" in content and b"*" in content and _values(content) > _VALUES:
        raise ConfigError(f"{path}: its aliases multiply to more than {_VALUES:,} values. Write out what is meant.")


def _values(content: bytes) -> int:
    """How many values there are once each alias is what it stands for."""
    sizes: dict[str, int] = {}
    open_nodes: list[tuple[str | None, int]] = [(None, 0)]
    for event in yaml.parse(content, yaml.SafeLoader):
        anchor, size = getattr(event, "anchor", None), 1
        if isinstance(event, yaml.AliasEvent):
            size = sizes.get(anchor or "", 1)
        elif isinstance(event, (yaml.SequenceStartEvent, yaml.MappingStartEvent)):
            open_nodes.append((anchor, 1))
            continue
        elif isinstance(event, (yaml.SequenceEndEvent, yaml.MappingEndEvent)):
            anchor, size = open_nodes.pop()
        elif not isinstance(event, yaml.ScalarEvent):
            continue
        if anchor and not isinstance(event, yaml.AliasEvent):
            sizes[anchor] = size
        outer, total = open_nodes.pop()
        open_nodes.append((outer, total + size))
    return open_nodes[0][1]

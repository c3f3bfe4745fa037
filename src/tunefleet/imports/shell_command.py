"""Shell command of a training: its options as a mapping, with the script's own variables put in."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import yaml

_ASSIGNMENT = re.compile(r"^\s*(?:export\s+)?([A-Za-z_]\w*)=(\S.*?|)\s*;?\s*$")
_VARIABLE = re.compile(r"\$\{?([A-Za-z_]\w*|\d)(?::-([^}]*))?\}?")
_TRAINER = re.compile(r"\bmain\.py\b|\btrl\s+\w+|\b\w*(?:sft|dpo|grpo|kto|orpo|rloo|reward\w*)\w*\.py\b")
_REDIRECTION = re.compile(r"\s(?:&>>?|\d?>>?|\|).*$")
_NUMBER = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?", re.IGNORECASE)


def commands(text: str) -> list[list[str]]:
    """The words of each command of `text` that starts a training, without what it writes to. Raises `ValueError`."""
    joined = re.sub(r"\\\s*\n", " ", text)
    lines = [line for line in joined.splitlines() if not line.lstrip().startswith("#")]
    variables = dict(_variables(lines))
    matching = [line for line in lines if _TRAINER.search(line) and not line.lstrip().startswith("echo ")]
    return [shlex.split(_REDIRECTION.sub("", _expanded(line, variables)), comments=True) for line in matching]


def options(arguments: Sequence[str]) -> dict[str, Any]:
    """The options of a command: true alone, a value, or a list of several; `--a=b` too."""
    values: dict[str, list[Any]] = {}
    name = ""
    for argument in arguments:
        if argument.startswith("--") and len(argument) > 2:
            name, _, value = argument[2:].partition("=")
            name = name.replace("-", "_")
            values[name] = [_scalar(value)] if value else []
        elif (
            name and not (argument.startswith("-") and not _NUMBER.fullmatch(argument)) and not argument.endswith(".py")
        ):
            values[name].append(_scalar(argument))
        else:
            name = ""
    return {name: _value(items) for name, items in values.items()}


def _value(items: list[Any]) -> Any:
    if not items:
        return True
    return items[0] if len(items) == 1 else items


def _scalar(argument: str) -> Any:
    """As YAML reads it, but for what would be more than a value, and numbers such as 1e-5."""
    if _NUMBER.fullmatch(argument):
        return float(argument) if re.search(r"[.e]", argument, re.IGNORECASE) else int(argument)
    try:
        value = yaml.safe_load(argument)
    except yaml.YAMLError:
        return argument
    return value if isinstance(value, (bool, dict)) or value is None else argument


def _variables(lines: Sequence[str]) -> Iterator[tuple[str, str]]:
    """What the script gives its variables where nothing is typed behind it: the last text counts."""
    table: dict[str, str] = {}
    for line in lines:
        match = _ASSIGNMENT.match(line)
        if match and not match[2].startswith(("$(", "`")):
            value = _expanded(match[2].strip("\"'"), table)
            if value or match[1] not in table:
                table[match[1]] = value
    yield from table.items()


def _expanded(text: str, variables: Mapping[str, str]) -> str:
    return _VARIABLE.sub(lambda match: variables.get(match[1]) or match[2] or "", text)

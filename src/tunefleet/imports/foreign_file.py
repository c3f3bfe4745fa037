"""A file of another tool: what it holds, and whose it is, by its content."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from tunefleet.base import files
from tunefleet.imports import shell_command
from tunefleet.imports.axolotl import AXOLOTL
from tunefleet.imports.deepspeed_chat import DEEPSPEED_CHAT
from tunefleet.imports.llamafactory import LLAMAFACTORY
from tunefleet.imports.llamafactory_v1 import LLAMAFACTORY_V1
from tunefleet.imports.tool import Source, Tool
from tunefleet.imports.trl import TRL

TOOLS = (LLAMAFACTORY, LLAMAFACTORY_V1, AXOLOTL, TRL, DEEPSPEED_CHAT)
TITLES = "LLaMA-Factory, Axolotl, TRL or DeepSpeed-Chat"
_NEEDED = {"axolotl": {"base_model"}, "llamafactory_v1": {"model"}}
_OTHER_TRAINERS = ("dpo", "grpo", "kto", "orpo", "rloo", "reward", "vlm", "online", "ppo", "gkd", "prm")


class UnknownFile(Exception):
    """No configuration that we know; the message says why."""


@dataclass(frozen=True)
class ForeignFile:
    """The options of a file, and its tool."""

    tool: Tool
    values: Mapping[str, Any]


def read(text: str, is_script: bool, source: Source) -> ForeignFile:
    """What a YAML file or a shell script holds. Raises `UnknownFile`, and YAML's errors."""
    if is_script or text.startswith("#!"):
        return _command(text, source)
    values = yaml.safe_load(text)
    if isinstance(values, str) and "--" in values:
        return _command(text, source)
    if not isinstance(values, Mapping) or not values:
        raise UnknownFile(f"no configuration of {TITLES}: it holds no options")
    options = {str(key): value for key, value in values.items()}
    return ForeignFile(_tool(options), options)


def _tool(values: Mapping[str, Any]) -> Tool:
    """The tool that most of the options are of; what only it has decides."""
    candidates = [tool for tool in TOOLS if _NEEDED.get(tool.name, set()) <= set(values) and tool is not DEEPSPEED_CHAT]
    ranked = sorted(candidates, key=lambda tool: (_count(tool.markers, values), _count(tool.options, values)))
    best = ranked[-1]
    if not _count(best.markers, values) and _count(best.options, values) * 2 < len(values):
        raise UnknownFile(f"no configuration of {TITLES}: of its options {', '.join(list(values)[:4])} none is theirs")
    return best


def _count(names: Any, values: Mapping[str, Any]) -> int:
    return sum(name in names for name in values)


def _command(text: str, source: Source) -> ForeignFile:
    """The one command of a script, and below it the YAML file that `--config` names."""
    try:
        lines = shell_command.commands(text)
    except ValueError as error:
        raise UnknownFile(f"no shell script that can be read: {error}") from None
    if len(lines) != 1:
        raise UnknownFile(f"{len(lines)} commands that train (main.py, trl sft): keep one in a file")
    arguments = lines[0]
    _expect_sft(arguments)
    values = shell_command.options(arguments)
    if any(argument.endswith("main.py") for argument in arguments):
        return ForeignFile(DEEPSPEED_CHAT, values)
    return ForeignFile(TRL, {**_below(values, source), **values})


def _expect_sft(arguments: list[str]) -> None:
    """Raises `UnknownFile` for another training than supervised fine-tuning on text."""
    trainer = next((after for argument, after in itertools.pairwise(arguments) if argument.endswith("trl")), "")
    script = next((argument.rsplit("/", 1)[-1] for argument in arguments if argument.endswith(".py")), "")
    training = trainer or script.removesuffix(".py")
    if any(part in training for part in _OTHER_TRAINERS):
        raise UnknownFile(f"{training} is another kind of training, and tunefleet does supervised fine-tuning on text")


def _below(values: Mapping[str, Any], source: Source) -> Mapping[str, Any]:
    name = values.get("config")
    path = source.path.parent / str(name)
    if not name or not str(name).endswith((".yaml", ".yml")):
        return {}
    try:
        below = yaml.safe_load(files.read_bytes(path).decode())
    except (OSError, ValueError, yaml.YAMLError):
        raise UnknownFile(f"--config {name}: not a YAML file beside it, and its options come first") from None
    return below if isinstance(below, Mapping) else {}

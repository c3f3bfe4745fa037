"""Contents of the files that a run reads: a digest of each when it is submitted, compared before it starts."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from enum import Enum
from pathlib import Path

from tunefleet.base.digests import digest, sampled
from tunefleet.base.errors import RunError
from tunefleet.config.data import SourceConfig
from tunefleet.plan.paths import code_names, data_files
from tunefleet.plan.paths.data_files import HubName
from tunefleet.plan.plan import Contents, Plan

HubFiles = Callable[[HubName, SourceConfig], list[Path]]
"""Where the files of a data set of the hub are on this machine."""


class Role(Enum):
    """What a file is read as."""

    DATA = "data"
    TEMPLATE = "template"
    TOKENIZER = "tokenizer"
    MODEL = "model"
    CODE = "code"


_TOKENIZER = (
    "tokenizer*",
    "vocab*",
    "merges.txt",
    "special_tokens_map.json",
    "added_tokens.json",
    "chat_template*",
    "additional_chat_templates/*",
    "generation_config.json",  # its ends of sequence are ids of this tokenizer
    "*.model",
    "*.tiktoken",
    "config.json",  # transformers takes the tokenizer's class from it
)
_MODEL = ("config.json", "generation_config.json", "*.index.json")
_WEIGHTS = ("*.safetensors", "pytorch_model*.bin")
_AT_ONCE = 8  # files that are read at a time
_SHOWN = 8  # files that a message names
_DIGITS = 12
_ARCHITECTURE = "architecture"  # the config.json that the plan was made with, from wherever it came


def read(plan: Plan, hub: HubFiles, roles: Iterable[Role] = Role) -> Contents:
    """The SHA-256 of every file that the run reads, by role and name. Raises `DataError` for one that is unreadable.

    A file that is not there has none: its name is missing.
    """
    files = {role: dict(_FILES[role](plan, hub)) for role in roles}
    digest_of = _digest(plan)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        digests = {
            role: dict(zip(named, pool.map(digest_of, named.values()), strict=True)) for role, named in files.items()
        }
    if Role.MODEL in digests:
        digests[Role.MODEL][_ARCHITECTURE] = _architecture(plan)
    return {role.value: named for role, named in digests.items()}


def changes(earlier: Contents, current: Contents, plan: Plan) -> list[str]:
    """What differs, a line for each file of `plan`; of roles that both know."""
    return [
        f"{role} {_location(plan, role, name)}: "
        f"{_short(earlier[role].get(name))} then, {_short(current[role].get(name))} now"
        for role in sorted(earlier.keys() & current.keys())
        for name in sorted(earlier[role].keys() | current[role].keys())
        if earlier[role].get(name) != current[role].get(name)
    ]


def expect_same(plan: Plan, earlier: Contents, current: Contents, next_move: str) -> None:
    """Raises `RunError` where a file of the run holds something else now, or is gone, or is new."""
    if differences := changes(earlier, current, plan):
        more = [f"and {len(differences) - _SHOWN} more"] if len(differences) > _SHOWN else []
        listed = "; ".join(differences[:_SHOWN] + more)
        raise RunError(f"{plan.name}: files that it reads are not what they were at its start: {listed}. {next_move}")


def _location(plan: Plan, role: str, name: str) -> str:
    folders = {Role.TOKENIZER.value: plan.sources.tokenizer, Role.MODEL.value: plan.sources.weights}
    folder = folders.get(role)
    return str(Path(folder) / name) if folder and name != _ARCHITECTURE else name


def _short(value: str | None) -> str:
    return f"SHA-256 {value[:_DIGITS]}" if value else "not there"


def _digest(plan: Plan) -> Callable[[Path], str]:
    memory = Path(plan.config.data.cache) / "digests"

    def digest_of(path: Path) -> str:
        weights = any(path.match(pattern) for pattern in _WEIGHTS)
        return (sampled(path) if weights else digest(path, memory)).hex()

    return digest_of


def _architecture(plan: Plan) -> str:
    return hashlib.sha256(json.dumps(plan.sources.architecture.to_json(), sort_keys=True).encode()).hexdigest()


_Named = Iterator[tuple[str, Path]]


def _data(plan: Plan, hub: HubFiles) -> _Named:
    for source in data_files.sources(plan.config.data):
        for path in data_files.local_files(source):
            yield str(path), path
        if named := data_files.hub_name(str(source.path)):
            name = " ".join(part for part in (source.path, source.subset) if part)
            yield from ((f"{name} {path.name}", path) for path in hub(named, source))


def _template(plan: Plan, hub: HubFiles) -> _Named:
    if path := data_files.template_file(plan.config.data.template):
        yield plan.config.data.template, path


def tokenizer_files(plan: Plan) -> Iterator[tuple[str, Path]]:
    """The files of the tokenizer that the run was planned with, by their names in its folder."""
    return _in_folder(plan.sources.tokenizer, _TOKENIZER)


def _tokenizer(plan: Plan, hub: HubFiles) -> _Named:
    return tokenizer_files(plan)


def _model(plan: Plan, hub: HubFiles) -> _Named:
    return _in_folder(plan.sources.weights, (*_MODEL, *_WEIGHTS)) if plan.sources.weights else iter(())


def _code(plan: Plan, hub: HubFiles) -> _Named:
    return code_names.files(plan.config)


def _in_folder(folder: str, patterns: Iterable[str]) -> _Named:
    """Files by their names in `folder`: a newer snapshot of the hub is another folder with the same names."""
    root = Path(folder)
    files = {path for pattern in patterns for path in root.glob(pattern) if path.is_file()}
    return ((str(path.relative_to(root)), path) for path in sorted(files))


_FILES: Mapping[Role, Callable[[Plan, HubFiles], _Named]] = {
    Role.DATA: _data,
    Role.TEMPLATE: _template,
    Role.TOKENIZER: _tokenizer,
    Role.MODEL: _model,
    Role.CODE: _code,
}

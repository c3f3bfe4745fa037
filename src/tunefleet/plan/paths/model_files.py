"""Model files on this machine: weights, config.json and tokenizer, without the network."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunefleet.base import files
from tunefleet.base.errors import ConfigError
from tunefleet.config.model import Init, ModelConfig
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.families.config_json import read_architecture

BUILT_IN_TOKENIZERS = {"demo": Path(__file__).parents[2] / "data" / "demo" / "tokenizer"}
_SAFETENSORS, _PICKLES = "*.safetensors", "pytorch_model*.bin"
_TOKENIZER_FILES = ("tokenizer.json", "vocab.json", "tokenizer.model")


@dataclass(frozen=True)
class Sources:
    """Folders of this machine. `weights` is None where the model starts from scratch.

    `architecture` is what the model will be, `changed` names what the user set in it, `dropout` is every dropout's.
    With `allow_pickle`, weights may be a pickle; with `new_tokens` the embedding may get more rows.
    """

    weights: str | None
    tokenizer: str
    architecture: Architecture
    changed: tuple[str, ...] = ()
    dropout: float | None = None
    allow_pickle: bool = False
    new_tokens: tuple[str, ...] = ()


def sources(model: ModelConfig, data_tokenizer: str | None) -> Sources:
    """Finds everything that `model` needs. Raises `ConfigError` with one complaint for each missing thing."""
    folder = find(model.path) if model.path else None
    complaints: list[str] = []
    weights = _weights(model, folder, complaints)
    architecture = read_architecture(model, folder, complaints)
    tokenizer = _tokenizer(model, folder, data_tokenizer, complaints)
    if complaints:
        raise ConfigError(*complaints)
    changed = tuple(model.architecture)
    return Sources(weights, tokenizer, architecture, changed, model.dropout, model.allow_pickle, model.new_tokens)


def absolute(path: str | None) -> str | None:
    """The folder `path` as it is wherever a rank is started; a name of the hub or of a built-in one stays."""
    folder = Path(path).expanduser() if path and path not in BUILT_IN_TOKENIZERS else None
    return str(folder.resolve()) if folder and folder.is_dir() else path


def find(path: str) -> Path | None:
    """The folder of `path`: itself if it is one, else the newest snapshot in the Hugging Face cache."""
    folder = Path(path).expanduser()
    if folder.is_dir():
        return folder.resolve()
    if not _is_hub_name(path):
        return None
    from huggingface_hub import try_to_load_from_cache  # heavy: only where a hub name has to be looked up

    try:
        cached = [try_to_load_from_cache(path, name) for name in ("config.json", "tokenizer_config.json")]
    except ValueError:  # no name that a repository could have
        return None
    return next((Path(file).parent for file in cached if isinstance(file, str)), None)


def _weights(model: ModelConfig, folder: Path | None, complaints: list[str]) -> str | None:
    if model.init is Init.RANDOM:
        complaints += _ignored_path(model, folder)
        return None
    if model.num_layers:
        complaints.append("model.num_layers: pretrained weights have their own layers. Add model.init=random.")
    if model.path is None:
        complaints.append("model.path: not set. Give a folder of weights, or model.init=random.")
    elif folder is None:
        complaints.append(_missing(model.path))
    elif complaint := _no_weights(folder, model.allow_pickle):
        complaints.append(f"model.path: {folder} holds {complaint}")
    return str(folder) if folder else None


def _ignored_path(model: ModelConfig, folder: Path | None) -> list[str]:
    """A model from scratch reads its path's config.json and tokenizer alone, where it has none of its own."""
    if not model.path:
        return []
    has_tokenizer = not model.tokenizer and bool(folder or _is_hub_name(model.path))
    if "model_type" not in model.architecture:
        is_ignored = bool(folder and not _is_hub_name(model.path)) and _differs(folder, model.published)
    else:
        is_ignored = not has_tokenizer
    return [
        f"model.path: {model.path} would not be read: model={model.name} starts from scratch (model.init=random) with "
        "an architecture of its own. Leave it out, or take model=hf, which reads it."
    ] * is_ignored


def _differs(folder: Path | None, published: Mapping[str, Any]) -> bool:
    """Whether the config.json of `folder` is of another model than the published one."""
    try:
        values = files.read_json(folder / "config.json") if folder else {}
    except (OSError, ValueError):
        return False
    return isinstance(values, dict) and any(key in values and values[key] != published[key] for key in published)


def _is_hub_name(path: str) -> bool:
    return path.count("/") == 1 and not path.startswith((".", "/", "~")) and not Path(path).is_dir()


def _no_weights(folder: Path, allow_pickle: bool) -> str:
    """What `folder` holds in the place of weights that may be read; empty where it has them."""
    if any(folder.glob(_SAFETENSORS)):
        return ""
    pickles = sorted(folder.glob(_PICKLES))
    if not pickles:
        return f"no weights ({_SAFETENSORS} or {_PICKLES}). {_NEXT}"
    if allow_pickle:
        return ""
    return (
        f"its weights as a pickle alone ({pickles[0].name}), a format that can hold code. Get safetensors, or set "
        "model.allow_pickle=true: its tensors are then read, and a file with anything else is refused."
    )


_NEXT = "Point model.path=FOLDER at a copy, or set model.init=random to run the architecture from scratch."


def _missing(path: str) -> str:
    fetch = f"Fetch it with `hf download {path}`. " if path.count("/") == 1 and path[0] not in "/.~" else ""
    return (
        f"model.path: {path} is not on this machine (no such folder, and not in the Hugging Face cache). {fetch}{_NEXT}"
    )


def _tokenizer(model: ModelConfig, folder: Path | None, data_tokenizer: str | None, complaints: list[str]) -> str:
    if model.tokenizer:
        return _named_tokenizer("model.tokenizer", model.tokenizer, complaints)
    if folder and _holds_tokenizer(folder):
        return str(folder)
    if data_tokenizer and model.init is Init.RANDOM:
        return _named_tokenizer("data.tokenizer", data_tokenizer, complaints)
    if folder or model.init is Init.RANDOM:  # a missing folder has its own complaint
        complaints.append(
            f"model.tokenizer: no tokenizer for {model.name} on this machine. Give model.tokenizer=FOLDER "
            f"(with {' or '.join(_TOKENIZER_FILES)})"
            + (f", or fetch {model.path} with `hf download`." if model.path and not folder else ".")
        )
    return ""


def _named_tokenizer(key: str, name: str, complaints: list[str]) -> str:
    folder = BUILT_IN_TOKENIZERS.get(name) or find(name)
    if folder and _holds_tokenizer(folder):
        return str(folder)
    complaints.append(
        f"{key}: {name} is not a folder with {' or '.join(_TOKENIZER_FILES)}, nor in the Hugging Face cache. "
        f"Built in: {', '.join(BUILT_IN_TOKENIZERS)}."
    )
    return ""


def _holds_tokenizer(folder: Path) -> bool:
    return any((folder / name).exists() for name in _TOKENIZER_FILES)

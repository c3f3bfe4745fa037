"""A process with little memory that opens files that lie: `python -m tests.faults.lying_models FOLDER`.

Prints a JSON object: what became of each lie, by door; with `sample` of some. With `careless` nothing is compared
beforehand: the control.
"""

from __future__ import annotations

import json
import resource
import shutil
import sys
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import torch

from tests.shared import tiny_model, tiny_tokenizer
from tunefleet.base.errors import UserError
from tunefleet.checkpoint import rng
from tunefleet.config.adapter import AdapterConfig, AdapterName
from tunefleet.data.encode.template_source import find
from tunefleet.model import build, lora, weight_files
from tunefleet.plan.families import size_limits
from tunefleet.runs import text_model

HUGE = 10**12
MEMORY = 1 << 30  # bytes that may be taken beside what is there
Header = dict[str, Any]


def _header(path: Path) -> tuple[Header, bytes]:
    content = path.read_bytes()
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def _packed(header: bytes, content: bytes, length: int | None = None) -> bytes:
    return (len(header) if length is None else length).to_bytes(8, "little") + header + content


def _headers(path: Path) -> dict[str, bytes]:
    """The content of a safetensors file with each lie in its header."""
    header, content = _header(path)
    first, second = [name for name in header if name != "__metadata__"][:2]

    def with_first(**changes: Any) -> bytes:
        return _packed(json.dumps({**header, first: {**header[first], **changes}}).encode(), content)

    whole = json.dumps(header)
    return {
        "a header of 2^60 bytes": _packed(whole.encode(), content, 1 << 60),
        "a header as long as the file": _packed(whole.encode(), content, len(whole) + len(content) - 1),
        "offsets behind the end": with_first(data_offsets=[0, 1 << 50]),
        "offsets that overlap": with_first(**{key: header[second][key] for key in ("data_offsets", "shape")}),
        "a shape of 10^12": with_first(shape=[HUGE]),
        "a shape that overflows": with_first(shape=[1 << 40, 1 << 40]),
        "a negative shape": with_first(shape=[-1, 4]),
        "a dtype that does not fit": with_first(dtype="I16" if header[first]["dtype"] != "I16" else "I32"),
        "an unknown dtype": with_first(dtype="Q3"),
        "NaN": _packed(whole.replace(json.dumps(header[first]["dtype"]), "NaN", 1).encode(), content),
        "100,000 levels": _packed(b'{"a":' * 100_000 + b"1" + b"}" * 100_000, content),
        "a list": _packed(b"[]", content),
        "half of the file": path.read_bytes()[: -len(content) // 2],
        "nothing": b"",
    }


def _edited(path: Path, **changes: Any) -> bytes:
    return json.dumps({**json.loads(path.read_text()), **changes}).encode()


CONFIG_LIES: Mapping[str, Any] = {
    "vocab_size": HUGE,
    "hidden_size": HUGE,
    "intermediate_size": HUGE,
    "num_hidden_layers": 10**9,
    "num_attention_heads": 10**9,
    "max_position_embeddings": HUGE,
}
CAUGHT_BY_US = ("config: vocab_size=16777216", "adapter: rank")
SAMPLED = 5  # one in so many
SUBTLE = {"vocab_size": 1 << 24}  # possible, and not the files'


def lies(model: Path, adapter: Path) -> dict[str, tuple[Path, str, bytes]]:
    """{its name: (the folder to open, the file that lies, its content)}."""
    weights, adapter_weights = model / "model.safetensors", adapter / "adapter_model.safetensors"
    return {
        **{f"model: {name}": (model, weights.name, content) for name, content in _headers(weights).items()},
        **{f"adapter: {name}": (adapter, adapter_weights.name, c) for name, c in _headers(adapter_weights).items()},
        **{
            f"config: {key}={value}": (model, "config.json", _edited(model / "config.json", **{key: value}))
            for key, value in [*CONFIG_LIES.items(), *SUBTLE.items()]
        },
        "adapter: rank": (adapter, "adapter_config.json", _edited(adapter / "adapter_config.json", r=HUGE)),
    }


def _outcome(act: Callable[[], object]) -> str:
    try:
        act()
    except UserError as error:
        return f"refused: {error}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    return "opened"


def _random_states(path: Path) -> dict[str, bytes]:
    path.write_bytes(rng.to_bytes(rng.capture()))
    return _headers(path)


def _folders(root: Path) -> tuple[Path, Path]:
    """A model, and an adapter on it."""
    model, adapter = root / "model", root / "adapter"
    tokenizer = tiny_tokenizer()
    tokenizer.chat_template = find("chatml", None)
    network = tiny_model("llama", vocab_size=320)
    network.save_pretrained(model)
    lora.attach(network, AdapterConfig(name=AdapterName.LORA, rank=4), 0, str(model))
    network.save_pretrained(adapter)
    for folder in (model, adapter):
        tokenizer.save_pretrained(folder)
    return model, adapter


def main() -> None:
    """Each lie in a copy of its folder, through each door that reads such a folder."""
    root = Path(sys.argv[1])
    if is_careless := "careless" in sys.argv:
        size_limits.complaints = lambda config: []
        weight_files.expect_fitting = weight_files.expect_fitting_adapter = lambda *_: None
    model, adapter = _folders(root)
    text_model.of_folder(adapter)  # all that is imported is there
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
    results = {}
    chosen = {name: lie for name, lie in lies(model, adapter).items() if not is_careless or name in CAUGHT_BY_US}
    for name, (folder, file, content) in list(chosen.items())[:: SAMPLED if "sample" in sys.argv else 1]:
        shutil.rmtree(root / "copy", ignore_errors=True)
        shutil.copytree(folder, root / "copy")
        (root / "copy" / file).write_bytes(content)
        results[f"chat, serve: {name}"] = _outcome(lambda: text_model.of_folder(root / "copy"))
        base = model if folder == adapter else None
        results[f"evaluate: {name}"] = _outcome(partial(build.read_export, root / "copy", torch.float32, base))
    for name, content in {} if is_careless else _random_states(root / "random-0.safetensors").items():
        (root / "random-0.safetensors").write_bytes(content)
        results[f"resume: {name}"] = _outcome(lambda: rng.read(root, 0))
    print(json.dumps(results))


if __name__ == "__main__":
    main()

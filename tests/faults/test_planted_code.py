"""Does code run that somebody planted in a file that a run, an export or a command reads?

DeepSpeed's shards in all ways in which they are read are in `tests/engine/test_shards.py`; what stands here is every
other kind of file, and a command that reads a tokenizer that brings Python of its own.
"""

from __future__ import annotations

import contextlib
import json
import pickle
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from tests.engine.planted import Planted
from tests.plans import LLAMA
from tests.shared import tiny_tokenizer
from tests.stories.commands import tunefleet
from tunefleet.base import delivery, files, status
from tunefleet.checkpoint import checkpoint_manifest, pointer, rng
from tunefleet.engine import frozen, shards
from tunefleet.model import build
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources


def by_pickle(path: Path, planted: Planted) -> None:
    path.write_bytes(pickle.dumps(planted))


def by_torch(path: Path, planted: Planted) -> None:
    torch.save({"module": planted, "python": planted}, path)


def by_numpy(path: Path, planted: Planted) -> None:
    with open(path, "wb") as stream:
        np.save(stream, np.array([planted], dtype=object), allow_pickle=True)


def model(path: Path) -> None:
    files.write_json(path.parent / "config.json", LLAMA)
    build.build(Sources(str(path.parent), "", Architecture(LLAMA), allow_pickle=path.suffix == ".bin"), 0)


Reader = Callable[[Path], Any]
READ: Mapping[str, tuple[Callable[[Path, Planted], None], Reader]] = {
    # the name of the file: how code is planted in it, how it is read
    "mp_rank_00_model_states.pt": (by_torch, shards.read),
    "random-0.pt": (by_torch, lambda path: rng.read(path.parent, 0)),
    "random-0.safetensors": (by_pickle, lambda path: rng.read(path.parent, 0)),
    "manifest.json": (by_pickle, lambda path: checkpoint_manifest.read(path.parent)),
    "latest.json": (by_pickle, lambda path: pointer.read(path.parent)),
    "frozen.json": (by_pickle, lambda path: frozen.expect(path.parent, 1)),
    "status.json": (by_pickle, status.read),
    "tunefleet.json": (by_pickle, lambda path: delivery.record(path.parent)),
    "model.safetensors": (by_pickle, model),
    "pytorch_model.bin": (by_torch, model),
    "tokens.npy": (by_numpy, lambda path: np.load(path, mmap_mode="r")),
}
UNPICKLED: Mapping[Callable[[Path, Planted], None], Reader] = {
    by_pickle: lambda path: pickle.loads(path.read_bytes()),
    by_torch: lambda path: torch.load(path, weights_only=False),
    by_numpy: lambda path: np.load(path, allow_pickle=True),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_planted_in_a_file_does_not_run(tmp_path: Path, name: str) -> None:
    """With the control that the same file runs it where it is unpickled."""
    plant, read = READ[name]
    path, marker = tmp_path / name, tmp_path / "ran"
    plant(path, Planted(marker))
    with contextlib.suppress(Exception):  # that it is refused, and how, is the affair of other tests
        read(path)
    assert not marker.exists()
    UNPICKLED[plant](path)
    assert marker.exists()


PYTHON = "import pathlib\npathlib.Path({marker!r}).touch()\nclass Mine: pass\n"
NAMED = {"AutoConfig": "mine.Mine", "AutoModelForCausalLM": "mine.Mine", "AutoTokenizer": ["mine.Mine", "mine.Mine"]}


@pytest.fixture
def home(tmp_path: Path) -> Path:
    """A model whose configuration and tokenizer name Python in their folder, which makes `ran` when it is imported."""
    folder = tmp_path / "model"
    tiny_tokenizer().save_pretrained(folder)
    (folder / "mine.py").write_text(PYTHON.format(marker=str(tmp_path / "ran")))
    files.write_json(folder / "config.json", {**LLAMA, "model_type": "mine", "auto_map": NAMED})
    settings = json.loads((folder / "tokenizer_config.json").read_text())
    files.write_json(folder / "tokenizer_config.json", {**settings, "tokenizer_class": "Mine", "auto_map": NAMED})
    files.write_text(tmp_path / "rows.jsonl", json.dumps({"prompt": "one", "completion": "two"}) + "\n")
    return folder


def test_data_show_runs_no_python_of_a_tokenizer_and_asks_nothing(tmp_path: Path, home: Path) -> None:
    typed = ["data", "show", "data=jsonl", "data.path=rows.jsonl", f"model.tokenizer={home}", "data.template=plain"]
    printed = tunefleet(tmp_path, *typed, "model.init=random", code=2, typed="y\ny\n")
    assert "brings Python code of its own, which is never run here" in printed
    assert not (tmp_path / "ran").exists()


def test_control_transformers_runs_it_where_it_may(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from transformers import AutoTokenizer

    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    with contextlib.suppress(Exception):
        AutoTokenizer.from_pretrained(str(home), trust_remote_code=True)
    assert (tmp_path / "ran").exists()

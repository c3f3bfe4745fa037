"""Does Python that comes with a model or its tokenizer run, when the user answers `y` to whatever is asked?"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.plans import LLAMA
from tests.shared import tiny_tokenizer
from tunefleet.base.errors import ConfigError
from tunefleet.model import build, tokenizer
from tunefleet.plan.families.architecture import Architecture
from tunefleet.plan.paths.model_files import Sources


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A model whose configuration and tokenizer name code in the folder, which makes `ran` when it is imported."""
    monkeypatch.setattr("builtins.input", lambda *_: "y")
    home = tmp_path / "model"
    tiny_tokenizer().save_pretrained(home)
    code = f"import pathlib\npathlib.Path({str(tmp_path / 'ran')!r}).touch()\nclass Mine: pass\n"
    (home / "mine.py").write_text(code)
    named: dict[str, Any] = {
        "AutoConfig": "mine.Mine",
        "AutoModelForCausalLM": "mine.Mine",
        "AutoTokenizer": ["mine.Mine", "mine.Mine"],
    }
    config = {**LLAMA, "model_type": "mine", "auto_map": named}
    (home / "config.json").write_text(json.dumps(config))
    settings = json.loads((home / "tokenizer_config.json").read_text())
    settings |= {"tokenizer_class": "Mine", "auto_map": named}
    (home / "tokenizer_config.json").write_text(json.dumps(settings))
    return home


def test_a_models_own_code_does_not_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.path: .* brings Python code of its own, which is never run"):
        build.build(Sources(str(folder), str(folder), Architecture({})), 0)
    assert not (tmp_path / "ran").exists()


def test_a_tokenizers_own_code_does_not_run(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.tokenizer: .* brings Python code of its own"):
        tokenizer.load(str(folder), "mine")
    assert not (tmp_path / "ran").exists()


def test_control_transformers_alone_asks_and_runs_it(folder: Path, tmp_path: Path, monkeypatch: Any) -> None:
    from transformers import AutoConfig

    monkeypatch.setenv("HF_HOME", str(tmp_path / "home"))
    with pytest.raises(Exception):  # noqa: B017, PT011  # what comes of the foreign class is its own affair
        AutoConfig.from_pretrained(str(folder), local_files_only=True).hidden_size  # noqa: B018
    assert (tmp_path / "ran").exists()


class Planted:
    """Makes a file when it is unpickled."""

    def __init__(self, marker: Path) -> None:
        self._marker = marker

    def __reduce__(self) -> Any:
        return Path.touch, (self._marker,)


@pytest.mark.parametrize(
    ("allowed", "message"),
    [(True, "a pickle that holds more than weights"), (False, "no file named model.safetensors")],
)
def test_a_pickle_of_weights_does_not_run(tmp_path: Path, allowed: bool, message: str) -> None:
    (tmp_path / "config.json").write_text(json.dumps(LLAMA))
    torch.save({"model.norm.weight": torch.ones(32), "x": Planted(tmp_path / "ran")}, tmp_path / "pytorch_model.bin")
    with pytest.raises(ConfigError, match=rf"model\.path: .* {message}"):
        build.build(Sources(str(tmp_path), "", Architecture(LLAMA), allow_pickle=allowed), 0)
    assert not (tmp_path / "ran").exists()
    torch.load(tmp_path / "pytorch_model.bin", weights_only=False)  # control
    assert (tmp_path / "ran").exists()

"""Does a SavedModel compute what torch does? TUNEFLEET_TENSORFLOW_PYTHON names a Python that has TensorFlow."""

from __future__ import annotations

import importlib.util
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from tests.shared import tiny_model, tiny_tokenizer
from tunefleet.base.errors import ExportError, RunError
from tunefleet.model.export import export
from tunefleet.runs import tensorflow_export

ROPE = {"rope_type": "llama3", "rope_theta": 1e4, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0}
CASES: dict[str, tuple[str, dict[str, Any]]] = {
    "opt": ("opt", {}),
    "opt, norms after": ("opt", {"do_layer_norm_before": False}),
    "gpt2": ("gpt2", {}),
    "gpt_neox": ("gpt_neox", {}),
    "llama, eps": ("llama", {"rms_norm_eps": 1e-5}),
    "llama 3.1": ("llama", {"rope_parameters": ROPE | {"original_max_position_embeddings": 16}, "rms_norm_eps": 1e-5}),
    "mistral": ("mistral", {"rms_norm_eps": 1e-5}),
    "qwen2": ("qwen2", {}),
}


def exported(folder: Path, family: str, **changes: Any) -> Path:
    model = tiny_model(family, vocab_size=320, **changes)
    export(folder, model, dict(model.state_dict()), tiny_tokenizer(), "{{ messages }}", [2])
    AutoTokenizer.from_pretrained(folder).save_pretrained(folder)  # as transformers reads it for this family
    return folder


@pytest.fixture(scope="module")
def python() -> str:
    program = os.environ.get("TUNEFLEET_TENSORFLOW_PYTHON", sys.executable)
    if program == sys.executable and not importlib.util.find_spec("keras_hub"):
        pytest.skip("keras-hub is not installed; TUNEFLEET_TENSORFLOW_PYTHON names a Python that has it")
    return program


@pytest.mark.parametrize("name", CASES)
def test_a_saved_model_is_the_model(python: str, tmp_path: Path, name: str) -> None:
    family, changes = CASES[name]
    source = exported(tmp_path / "torch", family, **changes)
    compared = tensorflow_export.write(source, tmp_path / "tensorflow", python)
    assert "greedy answers and all ids equal" in compared
    assert (tmp_path / "tensorflow" / "saved_model.pb").is_file()


def test_control_a_folder_whose_weights_change_meanwhile_is_refused(
    python: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What TensorFlow reads is compared with what torch had read: another model is no export of this run."""
    source, other = exported(tmp_path / "torch", "llama"), exported(tmp_path / "other", "llama", initializer_range=0.31)
    wrapper = tmp_path / "python"
    wrapper.write_text(f'#!/bin/sh\nmv {other}/model.safetensors {source}/\nexec {python} "$@"\n')
    wrapper.chmod(0o755)
    with pytest.raises(ExportError, match=r"logits are up to .* from torch's; 0\.0001 is allowed"):
        tensorflow_export.write(source, tmp_path / "tensorflow", str(wrapper))


@pytest.mark.parametrize(
    ("program", "message"),
    [("/nowhere/python", "No such file or directory"), (sys.executable, "No module named 'keras'")],
)
def test_without_tensorflow_it_is_one_line(tmp_path: Path, program: str, message: str) -> None:
    if program == sys.executable and importlib.util.find_spec("keras"):
        pytest.skip("keras is installed here")
    source = exported(tmp_path / "torch", "llama")
    with pytest.raises(RunError, match=message) as refused:
        tensorflow_export.write(source, tmp_path / "tensorflow", program)
    assert "\n" not in str(refused.value)

"""Is a run named after what it trains?"""

from __future__ import annotations

from pathlib import Path

import pytest

from tunefleet.config import RunConfig
from tunefleet.config.load import dump, load
from tunefleet.plan.naming import run_name


def named(model: str, path: str | None, name: str | None = None) -> str:
    values = dump(RunConfig()) | {"name": name}
    values["model"] = {**values["model"], "name": model, "path": path}
    return run_name(load(RunConfig, values), "0123456789")


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("facebook/opt-125m", "opt-125m"),
        ("/models/Qwen2.5-7B/", "Qwen2.5-7B"),
        ("/hub/models--meta-llama--Llama-3.2-1B/snapshots/4e20de36", "Llama-3.2-1B"),
        ("/models/my model (new)", "my-model-new"),
        ("/outputs/first/export", "first"),
        ("/models/模型", "模型"),
        ("/", "hf"),
        (None, "hf"),
    ],
)
def test_any_model_is_named_after_its_folder(path: str | None, name: str) -> None:
    assert named("hf", path) == f"jsonl_{name}_ddp-01234567"


def test_a_folder_is_named_wherever_one_stands(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "tuned").mkdir()
    monkeypatch.chdir(tmp_path / "tuned")
    for path in (".", "../tuned", "../tuned/"):
        assert named("hf", path) == "jsonl_tuned_ddp-01234567"


def test_other_models_have_names_and_a_name_is_a_name() -> None:
    assert named("opt-125m", "facebook/opt-125m-copy") == "jsonl_opt-125m_ddp-01234567"
    assert named("hf", "facebook/opt-125m", name="mine") == "mine"

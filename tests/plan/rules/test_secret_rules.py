"""Is a secret in a setting refused before it is saved, by name, and without repeating it?"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.plans import tiny_plan
from tunefleet.base.errors import ConfigError
from tunefleet.plan.rules import secret_rules

CANARY = "canary-5f3a9b7c"


@pytest.mark.parametrize(
    ("key", "settings"),
    [
        ("launch.setup", {"launch": {"name": "slurm", "setup": ["module load x", f"export HF_TOKEN={CANARY}"]}}),
        ("launch.srun_args", {"launch": {"name": "slurm", "srun_args": [f"--export=WANDB_API_KEY={CANARY}"]}}),
        ("launch.extra.api-key", {"launch": {"name": "slurm", "extra": {"api-key": CANARY}}}),
        ("tracking.run_name", {"tracking": {"run_name": f"token={CANARY}"}}),
        ("tracking.tags", {"tracking": {"tags": ["a", f"https://me:{CANARY}@host"]}}),
        ("data.path", {"data": {"path": f"https://me:{CANARY}@host/rows.jsonl"}}),
        ("model.path", {"model": {"name": "hf", "path": f"https://host/m?token={CANARY}"}}),
    ],
)
def test_a_secret_in_a_setting_is_refused_without_being_repeated(
    tmp_path: Path, key: str, settings: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError) as raised:
        tiny_plan(tmp_path, **settings)
    message = next(line for line in raised.value.complaints if "holds a secret" in line)
    assert message.startswith(f"{key}: ")
    assert "***" in message
    assert CANARY not in message


def test_the_value_of_a_secret_variable_is_a_secret_everywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = tiny_plan(tmp_path, tracking={"project": CANARY})  # the control: nothing tells that it is one
    assert plan.config.tracking.project == CANARY
    monkeypatch.setenv("HF_TOKEN", CANARY)
    with pytest.raises(ConfigError, match=r"tracking.project: '\*\*\*' holds a secret"):
        tiny_plan(tmp_path, tracking={"project": CANARY})


def test_what_was_typed_and_overruled_is_saved_too() -> None:
    assert secret_rules.in_overrides(["optimizer.lr=1e-4", "data=demo"]) == []
    (complaint,) = secret_rules.in_overrides(["lr=3", f"tracking.project=https://x:{CANARY}@y"])
    assert complaint.startswith("tracking.project=https://***@y: holds a secret.")


def test_settings_that_only_look_alike_are_none(tmp_path: Path) -> None:
    setup = ["export HF_TOKEN=$(cat ~/.token)", "source ~/.secrets", 'export WANDB_API_KEY="$MINE"']
    plan = tiny_plan(tmp_path, launch={"name": "slurm", "gpus_per_node": 1, "setup": setup})
    assert list(plan.config.launch.setup) == setup

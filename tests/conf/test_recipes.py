"""Does every recipe compose and plan without a network and weights, and does its card say what the planner says?"""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.recipes import Recipe, recipes

from tunefleet.base.errors import ConfigError
from tunefleet.doors.compose import from_overrides
from tunefleet.doors.plan import cost


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No network, and an empty Hugging Face cache."""

    def refuse(*args: object) -> None:
        raise AssertionError(f"a connection to {args}")

    monkeypatch.setattr("socket.socket.connect", refuse)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))


def test_there_are_twelve() -> None:
    assert len(recipes()) == 12


@pytest.mark.parametrize("recipe", recipes(), ids=lambda recipe: recipe.path.stem)
def test_a_recipe_fits_its_machine_and_states_its_cost(recipe: Recipe) -> None:
    assert recipe.planned() == recipe.text, "python -m benchmarks.recipes writes the cards anew"
    card = from_overrides([f"experiment={recipe.name}"]).experiment
    assert "GPU-hours" in card.cost
    assert card.cost.endswith("not run")
    assert recipe.machine in recipe.text


def test_a_recipe_that_does_not_fit_is_refused() -> None:
    """Control: what makes the test above refuse a recipe for too small a machine."""
    with pytest.raises(ConfigError, match="does not fit 1x1xT4-16G"):
        cost(from_overrides(["experiment=recipes/llama-3.1-8b-lora-80gb"]), "1x1xT4-16G")

"""What the recipes of conf/experiment/recipes cost: GPU-hours and memory by the planner, written into their cards.

    python -m benchmarks.recipes [--check]

Plans each on the machine that its card names, without a network or weights, and writes the line `Cost` anew. With
--check it writes nothing, and ends with 1 where a card says something else than the planner.
"""

from __future__ import annotations

import argparse
import re
import sys
from dataclasses import dataclass
from pathlib import Path

from tunefleet.doors import compose
from tunefleet.doors.plan import Cost, cost

RECIPES = compose.CONF / "experiment" / "recipes"
_MACHINE = re.compile(r"^(# Cost:|  cost:) .*\bon (?P<machine>\S+?)[;,].*$", re.MULTILINE)


@dataclass(frozen=True)
class Recipe:
    """A file of a recipe."""

    path: Path

    @property
    def name(self) -> str:
        """As it is typed behind `experiment=`."""
        return f"recipes/{self.path.stem}"

    @property
    def text(self) -> str:
        """The file as it is."""
        return self.path.read_text(encoding="utf-8")

    @property
    def machine(self) -> str:
        """The machine that its card names."""
        match = _MACHINE.search(self.text)
        assert match is not None, f"{self.path}: its card names no machine."
        return match["machine"]

    def planned(self) -> str:
        """The file with what the planner says of its cost."""
        line = card_line(cost(compose.from_overrides([f"experiment={self.name}"]), self.machine), self.machine)
        return _MACHINE.sub(lambda match: f"{match[1]} {line}", self.text)


def recipes() -> list[Recipe]:
    """Every recipe, by name."""
    return [Recipe(path) for path in sorted(RECIPES.glob("*.yaml"))]


def card_line(planned: Cost, machine: str) -> str:
    """Such as `2.1 GPU-hours on 1x1xRTX4090-24G; 15.2 of 23.6 GiB of a GPU; by the planner, not run`."""
    memory = f"{planned.gib:.1f} of {planned.limit_gib:.1f} GiB of a GPU"
    return f"{planned.gpu_hours:.1f} GPU-hours on {machine}; {memory}; by the planner, not run"


def main() -> None:
    """Writes or compares every card."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true")
    args = parser.parse_args()
    stale = []
    for recipe in recipes():
        planned = recipe.planned()
        stale += [recipe.name] if planned != recipe.text else []
        if not args.check:
            recipe.path.write_text(planned, encoding="utf-8")
        print(f"{recipe.name}: {re.findall('# Cost: (.*)', planned)[0]}")
    sys.exit(f"stale: {', '.join(stale)}" if args.check and stale else 0)


if __name__ == "__main__":
    main()

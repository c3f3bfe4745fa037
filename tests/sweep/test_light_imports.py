"""Is Optuna imported by a sampler that needs it, and by nothing else of a sweep?"""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

DRAW = """
import importlib, json, pkgutil, sys
import tunefleet.sweep
for module in pkgutil.walk_packages(tunefleet.sweep.__path__, "tunefleet.sweep."):
    if module.name != "tunefleet.sweep.optuna_study":
        importlib.import_module(module.name)
from tunefleet.config import load
from tunefleet.config.sweep import SweepConfig
from tunefleet.sweep import draw, rungs, space_reader
from tunefleet.sweep.study import Study
sampler = {"name": sys.argv[1], "startup_trials": 1}
space = {"optimizer.lr": "1e-5,1e-4"}
sweep = load(SweepConfig, {"space": space, "sampler": sampler, "pruner": {"name": "asha"}, "trials": 2})
drawn = draw.draw(space_reader.read(sweep), sweep, Study(), lambda values: "")
rungs.decide(Study(), sweep, all_drawn=True)
print(json.dumps([drawn.values, sorted({"optuna", "torch", "transformers", "wandb", "scipy"} & set(sys.modules))]))
"""


@pytest.mark.parametrize(("sampler", "heavy"), [("grid", []), ("tpe", ["optuna"]), ("random", ["optuna"])])
def test_what_a_draw_imports(sampler: str, heavy: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, "-c", DRAW, sampler], capture_output=True, text=True, timeout=120, check=True
    )
    values, modules = json.loads(done.stdout)
    assert set(values) == {"optimizer.lr"}
    assert set(modules) - {"scipy"} == set(heavy)

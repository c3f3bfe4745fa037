"""Do imports go down only, and does nothing heavy lie below the rooms?"""

from __future__ import annotations

import ast
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "src" / "tunefleet"
SOURCES = sorted([ROOT / "train.py", *(ROOT / "src").rglob("*.py")])
HEAVY = {"torch", "deepspeed", "transformers", "wandb", "optuna", "datasets", "pyarrow", "tiktoken"}
ALLOWED = {  # where a sampler that learns is asked, and in the function that a report calls
    "sweep/optuna_study.py": {"optuna"},
    "sweep/importance.py": {"optuna"},
}
LIGHT_FLOORS = ("base", "config", "contracts.py", "plan", "launch", "sweep", "report", "board")
LINT = "from importlinter.cli import lint_imports_command; lint_imports_command()"


def lint(src: Path) -> subprocess.CompletedProcess[str]:
    """import-linter with this project's contracts, over the package in `src`."""
    command = [sys.executable, "-c", LINT, "--config", str(ROOT / "pyproject.toml"), "--no-cache", "--no-logo"]
    environment = {**os.environ, "PYTHONPATH": str(src)}
    return subprocess.run(command, cwd=src, env=environment, capture_output=True, text=True, timeout=120)


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of src/ that a test may spoil, and must mend again."""
    src = tmp_path_factory.mktemp("copy") / "src"
    shutil.copytree(PACKAGE, src / "tunefleet", ignore=shutil.ignore_patterns("__pycache__"))
    return src


def test_the_contracts_are_kept() -> None:
    done = lint(ROOT / "src")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout


def test_control_the_copy_keeps_them_too(copy: Path) -> None:
    done = lint(copy)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("file", "line", "edge"),
    [
        ("base/units.py", "import tunefleet.runs", "tunefleet.base.units -> tunefleet.runs"),
        ("base/units.py", "import tunefleet.doors.compose", "tunefleet.base.units -> tunefleet.doors.compose"),
        (
            "data/batches/order.py",
            "import tunefleet.optim.schedules",
            "tunefleet.data.batches.order -> tunefleet.optim.schedules",
        ),
        ("plan/processes/batch.py", "def f():\n    import torch", "tunefleet.plan.processes.batch -> torch"),
        ("plan/estimate/work.py", "import tunefleet.plan.make", "tunefleet.plan.estimate.work -> tunefleet.plan.make"),
        ("data/read/hub.py", "import tunefleet.data.prepare", "tunefleet.data.read.hub -> tunefleet.data.prepare"),
        ("launch/local.py", "import wandb", "tunefleet.launch.local -> wandb"),
        ("sweep/rungs.py", "def f():\n    import optuna", "tunefleet.sweep.rungs -> optuna"),
        ("sweep/draw.py", "import tunefleet.doors.compose", "tunefleet.sweep.draw -> tunefleet.doors.compose"),
    ],
    ids=[
        *("up", "up two", "room to room", "torch in a function", "up within plan", "up within data", "wandb in launch"),
        *("optuna in a function", "doors in sweep"),
    ],
)
def test_control_a_wrong_import_breaks_them(copy: Path, file: str, line: str, edge: str) -> None:
    path = copy / "tunefleet" / file
    before = path.read_text(encoding="utf-8")
    try:
        path.write_text(f"{before}\n\n{line}\n", encoding="utf-8")
        done = lint(copy)
    finally:
        path.write_text(before, encoding="utf-8")
    assert done.returncode == 1
    assert "1 broken" in done.stdout
    assert edge in done.stdout


def test_every_folder_of_the_package_has_a_floor() -> None:
    """A folder that no layer names would be checked by nobody."""
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
    layers = next(contract["layers"] for contract in contracts if contract["type"] == "layers")
    floors = {room.strip() for layer in layers for room in layer.split("|")}
    folders = {path.parent.name for path in PACKAGE.glob("*/__init__.py")} - {"conf"}  # a link to conf/
    modules = {path.stem for path in PACKAGE.glob("*.py")} - {"__init__", "__main__"}
    assert folders | modules == floors


# What import-linter does not see


def imported(source: str) -> set[str]:
    """Top-level names that `source` imports anywhere, but for what only type checkers read."""
    return {name.split(".")[0] for name in _imports(ast.parse(source))}


def _imports(node: ast.AST) -> list[str]:
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        return [name for child in node.orelse for name in _imports(child)]
    if isinstance(node, ast.Import):
        return [alias.name for alias in node.names]
    if isinstance(node, ast.ImportFrom):
        return [node.module or ""]
    return [name for child in ast.iter_child_nodes(node) for name in _imports(child)]


@pytest.mark.parametrize(
    "path",
    [path for path in SOURCES if set(path.relative_to(ROOT).parts[2:3]) & set(LIGHT_FLOORS)],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_no_import_of_torch_below_the_rooms_in_a_function_either(path: Path) -> None:
    assert imported(path.read_text(encoding="utf-8")) & HEAVY == ALLOWED.get(str(path.relative_to(PACKAGE)), set())


def test_control_a_hidden_import_is_found() -> None:
    assert imported("def f():\n    from torch.nn import Linear\n") == {"torch"}
    assert imported("if TYPE_CHECKING:\n    import torch\nelse:\n    import wandb\n") == {"wandb"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ROOT)))
def test_the_first_line_is_a_docstring_that_stands_alone(path: Path) -> None:
    source = path.read_text(encoding="utf-8")
    first = source.splitlines()[0]
    assert first.startswith('"""'), first
    assert ast.get_docstring(ast.parse(source))
    assert first.removesuffix('"""').endswith((".", "?")), first

"""What the code and its tests import stands in pyproject.toml: the environment of `make setup` lacks nothing."""

import ast
import sys
import tomllib
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).parents[2]
SHIPPED = metadata.packages_distributions()
OURS = {"tunefleet", "tests", "benchmarks", "documentation"}
WITH_OTHERS = {  # what cannot be without them
    "antlr4": "hydra-core",
    "httpx": "openai",
    "keras": "keras-hub",
    "packaging": "hydra-core",
    "psutil": "deepspeed",
    "pydantic": "deepspeed",
    "requests": "datasets",
    "yaml": "omegaconf",
}


def required(*extras: str) -> set[str]:
    """The names of the packages that pyproject.toml asks for."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = [*project["dependencies"], *(line for extra in extras for line in project["optional-dependencies"][extra])]
    return {Requirement(line).name.lower().replace("_", "-") for line in lines}


def imports(code: str) -> Iterator[str]:
    """The packages that a module cannot be imported without: functions import when they are called."""
    for node in ast.parse(code).body:
        if isinstance(node, ast.Import):
            yield from (name.name.partition(".")[0] for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module.partition(".")[0]


def missing(code: str, packages: set[str]) -> list[str]:
    """The packages of a module that nobody asks for."""
    foreign = set(imports(code)) - OURS - set(sys.stdlib_module_names)
    return sorted(name for name in foreign if packages.isdisjoint(_shippers(name)))


def _shippers(name: str) -> set[str]:
    """The packages that bring a module; one that is not installed has the module's name."""
    shippers = SHIPPED.get(name, [name])
    return {shipper.lower().replace("_", "-") for shipper in (*shippers, WITH_OTHERS.get(name, name))}


@pytest.mark.parametrize(("folder", "extras"), [("src", ("tensorflow",)), ("tests", ("dev",))])
def test_every_import_is_asked_for(folder: str, extras: tuple[str, ...]) -> None:
    packages = required(*extras)
    found = {str(path.relative_to(ROOT)): missing(path.read_text(), packages) for path in (ROOT / folder).rglob("*.py")}
    assert {path: names for path, names in found.items() if names} == {}


def test_a_package_that_nobody_asks_for_is_found() -> None:
    assert missing("import openai\nimport json\nimport torch", {"torch"}) == ["openai"]
    assert missing("import openai", required("dev")) == []
    assert missing("def f():\n    import openai", {"torch"}) == []

"""Is every rule in the one list, once, and does only the plan's maker call it?"""

from __future__ import annotations

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from tests.floors.test_imports import PACKAGE, SOURCES
from tunefleet.config import RunConfig
from tunefleet.plan.rules.all_rules import RULES, complaints
from tunefleet.plan.rules.request import Request

FOLDER = PACKAGE / "plan" / "rules"
HELPERS = {"of_data", "takes_cpu_adam", "notes", "in_overrides", "started_elsewhere", "unprepared"}
"""Public functions of the topics that are no rules."""


def written() -> Iterator[str]:
    """The public functions of every topic, as `topic.function`."""
    for path in sorted(FOLDER.glob("*_rules.py")):
        if path.stem != "all_rules":
            tree = ast.parse(path.read_text(encoding="utf-8"))
            names = [node.name for node in tree.body if isinstance(node, ast.FunctionDef)]
            yield from (f"{path.stem}.{name}" for name in names if not name.startswith("_") and name not in HELPERS)


def listed() -> list[str]:
    """What stands in the list, as it is written there."""
    tree = ast.parse((FOLDER / "all_rules.py").read_text(encoding="utf-8"))
    (value,) = [node.value for node in tree.body if isinstance(node, ast.AnnAssign)]
    assert isinstance(value, ast.Tuple)
    return [ast.unparse(rule.args[0] if isinstance(rule, ast.Call) else rule) for rule in value.elts]


def test_every_rule_is_in_the_list_once() -> None:
    assert len(listed()) == len(RULES) > 20
    assert Counter(rule for rule in listed() if "." in rule) == Counter(written())


def callers(name: str) -> set[str]:
    """Modules that call `all_rules.NAME`."""
    return {path.stem for path in SOURCES if f"all_rules.{name}(" in path.read_text(encoding="utf-8")}


def test_the_maker_calls_it_once_and_what_chooses_asks_it() -> None:
    assert callers("complaints") == {"make", "strategies"}
    assert Path(PACKAGE / "plan" / "make.py").read_text(encoding="utf-8").count("all_rules.complaints(") == 1


def test_what_is_not_decided_yet_silences_the_rules_that_need_it() -> None:
    config = RunConfig()
    assert complaints(Request(config)) == [
        complaint for complaint in complaints(Request(config)) if complaint.startswith("data.path")
    ]

"""Can every test fail? Counts over the syntax trees of all tests what never can; the ceiling is zero."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]
EXPECTING = ("assert", "raises", "warns", "expect", "check", "refuse", "wait_until")  # what a helper's name begins with
PASSING = {  # nothing is raised, or the test fails: each has a neighbour in which the same call raises
    "test_a_lock_that_a_process_has_open_is_left_to_torch",
    "test_a_free_port_can_be_bound",
    "test_a_template_that_trims_answers_puts_them_where_they_belong",
    "test_a_tokenizer_that_has_answered_finds_the_cache",
    "test_good_rows_pass",
    "test_known_settings",
    "test_mathematics_code_and_html_are_no_placeholders",
    "test_pyarrow_is_imported_for_its_files_alone",
    "test_the_word_for_the_data_set_does_not_matter",
    "test_without_a_lock_nothing_is_waited_for",
}


def weak(source: str) -> Iterator[str]:
    """What in `source` cannot fail, as `line: why`."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_") and not _expects(node):
            if node.name not in PASSING:
                yield f"{node.lineno}: {node.name} expects nothing"
        elif isinstance(node, ast.Assert) and _is_always_true(node.test):
            yield f"{node.lineno}: always true: {ast.unparse(node.test)}"
        elif isinstance(node, ast.Call) and _looks_for_nothing(node):
            yield f"{node.lineno}: every text has it: {ast.unparse(node)}"


def _expects(test: ast.FunctionDef) -> bool:
    return any(
        isinstance(node, ast.Assert) or (isinstance(node, ast.Call) and _name(node.func).startswith(EXPECTING))
        for node in ast.walk(test)
    )


def _name(function: ast.expr) -> str:
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "").lstrip("_")


def _is_always_true(test: ast.expr) -> bool:
    if isinstance(test, ast.BoolOp):
        holds = [_is_always_true(value) for value in test.values]
        return any(holds) if isinstance(test.op, ast.Or) else all(holds)
    if isinstance(test, ast.Compare):
        left, right = test.left, test.comparators[0]
        alike = ast.dump(left) == ast.dump(right) and not any(isinstance(node, ast.Call) for node in ast.walk(left))
        empty = isinstance(left, ast.Constant) and left.value in ("", b"") and isinstance(test.ops[0], ast.In)
        return (alike and isinstance(test.ops[0], (ast.Eq, ast.Is, ast.LtE, ast.GtE))) or empty
    return (isinstance(test, ast.Constant) and bool(test.value)) or (isinstance(test, ast.Tuple) and bool(test.elts))


def _looks_for_nothing(call: ast.Call) -> bool:
    text = call.args[0] if call.args else None
    return _name(call.func) in ("startswith", "endswith") and isinstance(text, ast.Constant) and text.value in ("", b"")


def test_every_test_can_fail() -> None:
    files = sorted(TESTS.rglob("test_*.py"))
    assert len(files) > 100
    found = [f"{path.relative_to(TESTS)}:{line}" for path in files for line in weak(path.read_text(encoding="utf-8"))]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    "body",
    [
        "run()",
        "assert True",
        "assert found or True",
        "assert (found, 'it was said')",
        "assert '' in said",
        "assert said == said",
        "assert said.startswith('')",
    ],
)
def test_control_what_cannot_fail_is_counted(body: str) -> None:
    assert len(list(weak(f"def test_it():\n    {body}\n"))) == 1


@pytest.mark.parametrize("body", ["assert found", "expect_complaints(said)", "assert one() == one()", "assert x or y"])
def test_control_what_can_fail_is_not_counted(body: str) -> None:
    assert list(weak(f"def test_it():\n    {body}\n")) == []

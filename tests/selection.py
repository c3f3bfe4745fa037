"""Which cases of a table did pytest select, so that ranks that compute many cases at once compute no others?"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, TypeVar

import pytest

T = TypeVar("T")


def selected(request: pytest.FixtureRequest, name: str) -> list[Any]:
    """The values of parameter `name` that the selected tests of this module have, in their order, each once."""
    specs = (getattr(item, "callspec", None) for item in request.session.items if item.path == request.path)
    return list(dict.fromkeys(spec.params[name] for spec in specs if spec and name in spec.params))


def with_marks(cases: Iterable[T], redundant: Callable[[T], bool]) -> list[Any]:
    """As parameters: the redundant ones run with `make test-all` alone."""
    marks = {True: [pytest.mark.exhaustive], False: []}
    return [pytest.param(case, marks=marks[redundant(case)]) for case in cases]

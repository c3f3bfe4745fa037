"""Does every error end the process with the exit code that the tree in errors.py draws?"""

from __future__ import annotations

import re

import pytest

from tunefleet.base import errors
from tunefleet.base.errors import ConfigError, DataError, TunefleetError, UserError, exit_code_of

CODES: dict[type[BaseException], int] = {
    errors.TunefleetError: 1,
    errors.UserError: 2,
    errors.ConfigError: 2,
    errors.DataError: 2,
    errors.RunError: 2,
    errors.NonFiniteLoss: 3,
    errors.LossSpike: 3,
    errors.ReplicaDrift: 6,
    errors.RankFailure: 1,
    ValueError: 1,
    KeyboardInterrupt: 1,
}


def family(error: type[TunefleetError]) -> set[type[TunefleetError]]:
    return {error}.union(*(family(child) for child in error.__subclasses__()))


@pytest.mark.parametrize(("error", "code"), CODES.items())
def test_exit_code(error: type[BaseException], code: int) -> None:
    assert exit_code_of(error("why")) == code


def test_the_tree_in_the_docstring_is_the_tree_in_the_code() -> None:
    drawn = dict(re.findall(r"^ +[│├└─ ]*([A-Z]\w+) +(\d)", errors.__doc__ or "", re.MULTILINE))
    ours = [error for error in family(TunefleetError) if error.__module__ == errors.__name__]
    assert drawn == {error.__name__: str(error.exit_code) for error in ours}


def test_constants_are_distinct_and_success_is_zero() -> None:
    failures = [errors.FAILED, errors.USER_ERROR, errors.NON_FINITE, errors.HUNG, errors.DISK, errors.DRIFTED]
    assert [errors.DONE, *failures, errors.INTERRUPTED] == [0, 1, 2, 3, 4, 5, 6, 130]


def test_a_user_error_keeps_every_complaint() -> None:
    error = ConfigError("first", "second")
    assert list(error.complaints) == ["first", "second"]
    assert str(error) == "first\nsecond"
    assert isinstance(error, UserError)
    assert not isinstance(error, DataError)

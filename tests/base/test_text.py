"""Are lines for a person aligned?"""

from __future__ import annotations

from tunefleet.base.text import columns, listed


def test_every_column_but_the_last_is_padded_to_its_widest_cell() -> None:
    rows = [("point", "state", "loss"), ("lr=1e-5", "ok", "2.5"), ("x", "not started", "-")]
    assert columns(rows).split("\n") == [
        "point    state        loss",
        "lr=1e-5  ok           2.5",
        "x        not started  -",
    ]


def test_no_line_ends_in_spaces() -> None:
    assert columns([("long name", ""), ("x", "y")]) == "long name\nx          y"


def test_listed_is_a_pair_on_each_line() -> None:
    assert listed({"run": "demo", "kept in": "outputs/demo"}) == "run      demo\nkept in  outputs/demo"


def test_nothing_listed_is_nothing() -> None:
    assert listed({}) == ""

"""Is the next point of a sweep the same for everybody who draws it, and never drawn before?"""

from __future__ import annotations

from tests.sweep.studies import History, definition, points
from tunefleet.sweep.draw import PATIENCE, Drawn, Exhausted
from tunefleet.sweep.space_reader import read

GRID = definition({"optimizer.lr": "1e-5,1e-4", "train.max_steps": "10,20"})


def test_a_grid_is_drawn_in_its_order_to_its_end() -> None:
    history, space = History(), read(GRID)
    while isinstance(ending := history.draw(space, GRID), Drawn):
        assert ending.source == "sampler"
    assert points(history) == list(space.grid())
    assert ending == Exhausted("every point of the space is drawn")


def test_a_point_that_is_refused_is_recorded_once_and_the_next_one_is_drawn() -> None:
    history, space = History(), read(GRID)
    for _ in range(5):
        history.draw(space, GRID, accepts=lambda values: "too large" if values["train.max_steps"] == "20" else "")
    assert [point["train.max_steps"] for point in points(history)] == ["10", "10"]
    assert [point.reason for point in history.study.left_out] == ["too large", "too large"]


def test_a_sampler_gives_up_after_too_many_refusals_and_a_grid_does_not() -> None:
    for sampler, expected in (("random", PATIENCE), ("grid", 300)):
        sweep = definition({"train.max_steps": "range(300)"}, sampler={"name": sampler}, trials=5)
        ending = History().draw(read(sweep), sweep, accepts=lambda values: "does not fit")
        assert isinstance(ending, Exhausted)
        assert len(ending.refused) == expected
        assert ("does not fit" in ending.reason) is (sampler == "random")


def test_pinned_points_come_first_whatever_the_space_holds() -> None:
    history, space = History(), read(GRID)
    history.add("pinned", act="a1", values={"optimizer.lr": "7"}, source="pin")
    history.add("pinned", act="a2", values={"optimizer.lr": "1e-4", "train.max_steps": "10"}, source="clone of 1")
    drawn = [history.draw(space, GRID) for _ in range(3)]
    origins = [
        (point.values["optimizer.lr"], point.source, point.answers) for point in drawn if isinstance(point, Drawn)
    ]
    assert origins == [("7", "pin", "a1"), ("1e-4", "clone of 1", "a2"), ("1e-5", "sampler", None)]
    assert not history.study.pinned


def test_a_pinned_point_that_was_tried_is_refused_with_its_trial() -> None:
    history, space = History(), read(GRID)
    history.draw(space, GRID)
    history.add("pinned", act="a1", values={"train.max_steps": "10", "optimizer.lr": "0.00001"}, source="pin")
    assert isinstance(history.draw(space, GRID), Drawn)
    assert history.study.left_out[0].reason == "is trial 1"
    assert not history.study.pinned


def test_a_pinned_point_that_was_left_out_is_looked_at_again() -> None:
    history, space = History(), read(GRID)
    history.draw(space, GRID, accepts=lambda values: "no room" if values["train.max_steps"] == "10" else "")
    history.add("pinned", act="a1", values=history.study.left_out[0].values, source="pin")
    drawn = history.draw(space, GRID)
    assert isinstance(drawn, Drawn)
    assert drawn.answers == "a1"


def test_a_warm_clone_of_the_same_point_is_another_trial() -> None:
    history, space = History(), read(GRID)
    history.draw(space, GRID)
    history.add("pinned", act="a1", values=points(history)[0], source="clone of 1", warm_from=1)
    drawn = history.draw(space, GRID)
    assert isinstance(drawn, Drawn)
    assert drawn.warm_from == 1


def test_a_wider_space_keeps_what_was_drawn() -> None:
    history = History()
    while isinstance(history.draw(read(GRID), GRID), Drawn):
        pass
    wider = read(GRID, ["optimizer.lr=1e-6,1e-5,1e-4"])
    while isinstance(history.draw(wider, GRID), Drawn):
        pass
    assert [point["optimizer.lr"] for point in points(history)] == ["1e-5"] * 2 + ["1e-4"] * 2 + ["1e-6"] * 2

"""Registry of families: all that the files of `known/` list; a new file there is all that a new family needs."""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from importlib import import_module

from tunefleet.plan.families import known
from tunefleet.plan.families.family import Family


def discover() -> dict[str, Family]:
    """The families of every file of `known/`, by model_type."""
    names = sorted(module.name for module in pkgutil.iter_modules(known.__path__))
    families = [family for name in names for family in import_module(f"{known.__name__}.{name}").FAMILIES]
    by_name = {family.model_type: family for family in families}
    assert len(by_name) == len(families), "a model_type is in two files of known/"
    return by_name


FAMILIES = discover()


def family_of(model_type: str) -> Family:
    """The facts of `model_type`: of an unknown one there are none, and everything is refused."""
    return FAMILIES.get(model_type) or Family(model_type)


def families_that(has: Callable[[Family], object]) -> tuple[str, ...]:
    """The model_types of the known families that have something, in alphabetical order."""
    return tuple(sorted(name for name, family in FAMILIES.items() if has(family)))


def countable() -> tuple[str, ...]:
    """The model_types whose parameters can be counted."""
    return families_that(lambda family: family.count)


def with_stages() -> tuple[str, ...]:
    """The model_types that can be cut into the stages of a pipeline."""
    return families_that(lambda family: family.pipeline)

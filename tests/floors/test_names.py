"""Do names say something? Counts over the syntax trees of src/, with ceilings that only fall."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from tests.floors.names import SRC, bindings, empty, files

CEILING = 0.0007  # share of the bindings in src/ that say nothing: lower it whenever the count falls
NAMESAKES = {  # module names that two files have: take a name out when it is unique, and never put one in
    "data",
    "packing",
    "plan",
    "status",
    "train",
}


def test_few_names_say_nothing() -> None:
    """A name gets on the list (`names.EMPTY`) when it is no noun of the field, does not tell what it names without the
    line that binds it, and stood at several unlike things: a participle, pronoun, adverb or preposition in a noun's
    place, or a verb that fits any act. It is taken off only when it became a term of the glossary in
    docs/architecture.md. `python -m tests.floors.names src/tunefleet/ROOM` lists the offenders of a room."""
    offenders, count = empty(SRC)
    assert count > 10_000
    assert len(offenders) <= CEILING * count, f"{len(offenders)} of {count}, new ones among:\n" + "\n".join(offenders)


def test_the_ceiling_is_lowered_with_the_count() -> None:
    offenders, count = empty(SRC)
    assert len(offenders) / count > CEILING - 0.001, f"{len(offenders)} of {count}: lower the ceiling"
    assert CEILING <= 0.005


@pytest.mark.parametrize(
    ("source", "names"),
    [
        ("found = 1", ["found"]),
        ("def told(given, *, kept=0, **rest): pass", ["told", "given", "kept", "rest"]),
        ("for one, (other, row) in []: pass", ["one", "other"]),
        ("[said for said in []]", ["said"]),
        ("with open('x') as there: pass", ["there"]),
        ("try: pass\nexcept OSError as why: pass", ["why"]),
        ("class Talk: words: int = 0", ["Talk", "words"]),
        ("if (seen := 1): self._told = 2", ["seen", "_told"]),
        ("match x:\n    case {'a': what, **rest}: pass", ["what", "rest"]),
        ("from elsewhere import found\nprint(found)\nself.path = found.said", []),
    ],
)
def test_control_names_that_say_nothing_are_counted(source: str, names: list[str]) -> None:
    assert Counter(binding.name for binding in bindings(source) if binding.says_nothing) == Counter(names)


def test_module_names_are_unique() -> None:
    """A command of doors/ or a group of config/ may have the name of what it is about: its folder tells them apart."""
    counts = Counter(path.stem for path in files(SRC) if not path.stem.startswith("__"))
    assert {name for name, count in counts.items() if count > 1} == NAMESAKES


QUESTIONS = ("How", "What", "Which", "Where", "When", "Who", "Why", "May", "Can", "Is", "Are", "Does", "Do")


@pytest.mark.parametrize("path", [path for path in files(SRC) if path.name != "__init__.py"], ids=str)
def test_the_first_line_names_a_topic(path: Path) -> None:
    first = path.read_text(encoding="utf-8").split("\n")[0].removeprefix('"""')
    assert "?" not in first
    assert first.split()[0] not in QUESTIONS

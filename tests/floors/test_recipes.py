"""Do the recipes of CONTRIBUTING.md and the map of docs/architecture.md lead to the right files?"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
RECIPES = (
    "an optimizer",
    "a family of models",
    "a parallel strategy",
    "a metric",
    "a format of rows",
    "a sink of metrics",
)
_ELSEWHERE = {  # files of src/ and conf/ that name an example in passing, and would not be touched for another one
    "sharegpt": {"conf/hydra/help/tunefleet.yaml"},
}


@dataclass(frozen=True)
class Place:
    """A file of a list, and the names that it is said to hold."""

    file: str
    names: tuple[str, ...]

    def mistakes(self) -> list[str]:
        """What the list says wrongly."""
        path = ROOT / self.file
        if not path.is_file():
            return [f"{self.file}: is not there"]
        text = path.read_text(encoding="utf-8")
        return [f"{self.file}: has no {name}" for name in self.names if not re.search(rf"\b{re.escape(name)}\b", text)]


@dataclass(frozen=True)
class Recipe:
    """One section of CONTRIBUTING.md."""

    title: str
    example: str
    places: tuple[Place, ...]


def places(text: str) -> tuple[Place, ...]:
    """The lines "- `file`: text with `names`", of which those that are identifiers are looked up."""
    lines = re.findall(r"^- `([\w/.-]+)`: (.*)$", text, re.MULTILINE)
    return tuple(Place(file, tuple(re.findall(r"`([A-Za-z_]\w*)`", rest))) for file, rest in lines)


def recipes(document: str) -> list[Recipe]:
    """The recipes of CONTRIBUTING.md."""
    sections = re.split(r"^### Add ", document, flags=re.MULTILINE)[1:]
    titles = [section.split("\n")[0] for section in sections]
    examples = [re.findall(r"^Example: `(\w+)`", section, re.MULTILINE)[0] for section in sections]
    return [
        Recipe(title, example, places(section))
        for title, example, section in zip(titles, examples, sections, strict=True)
    ]


ALL = recipes((ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8"))


def mentions(example: str) -> set[str]:
    """The files of src/ and conf/ that name `example`, in capitals or not."""
    sources = [path for path in (ROOT / "src").rglob("*.py") if path.parent.name != "imports"]  # what others call it
    files = [*sources, *(ROOT / "conf").rglob("*.yaml")]
    found = (file for file in files if re.search(rf"\b{example}\b", file.read_text(encoding="utf-8"), re.IGNORECASE))
    return {str(file.relative_to(ROOT)) for file in found}


def test_every_recipe_is_there() -> None:
    assert tuple(recipe.title for recipe in ALL) == RECIPES
    assert all(len(recipe.places) > 2 for recipe in ALL)


@pytest.mark.parametrize("recipe", ALL, ids=[recipe.title for recipe in ALL])
def test_its_files_hold_what_it_says(recipe: Recipe) -> None:
    assert [mistake for place in recipe.places for mistake in place.mistakes()] == []


@pytest.mark.parametrize("recipe", ALL, ids=[recipe.title for recipe in ALL])
def test_its_example_is_in_every_file_of_the_list_and_in_no_other(recipe: Recipe) -> None:
    listed = {place.file for place in recipe.places}
    for file in listed:
        assert re.search(rf"\b{recipe.example}\b", (ROOT / file).read_text(encoding="utf-8"), re.IGNORECASE), file
    assert mentions(recipe.example) - _ELSEWHERE.get(recipe.example, set()) <= listed


def test_control_a_wrong_list_is_seen() -> None:
    wrong = places(
        "- `src/tunefleet/gone.py`: is no file\n- `src/tunefleet/contracts.py`: has `Tracker`, and no `Sink_`\n"
    )
    assert [mistake for place in wrong for mistake in place.mistakes()] == [
        "src/tunefleet/gone.py: is not there",
        "src/tunefleet/contracts.py: has no Sink_",
    ]


def test_control_an_unlisted_file_is_seen() -> None:
    optimizer = next(recipe for recipe in ALL if recipe.example == "lion")
    shorter = {place.file for place in optimizer.places} - {"src/tunefleet/plan/estimate/work.py"}
    assert mentions("lion") - shorter == {"src/tunefleet/plan/estimate/work.py"}


def paths(document: str) -> set[str]:
    """The Python files, and folders of them, that a document names between backticks or at the end of a line."""
    ticked = re.findall(r"`([a-z_]+(?:/[\w.]+)*(?:\.py|/))`", document)
    return {*ticked, *re.findall(r"  ([a-z_]+(?:/\w+)*\.py)$", document, re.MULTILINE)}


def test_every_file_that_the_map_names_is_there() -> None:
    named = paths((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 80
    roots = (ROOT, ROOT / "src", ROOT / "src" / "tunefleet")
    assert sorted(name for name in named if not any((root / name).exists() for root in roots)) == []


def stations(document: str) -> list[tuple[str, str]]:
    """(name, file) of each station of the two ways whose name is a class."""
    return re.findall(r"^.{21}([A-Z]\w+) +\S.*  ([a-z_]+(?:/\w+)*\.py)$", document, re.MULTILINE)


def test_every_station_has_its_name_in_its_file() -> None:
    named = stations((ROOT / "docs" / "architecture.md").read_text(encoding="utf-8"))
    assert len(named) > 10
    texts = {file: (ROOT / "src" / "tunefleet" / file).read_text(encoding="utf-8") for _, file in named}
    assert [(name, file) for name, file in named if not re.search(rf"\b{name}\b", texts[file])] == []


def test_control_a_file_that_is_gone_is_seen() -> None:
    assert paths("`base/gone.py` and `plan/`\n   Row   data/read/source_row.py\n") == {
        "base/gone.py",
        "plan/",
        "data/read/source_row.py",
    }


def test_the_glossary_is_short() -> None:
    document = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    glossary = document.split("## Glossary")[1].split("\n## ")[0]
    assert 10 <= len(re.findall(r"^\| (?!term|-)", glossary, re.MULTILINE)) <= 20

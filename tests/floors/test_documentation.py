"""Do pages that commands make say what the code says, does every link lead somewhere, and does the notebook run?"""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from benchmarks import scaling
from documentation import config_reference, notebook, site_hooks

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
CELLS = json.loads(notebook.NOTEBOOK.read_text())["cells"]
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")


def test_the_page_of_settings_is_what_its_command_makes() -> None:
    same = config_reference.PAGE.read_text(encoding="utf-8") == config_reference.page()
    assert same, "run python -m documentation.config_reference"


def test_the_tables_at_scale_are_what_their_command_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("sys.argv", ["scaling"])
    scaling.main()
    page = (ROOT / "docs" / "scaling.md").read_text(encoding="utf-8").splitlines()
    assert set(capsys.readouterr().out.splitlines()) <= set(page), "python -m benchmarks.scaling prints the tables"


def test_every_setting_is_described() -> None:
    assert [row for row in config_reference.page().splitlines() if row.startswith("| `") and row.endswith("|  |")] == []


def broken_links(page: Path) -> list[str]:
    """Links to files that are not there, and to headings that no page has."""
    broken = []
    for link in LINK.findall(page.read_text(encoding="utf-8")):
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = page if not path else (page.parent / path).resolve()
        if not target.exists() or (anchor and target.suffix == ".md" and anchor not in anchors(target)):
            broken.append(link)
    return broken


def anchors(page: Path) -> set[str]:
    """The names of headings as GitHub makes them."""
    titles = re.findall(r"^#+ (.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).strip().replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_lead_somewhere(page: Path) -> None:
    assert broken_links(page) == []


def test_control_a_link_that_leads_nowhere_is_seen(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# A title\n[a](other.md) [b](#a-title) [c](#no-title) [d](https://example.org)\n")
    assert broken_links(page) == ["other.md", "#no-title"]


def test_every_page_is_in_the_site() -> None:
    listed = set(re.findall(r": (\S+\.md)$", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE))
    pages = {str(page.relative_to(ROOT / "docs")) for page in PAGES if page.is_relative_to(ROOT / "docs")}
    assert listed == pages | {"index.md"}


def test_links_out_of_the_site_become_their_texts() -> None:
    assert site_hooks.on_page_markdown("[x](../src/a.py) [y](runs.md)") == "x [y](runs.md)"


def test_the_notebook_was_executed_without_an_error() -> None:
    code = [cell for cell in CELLS if cell["cell_type"] == "code"]
    assert [cell["execution_count"] for cell in code] == [*range(1, len(code) + 1)]
    outputs = [output for cell in code for output in cell["outputs"]]
    assert not any(output["output_type"] == "error" for output in outputs)
    assert [output for output in outputs if "image/png" in output.get("data", {})], "the curve is a picture"


@pytest.mark.exhaustive
def test_the_notebook_runs(tmp_path: Path) -> None:
    copy = tmp_path / "python.ipynb"
    copy.write_text(notebook.NOTEBOOK.read_text())
    notebook.execute(copy, tmp_path)
    done = json.loads(copy.read_text())["cells"]
    assert len(done) == len(CELLS)

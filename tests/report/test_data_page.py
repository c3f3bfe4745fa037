"""Is a page of rows a whole page of ours, whatever its title is?"""

from __future__ import annotations

from tunefleet.report.data_page import BEGINNING, filled


def test_a_page_begins_as_all_pages_and_holds_its_body() -> None:
    page = filled("run", "<pre>row</pre>\n")
    assert page.startswith(BEGINNING)
    assert "<pre>row</pre>\n</body>" in page
    assert page.count("run") == 2  # title and heading


def test_a_title_is_no_html() -> None:
    assert "<title>&lt;b&gt; {x}</title>" in filled("<b> {x}", "")

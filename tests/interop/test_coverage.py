"""The page on imports lists what is covered, as the tables have it."""

from pathlib import Path

from nestgraph.interop.coverage import table

PAGE = Path(__file__).parents[2] / "docs" / "interop.md"


def test_the_page_lists_what_is_covered():
    _, _, after = PAGE.read_text().partition("<!-- coverage -->\n")
    listed, _, _ = after.partition("<!-- end of coverage -->")
    assert listed.strip() == table(), "put what `nestgraph.interop.coverage.table()` gives into docs/interop.md"

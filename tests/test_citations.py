"""Every file, page and heading that docs, docstrings and comments cite exists."""

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
SOURCES = sorted(path for folder in ("nestgraph", "tests") for path in (ROOT / folder).rglob("*.py"))
PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").glob("*.md")])
PAGE = re.compile(r"\b([\w/-]+\.md)\b(?:\)?,? (?:sections? ([\d.]*\d)|\"([^\"]+)\"))?")
FILE = re.compile(r"`((?:[\w-]+/)+[\w.-]*|[\w-]+\.(?:py|toml|json|js))`")
HOMES = (ROOT, ROOT / "nestgraph", ROOT / "docs", ROOT / "tests", ROOT / "nestgraph" / "recipes" / "packaged")
MADE = re.compile(
    r"^(runs|edits|data|results|images|my|state|tensorboard|dL|net|src|examples)/"
    r"|^(recipe|environment|result|costs|final|manifest|nestgraph|seed|grown|net|NET|edit|old|new|(?:\w+\.)?columns)\.json$"
    r"|^(mine|nestgraph_activity)\.py$"
)
"""What commands of a page write, or a reader has: no file of ours."""


def prose(path):
    """The docstrings and comments of a module, or the text of a page."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".md" or ".md" not in text:
        return text
    nodes = list(ast.walk(ast.parse(text)))
    holders = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)
    docs = [ast.get_docstring(node) or "" for node in nodes if isinstance(node, holders)]
    alone = [node.value.value for node in nodes if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)]
    return "\n".join([*docs, *(value for value in alone if isinstance(value, str)), *re.findall(r"#\s(.*)", text)])


def page_of(cited, path):
    """The page of a citation, as its place in the repository or beside the one that cites it."""
    places = (path.parent / cited, *(home / cited for home in HOMES[:3]))
    return next((place for place in places if place.exists()), None)


def headings(page):
    return re.findall(r"^#+ +(.*)$", page.read_text(encoding="utf-8"), re.MULTILINE)


def missing(path):
    """What a file cites that is not there."""
    text, found = prose(path), []
    for cited, number, title in PAGE.findall(text):
        page = page_of(cited, path)
        if page is None:
            found.append(cited)
        elif number and not any(re.match(rf"{re.escape(number)}[. ]", heading) for heading in headings(page)):
            found.append(f"{cited}, section {number}")
        elif title and title not in headings(page):
            found.append(f'{cited}, "{title}"')
    for link, anchor in re.findall(r"\]\(([\w./-]*\.md)?#([\w-]+)\)", text) if path.suffix == ".md" else ():
        page = path if not link else path.parent / link
        names = {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings(page)}
        found += [] if anchor in names else [f"{link}#{anchor}"]
    if path.suffix == ".md":
        cited = [name for name in FILE.findall(text) if not MADE.match(name)]
        found += [name for name in cited if not any((home / name).exists() for home in HOMES)]
    return found


@pytest.mark.parametrize("path", PAGES, ids=lambda path: path.name)
def test_pages_cite_what_exists(path):
    assert missing(path) == []


def test_docstrings_cite_what_exists():
    assert {str(path.relative_to(ROOT)): found for path in SOURCES if (found := missing(path))} == {}

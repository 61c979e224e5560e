"""What must hold of any results.md: its numbers are those of the networks beside it, and all that it shows is there."""

import re

from nestgraph.graph import cost
from nestgraph.snapshot import load

ROW = re.compile(r"^\| \*\*nestgraph, \[seed \d+\]\((results/[a-z0-9-]+\.json)\)\*\* \|(.*)\|$", re.MULTILINE)
LINK = re.compile(r"\]\(([^)#]+)\)")


def check_page(docs):
    """Hold the page in a folder against the files beside it; returns the names of its networks."""
    page = (docs / "results.md").read_text()
    shown = {}
    for path, cells in ROW.findall(page):
        _, *counts = (cell.split()[0] for cell in cells.split(" | "))
        total = cost(load(docs / path)).total
        assert counts[:3] == [f"{n:,}" for n in (total.connections, total.parameters, total.flops)], path
        shown[path.removeprefix("results/")] = float(counts[3].replace(",", ""))
        assert 0 < shown[path.removeprefix("results/")] <= total.flops
    files = {path.name for path in (docs / "results").iterdir()}
    links = {link.removeprefix("results/") for link in LINK.findall(page) if not link.startswith("http")}
    recipes = {name for name in files if name.endswith("-recipe.json")}
    assert links == files - recipes
    assert all(f"docs/results/{name}" in page for name in recipes)
    assert set(shown) == {name for name in links if name.endswith(".json") and not name.startswith("sweep-")}
    return set(shown)

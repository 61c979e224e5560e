"""The networks under docs/results are what docs/results.md says, and show what the method promises of them."""

from pathlib import Path

import numpy as np
import pytest

from nestgraph.graph import cost
from nestgraph.render.files import MARK as PICTURE
from nestgraph.snapshot import check_own, load
from nestgraph.snapshot.files import MARK as NETWORK
from nestgraph.studies.results_files import MARK as WRITTEN
from nestgraph.studies.sweep_table import SWEEP_MARK

DOCS = Path(__file__).parent.parent / "docs"
PAGE = (DOCS / "results.md").read_text("utf-8")
NAMES = ("lenet-300-100", "lenet-300-100-compact", "lenet-5", "lenet-5-compact")


@pytest.mark.parametrize("name", NAMES)
def test_the_page_counts_what_is_in_the_snapshot(name):
    total = cost(load(DOCS / "results" / f"{name}.json")).total
    row = next(line for line in PAGE.splitlines() if f"](results/{name}.json)" in line)
    cells = [cell.split(" (")[0].strip() for cell in row.split("|")]
    assert cells[3:6] == [f"{total.connections:,}", f"{total.parameters:,}", f"{total.flops:,}"]


def test_the_next_page_of_results_takes_the_place_of_this_one_without_being_told():
    check_own(DOCS / "results.md", WRITTEN)
    files = sorted((DOCS / "results").iterdir())
    assert len(files) > len(NAMES)
    for path in files:
        check_own(path, PICTURE if path.suffix == ".svg" else SWEEP_MARK if path.name.startswith("sweep-") else NETWORK)


@pytest.mark.parametrize("name", NAMES[:2])
def test_the_first_layer_reads_more_of_the_centre_than_of_the_border(name):
    network = load(DOCS / "results" / f"{name}.json")
    readers = np.zeros(28 * 28)
    readers[network.units("input")] = network.connection_columns("input_to_fc1").mask.sum(axis=0)
    centre, border = centre_and_border(readers.reshape(28, 28))
    assert centre > 3 * border


def test_areas_keep_more_of_the_centre_than_of_the_border():
    network = load(DOCS / "results" / "lenet-5.json")
    for name, least in (("input_to_conv1", 2.0), ("conv1_to_conv2", 1.1)):
        columns = network.connection_columns(name)
        computed = columns.edges[:, :, None, None] & columns.area
        centre, border = centre_and_border(computed.sum(axis=(0, 1)))
        assert centre > least * border


def centre_and_border(grid):
    """The means over the inner half of a square grid, by its side, and over the rest."""
    quarter = len(grid) // 4
    inner = np.zeros(grid.shape, bool)
    inner[quarter:-quarter, quarter:-quarter] = True
    return grid[inner].mean(), grid[~inner].mean()

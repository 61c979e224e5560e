import pytest

from nestgraph.recipes.recipe import recipe_names
from nestgraph.studies.sweep import sweep_names
from tests.cli.golden import CASES, FOLDER, shown


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("snapshots")
def test_text_is_what_it_was(case):
    assert shown(case) == (FOLDER / f"{case}.txt").read_text()


def test_no_golden_file_is_left_over():
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)


def test_help_names_all_that_is_packaged():
    for case, names in (("synthesize-help", recipe_names()), ("sweep-help", sweep_names())):
        assert [name for name in names if name not in shown(case)] == []

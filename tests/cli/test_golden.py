import pytest

from tests.cli.golden import CASES, FOLDER, shown


@pytest.mark.parametrize("case", CASES)
@pytest.mark.usefixtures("snapshots")
def test_text_is_what_it_was(case):
    assert shown(case) == (FOLDER / f"{case}.txt").read_text()


def test_no_golden_file_is_left_over():
    assert {path.stem for path in FOLDER.iterdir()} == set(CASES)

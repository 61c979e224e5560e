"""Runs without pictures, on data that are loaded once: what a test module imports for all of its tests."""

import pytest

from nestgraph.data.options import DataOptions
from nestgraph.runs import run_folder


@pytest.fixture(scope="module", autouse=True)
def plain():
    data = DataOptions(name="digits").load(3)
    with pytest.MonkeyPatch.context() as patch:
        for picture in ("draw_stage", "draw_run"):
            patch.setattr(run_folder, picture, lambda *_: None)
        patch.setattr(DataOptions, "load", lambda *_: data)
        yield

"""A kind of connections that a package of others registers has all that those of nestgraph have."""

import shutil
from pathlib import Path

from tests.made_up import refused, said

HERE = Path(__file__).parent / "made_up"
CHECK = "tests.graph.made_up.check"


def test_a_kind_of_others_has_all_that_ours_have(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    shutil.copy(HERE / "listed.py", package / "listed.py")
    told = said(CHECK, tmp_path, package=[package])
    assert told.splitlines()[-1] == "all of it"
    assert "refused: unit ('x', 9): is paired by 'some' but does not live" in told
    stranger = refused(tmp_path / "net.json")
    assert "got 'listed': import the package that registers it" in stranger
    assert "Traceback" not in stranger

"""An operation that a package of others registers has all that those of nestgraph have: it costs two files."""

import shutil
from pathlib import Path

from tests.made_up import refused, said

HERE = Path(__file__).parent / "made_up"
CHECK = "tests.lowering.made_up.check"


def test_an_operation_of_others_has_all_that_ours_have(tmp_path):
    package = tmp_path / "package"
    package.mkdir()
    for name in ("peak_norm.py", "peak_norm_in_torch.py"):
        shutil.copy(HERE / name, package / name)
    assert said(CHECK, tmp_path, package=[package]).splitlines()[-1] == "all of it"
    stranger = refused(tmp_path / "net.json")
    assert "got 'acme.peak_norm': import the package that registers it" in stranger

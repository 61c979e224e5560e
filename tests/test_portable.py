"""Which instruction sets `make portable` can try on which processor."""

import re
from pathlib import Path

import pytest

from tests.portable import COMPUTING, SETTINGS, obstacle

TESTS = Path(__file__).parent
COMPUTES = re.compile(
    r"^\s*(?:import|from) (?:torch|nestgraph\.(?:lowering|interop\.export|loop\.(?:\w*er|synthesis|resuming)))\b"
    r"|^\s*from nestgraph\.interop import |\bng\.(?:lower|compact|synthesize|resume|import_module|export)\(",
    re.MULTILINE,
)
"""What computes with torch, where it is imported or called."""

ELSEWHERE = {"bench", "portable.py", "test_portable.py"}
"""Benchmarks are for one processor; the others compute nothing."""


@pytest.mark.parametrize(
    ("capability", "mkl", "tried"),
    [
        ("DEFAULT", True, {"default", "COMPATIBLE"}),
        ("AVX2", True, {"default", "avx2", "COMPATIBLE", "AVX2"}),
        ("AVX512", True, {"default", "avx2", "avx512", "COMPATIBLE", "AVX2", "AVX512"}),
        ("AVX512", False, {"default", "avx2", "avx512"}),
        ("SVE256", False, set()),
    ],
)
def test_a_setting_is_tried_where_the_processor_has_it(capability, mkl, tried):
    reasons = {value: obstacle(variable, value, capability, mkl) for variable, value in SETTINGS}
    assert {value for value, reason in reasons.items() if reason is None} == tried
    assert all(reason.startswith(("the processor has", "torch is built")) for reason in reasons.values() if reason)


def test_what_is_run_is_there():
    assert all((TESTS.parent / path).exists() for path in COMPUTING)


def test_whatever_computes_with_torch_is_run():
    computing = {path.relative_to(TESTS) for path in TESTS.rglob("*.py") if COMPUTES.search(path.read_text("utf-8"))}
    helpers = {path for path in computing if not path.name.startswith("test_")}
    named = [re.escape(".".join(("tests", *path.with_suffix("").parts))) for path in helpers]
    uses = re.compile(rf"^from (?:{'|'.join(sorted(named))}) import ", re.MULTILINE)
    computing |= {path.relative_to(TESTS) for path in TESTS.rglob("test_*.py") if uses.search(path.read_text("utf-8"))}
    run = [Path(path).relative_to("tests") for path in COMPUTING]
    left = {str(path) for path in computing - helpers if not any(path == one or one in path.parents for one in run)}
    assert len(computing) > 50
    assert not {path for path in left if Path(path).parts[0] not in ELSEWHERE}

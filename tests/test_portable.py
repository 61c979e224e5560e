"""Which instruction sets `make portable` can try on which processor."""

from pathlib import Path

import pytest

from tests.portable import COMPUTING, SETTINGS, obstacle


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
    assert all((Path(__file__).parent.parent / path).exists() for path in COMPUTING)

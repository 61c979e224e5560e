"""Eight small models as people build them are imported whole, are edited as by hand, and come back."""

import numpy as np
import pytest
import torch

import nestgraph as ng
from nestgraph.graph.reference import forward
from tests.interop.agreeing import assert_all_agree, assert_edits_are_the_modules, growths_of
from tests.interop.vocabulary import VOCABULARY, made

OF_HEADS = ("encoder", "patches")


@pytest.mark.parametrize("case", VOCABULARY)
def test_what_is_left_is_the_module_with_those_weights_at_0(case, tmp_path):
    module, x = made(case)
    assert_edits_are_the_modules(module, [x], tmp_path)


@pytest.mark.parametrize("case", OF_HEADS)
def test_a_new_head_and_new_slots_change_nothing(case):
    module, x = made(case)
    network = ng.import_module(module, x)
    (port,) = network.outputs
    for edit in growths_of(network):
        applied = edit.apply(network)
        grown = applied.network
        assert grown.unit_count > network.unit_count
        before, after = (forward(each, (x.numpy(),))[port.layer] for each in (network, grown))
        np.testing.assert_array_equal(after, before)
        with torch.no_grad():
            assert_all_agree(grown, [x], [module(x)])
        assert applied.inverse.apply(grown).network.digest == network.digest

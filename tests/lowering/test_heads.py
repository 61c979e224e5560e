"""Heads of attention in every lowered form: grouped, ragged, causal, with rows and columns of their own."""

import numpy as np
from hypothesis import event, given

from nestgraph.lowering import lower
from nestgraph.lowering.compact import compact
from tests.laws import outputs_of, quick
from tests.lowering.running import results
from tests.strategies import inputs_for, networks
from tests.strategies.networks import HEADS


@quick(40)
@given(networks(HEADS))
def test_lowered_forms_agree_with_the_reference(network):
    inputs = inputs_for(network, 2, np.random.default_rng(0))
    expected = outputs_of(network, inputs)
    event("fused" if "scaled_dot_product_attention" in lower(network).code else "apart")
    for module in (lower(network), lower(network, fuse=False), lower(network, masked=False), compact(network)):
        for name, given_out in results(module, network, inputs).items():
            wanted = expected[name]
            scale = max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(given_out.numpy().reshape(wanted.shape), wanted, atol=2e-4 * scale)

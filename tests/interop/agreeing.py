"""What an import, and every edit of it, is held to: all forms give what the module with those weights at 0 gives."""

import numpy as np
import torch

import nestgraph as ng
from nestgraph.graph.extents import given_out
from nestgraph.graph.reference import forward


def several(given):
    return [given] if isinstance(given, torch.Tensor) else list(given)


def assert_all_agree(network, given, wanted):
    """Reference, lowered and compact modules give what the module gave, to 1e-5 of the largest."""
    outputs = forward(network, tuple(tensor.numpy() for tensor in given))
    found = [
        [torch.tensor(given_out(port, outputs[port.layer])) for port in network.outputs],
        *(several(module(*given)) for module in (ng.lower(network).eval(), ng.lower(network, fuse=False).eval())),
        several(ng.compact(network)(*given)),
    ]
    for place, expected in enumerate(wanted):
        scale = max(float(expected.abs().max()), 1e-3)
        for each in found:
            assert each[place].shape == expected.shape
            assert (each[place] - expected).abs().max() <= 1e-5 * scale


def assert_edits_are_the_modules(module, given, folder=None):
    """What narrow, a removed head and a removed slot leave is the module with those weights at 0; undo is exact.

    Where a folder is given, a snapshot of what is left is the same network.
    """
    imported = ng.Imported(module, given)
    network = imported.network
    assert not network.bodies
    with torch.no_grad():
        assert_all_agree(network, given, several(module(*given)))
        for edit in edits_of(network):
            applied = edit.apply(network)
            assert len(applied.network.topology) < len(network.topology)
            module.load_state_dict(imported.state_dict(applied.network))
            assert_all_agree(applied.network, given, several(module(*given)))
            assert applied.inverse.apply(applied.network).network.digest == network.digest
            if folder is not None:
                ng.save(applied.network, folder / "net.json")
                assert ng.load(folder / "net.json").digest == applied.network.digest
    return network


def heads_in(network):
    """The layers of heads."""
    return [name for name in network.layer_names if network.matches(name)]


def edits_of(network):
    """Widths narrowed; of the first layer of heads one removed, and one slot of one."""
    yield ng.edits.narrow(network, 0.3)
    for heads in heads_in(network)[:1]:
        yield ng.edits.remove_heads(network, heads, network.units(heads)[:1])
        query = next(match.source for match in network.matches(heads) if match.words == "query")
        yield ng.edits.remove_units(network, query, network.units(query)[:1])


def growths_of(network):
    """Of each layer of heads one more, and more slots and values."""
    for heads in heads_in(network):
        yield ng.edits.grow_head(network, heads, np.random.default_rng(0))
        yield ng.edits.widen_heads(network, heads, 2, np.random.default_rng(0), values=1)

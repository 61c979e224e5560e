"""A module takes the state of its own units and masks only, by whatever way a state meets it."""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from nestgraph.edits import SetMask, SetValues, prune_connections, remove_units
from nestgraph.errors import EditError, LoweringError
from nestgraph.lowering import collect, lower, network_of, trained_values
from nestgraph.seeds import mlp
from tests.laws import quick
from tests.strategies import edits_for, networks

NET = mlp((12, 8, 6, 3), density=0.7, seed=0)


def pruned(network, name="fc1_to_fc2"):
    """A network with one connection less, and no island."""
    mask = network.connection_columns(name).mask
    return prune_connections(network, {name: np.flatnonzero(mask)[:1]}).apply(network).network


def through_bytes(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


class Owner(nn.Module):
    """A module of the user's that holds a lowered one."""

    def __init__(self, net):
        super().__init__()
        self.net = net
        self.head = nn.Linear(3, 2)


FORMS = {
    "plain": lambda module: module,
    "a copy": copy.deepcopy,
    "a pickle": lambda module: pickle.loads(pickle.dumps(module)),
    "inside": Owner,
    "compiled": lambda module: torch.compile(module, backend="eager"),
    "averaged": torch.optim.swa_utils.AveragedModel,
    "in parallel": nn.DataParallel,
}
WAYS = {
    "strict": lambda module, state: module.load_state_dict(state),
    "loose": lambda module, state: module.load_state_dict(state, strict=False),
    "assigned": lambda module, state: module.load_state_dict(state, assign=True),
    "from a file": lambda module, state: module.load_state_dict(through_bytes(state)),
    "as a plain dict": lambda module, state: module.load_state_dict(dict(state)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("form", FORMS)
def test_other_masks_are_refused_and_the_own_ones_loaded(form, way):
    module = FORMS[form](lower(NET))
    before = {name: p.detach().clone() for name, p in module.named_parameters() if "net" not in name}
    with pytest.raises(LoweringError, match="'fc1_to_fc2'"):
        WAYS[way](module, FORMS[form](lower(pruned(NET))).state_dict())
    assert all(torch.equal(before[name], p) for name, p in module.named_parameters() if name in before)
    trained = lower(NET)
    with torch.no_grad():
        trained.get_parameter("layer3.bias").fill_(2.0)
    WAYS[way](module, FORMS[form](trained).state_dict())
    assert network_of(module) == collect(NET, trained)


def swapped():
    """The same number of units, of which one is another: of the same shapes everywhere."""
    dense = mlp((12, 8, 6, 3), density=1.0, seed=0)
    one, other = (remove_units(dense, "fc1", [unit]).apply(dense).network for unit in (2, 5))
    return one, other


def test_other_units_of_the_same_shapes_are_refused():
    one, other = swapped()
    with pytest.raises(LoweringError, match="the same units, links and masks"):
        lower(one).load_state_dict(lower(other).state_dict())


def test_other_shapes_are_named_in_words():
    with pytest.raises(LoweringError, match=r"weight of 'input_to_fc1' of shape \(8, 12\), got shape \(7, 12\)"):
        lower(NET).load_state_dict(lower(remove_units(NET, "fc1", [1]).apply(NET).network).state_dict())


def test_masks_of_an_unmasked_module_count_too():
    with pytest.raises(LoweringError):
        lower(NET, masked=False).load_state_dict(lower(pruned(NET), masked=False).state_dict())


def test_a_state_without_a_fingerprint_is_held_to_its_masks():
    module, (one, other) = lower(NET), swapped()
    old = {name: tensor for name, tensor in lower(NET).state_dict().items() if name != "_extra_state"}
    module.load_state_dict(old)
    late = {name: tensor for name, tensor in lower(pruned(NET)).state_dict().items() if name != "_extra_state"}
    with pytest.raises(LoweringError, match="connections of 'fc1_to_fc2'"):
        module.load_state_dict(late)
    assert one != other


def test_a_module_on_no_device_is_filled():
    module = lower(NET).to("meta").to_empty(device="cpu")
    module.load_state_dict(lower(NET).state_dict())
    assert network_of(module) == NET


def test_values_of_other_masks_are_not_collected():
    """A network takes the values of its own modules only, an average over modules among them."""
    with pytest.raises(LoweringError, match="expected a module of the same"):
        collect(pruned(NET), lower(NET))
    dormant = np.flatnonzero(~NET.connection_columns("fc1_to_fc2").mask)[:1]
    grown = SetMask(projection="fc1_to_fc2", entries=dormant, active=[True], weights=[0.0])
    with pytest.raises(LoweringError, match="expected a module of the same"):
        trained_values(grown.apply(NET).network, lower(NET))


def test_an_average_that_goes_on_with_another_module_is_refused():
    average = torch.optim.swa_utils.AveragedModel(lower(NET), use_buffers=True)
    average.update_parameters(lower(NET))
    assert collect(NET, average) == NET
    average.update_parameters(lower(pruned(NET)))
    with pytest.raises(LoweringError, match="expected a module with the masks of its network"):
        collect(NET, average)


@quick(40)
@given(data=st.data(), network=networks())
def test_a_state_fits_exactly_the_modules_of_its_structure(data, network):
    """Whatever edit: either the state is refused, or the module then is the network that the state was of."""
    try:
        edited = data.draw(edits_for(network)).apply(network).network
    except EditError:
        assume(False)
    module = lower(network)
    if edited.fingerprint == network.fingerprint:
        facts = [(n.layers_by_name, n.projections_by_name, n.interface) for n in (edited, network)]
        assume(facts[0] == facts[1])
        module.load_state_dict(lower(edited).state_dict())
        assert network_of(module) == edited
    else:
        with pytest.raises(LoweringError):
            module.load_state_dict(lower(edited).state_dict())
    assert SetValues().apply(network).network.fingerprint == network.fingerprint

"""Masks hold under whatever copies, pickles, traces, transforms or compiles a lowered module.

The oracle is weight * mask in plain PyTorch: a module of the same network whose dormant weights are multiplied by hand.
"""

import copy
import io
import pickle

import numpy as np
import pytest
import torch
from torch import fx
from torch.ao.quantization import get_default_qconfig_mapping
from torch.ao.quantization.quantize_fx import convert_fx, prepare_fx, prepare_qat_fx
from torch.fx.experimental.proxy_tensor import make_fx

from nestgraph.lowering import layer_nodes, lower, network_of, slots
from nestgraph.seeds import cnn, mlp

NETWORKS = {
    "neurons": (mlp((8, 6, 5, 3), density=0.5, seed=0, batch_norm=False), (8,)),
    "maps": (cnn((3, 4), (6,), 0.5, 0, size=8, channels=1, classes=3), (1, 8, 8)),
}


def saved(module):
    file = io.BytesIO()
    torch.save(module, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


def averaged(module):
    return torch.optim.swa_utils.AveragedModel(module)


def prepared(module, inputs):
    return prepare_qat_fx(module.train(), get_default_qconfig_mapping("x86"), (inputs,))


COPIES = {
    "itself": lambda module, _: module,
    "pickle": lambda module, _: pickle.loads(pickle.dumps(module)),
    "pickle twice": lambda module, _: pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(module)))),
    "torch.save": lambda module, _: saved(module),
    "deepcopy": lambda module, _: copy.deepcopy(module),
    "copy of a pickle": lambda module, _: copy.deepcopy(pickle.loads(pickle.dumps(module))),
    "symbolic_trace": lambda module, _: fx.symbolic_trace(module),
    "pickle of a trace": lambda module, _: pickle.loads(pickle.dumps(fx.symbolic_trace(module))),
    "average": lambda module, _: averaged(module),
    "torch.compile": lambda module, _: torch.compile(module, backend="eager"),
    "quantisation-aware": prepared,
    "torch.export": lambda module, inputs: torch.export.export(module, (inputs,)).module(),
    "jit.trace": lambda module, inputs: torch.jit.trace(module, (inputs,)),
}


def dormant(network):
    """The dormant entries of each weight, by its path in the module."""
    chosen = [slot for slot in slots(network) if slot.is_weight]
    masks = {slot.path: torch.tensor(~network.connection_columns(slot.owner).mask) for slot in chosen}
    assert any(mask.any() for mask in masks.values())
    return masks


def parameters_of(module, path):
    """The parameters that a form of a module has under a path; wrappers put their own before it."""
    return [p for name, p in module.named_parameters() if name.replace("_orig_mod.", "").endswith(path)]


@pytest.mark.parametrize(("kind", "mode"), [("neurons", "train"), ("maps", "train"), ("maps", "eval")])
@pytest.mark.parametrize("form", COPIES)
def test_dormant_weights_stay_zero_in_each_form(form, kind, mode):
    """Neurons without batch normalisation compute the same in both modes."""
    network, shape = NETWORKS[kind]
    inputs = torch.randn(4, *shape)
    module = getattr(lower(network), mode)()
    if form == "quantisation-aware" and mode == "eval":
        pytest.skip("is for training")
    other = COPIES[form](module, inputs)
    optimizer = torch.optim.AdamW(other.parameters(), lr=0.1, weight_decay=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        other(inputs).square().sum().backward()
        optimizer.step()
    for path, dead in dormant(network).items():
        (weight,) = parameters_of(other, path)
        assert not weight.grad[dead].any(), path
        assert not weight[dead].any(), path
        assert weight.grad[~dead].any(), path


@pytest.mark.parametrize("mode", ["train", "eval"])
@pytest.mark.parametrize("form", COPIES)
def test_a_weight_that_something_moved_is_masked_all_the_same(form, mode):
    """What an optimizer of whole matrices, noise or an initialisation does to dormant entries reaches no output."""
    network, shape = NETWORKS["neurons"]
    if form == "quantisation-aware":
        pytest.skip("rounds its outputs")
    inputs = torch.randn(4, *shape)
    module = getattr(lower(network), mode)()
    other = COPIES[form](module, inputs)
    with torch.no_grad():
        for path, dead in dormant(network).items():
            (weight,) = parameters_of(other, path)
            weight[dead] = 3.0
    torch.testing.assert_close(other(inputs), lower(network).eval()(inputs))


@pytest.mark.parametrize("form", ["pickle", "pickle twice", "torch.save", "deepcopy", "copy of a pickle"])
def test_a_copy_is_still_a_lowered_module(form):
    network, shape = NETWORKS["maps"]
    module = lower(network)
    other = COPIES[form](module, None)
    assert network_of(other) == network
    assert layer_nodes(other).keys() == layer_nodes(module).keys()
    assert {name: nodes.sum and nodes.sum.name for name, nodes in layer_nodes(other).items()} == {
        name: nodes.sum and nodes.sum.name for name, nodes in layer_nodes(module).items()
    }
    assert other.training
    assert [name for name, _ in other.named_parameters()] == [name for name, _ in module.named_parameters()]
    assert list(other.state_dict()) == list(module.state_dict())
    inputs = torch.randn(2, *shape)
    assert torch.equal(other(inputs), module(inputs))


def test_a_quantised_module_computes_with_masked_weights():
    network, shape = NETWORKS["neurons"]
    inputs = torch.randn(64, *shape)
    module = lower(network).eval()
    observed = prepare_fx(copy.deepcopy(module), get_default_qconfig_mapping("x86"), (inputs,))
    observed(inputs)
    quantised = convert_fx(observed)
    expected = module(inputs)
    assert (quantised(inputs) - expected).abs().max() < 0.1 * expected.abs().max()


def by_hand(network):
    """The function of parameters that a module computes, written with weight * mask."""
    module = lower(network, masked=False)
    masks = {path: (~dead).float() for path, dead in dormant(network).items()}

    def function(parameters, x):
        masked = {name: value * masks.get(name, 1.0) for name, value in parameters.items()}
        return torch.func.functional_call(module, masked, (x,))

    return function


def transforms(function, parameters, x):
    """What the transforms of torch.func give for a function of parameters and a sample."""
    ones = {name: torch.ones_like(value) for name, value in parameters.items()}

    def loss(given, one):
        return function(given, one[None]).square().sum()

    return {
        "grad": torch.func.grad(loss)(parameters, x[0]),
        "per sample": torch.func.vmap(torch.func.grad(loss), (None, 0))(parameters, x),
        "jvp": torch.func.jvp(lambda p: function(p, x), (parameters,), (ones,)),
        "vjp": torch.func.vjp(lambda p: function(p, x), parameters)[1](torch.ones(len(x), 3)),
        "jacfwd": torch.func.jacfwd(lambda p: function(p, x))(parameters),
        "grad of grad": torch.func.grad(
            lambda p: sum(g.square().sum() for g in torch.func.grad(loss)(p, x[0]).values())
        )(parameters),
        "of inputs": torch.func.vmap(torch.func.jacrev(lambda one: function(parameters, one[None])))(x),
        "ensemble": torch.func.vmap(function, (0, None))(
            {name: torch.stack([value, 2 * value]) for name, value in parameters.items()}, x
        ),
    }


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_function_transforms_agree_with_masks_written_by_hand(mode):
    network, shape = NETWORKS["neurons"]
    module, x = getattr(lower(network), mode)(), torch.randn(4, *shape)
    parameters = {name: p.detach().clone() + 0.5 for name, p in module.named_parameters()}  # dormant entries, too

    def function(given, inputs):
        return torch.func.functional_call(module, given, (inputs,))

    kept = {name: value.clone() for name, value in parameters.items()}
    torch.testing.assert_close(transforms(function, parameters, x), transforms(by_hand(network), parameters, x))
    assert all(torch.equal(kept[name], value) for name, value in parameters.items())


@pytest.mark.parametrize("mode", ["train", "eval"])
def test_transforms_over_the_module_itself(mode):
    network, shape = NETWORKS["neurons"]
    module, x = getattr(lower(network), mode)(), torch.randn(4, *shape)
    rows = torch.func.vmap(module)(x[:, None])[:, 0]
    torch.testing.assert_close(rows, module(x))
    traced = make_fx(module)(x)
    torch.testing.assert_close(traced(x), module(x))
    with torch.autograd.forward_ad.dual_level():
        outputs = module(torch.autograd.forward_ad.make_dual(x, torch.ones_like(x)))
        tangent = torch.autograd.forward_ad.unpack_dual(outputs).tangent
    torch.testing.assert_close(tangent, torch.func.jvp(module, (x,), (torch.ones_like(x),))[1])


def test_the_incoming_gradient_is_left_as_it_was():
    """What a hook or a retained gradient holds is the gradient of the product, not of the weight."""
    network, shape = NETWORKS["neurons"]
    module, seen = lower(network), []
    masked = module.get_submodule("projection1")
    masked.register_forward_hook(lambda _module, _inputs, product: product.register_hook(seen.append) and None)
    module(torch.randn(4, *shape)).square().sum().backward()
    dead = dormant(network)["projection1.weight"]
    assert seen[0][dead].any()
    assert not masked.weight.grad[dead].any()


def test_a_gradient_may_be_differentiated_again():
    network, shape = NETWORKS["neurons"]
    module = lower(network)
    weight = module.get_parameter("projection1.weight")
    loss = module(torch.randn(4, *shape)).square().sum()
    (first,) = torch.autograd.grad(loss, weight, create_graph=True)
    (second,) = torch.autograd.grad(first.square().sum(), weight)
    assert not second[dormant(network)["projection1.weight"]].any()
    assert second.any()


@pytest.mark.parametrize("context", [torch.no_grad, torch.enable_grad, torch.inference_mode])
def test_evaluation_changes_no_parameter(context):
    network, shape = NETWORKS["neurons"]
    module = lower(network).eval()
    with torch.no_grad():
        for parameter in module.parameters():
            parameter += 1.0
    before = {name: p.detach().clone() for name, p in module.named_parameters()}
    versions = {name: p._version for name, p in module.named_parameters()}
    with context():
        module(torch.randn(4, *shape))
    assert all(torch.equal(before[name], p) for name, p in module.named_parameters())
    assert versions == {name: p._version for name, p in module.named_parameters()}


def test_the_order_of_parameters_is_that_of_the_nodes():
    """Sums over all parameters depend on it to the last bit, in a copy as in the module."""
    network, _ = NETWORKS["maps"]
    module = lower(network)
    named = [name for name, _ in module.named_parameters()]
    places = [str(node.target) for node in module.graph.nodes if node.op in ("get_attr", "call_module")]
    firsts = {part: place for place, part in reversed(list(enumerate(target.split(".")[0] for target in places)))}
    order = [firsts[name.split(".")[0]] for name in named]
    assert order == sorted(order)
    assert np.unique(named).size == len(named)

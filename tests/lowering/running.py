"""Run lowered modules on arrays, and watch the nodes of their layers."""

import numpy as np
import torch
from torch import fx

from nestgraph.graph.extents import given_out, outside
from nestgraph.graph.geometry import output_size
from nestgraph.lowering import layer_nodes, lower


def tensors(network, inputs):
    """Samples by position, from those by layer in the layer's own form."""
    return [torch.tensor(given_out(port, inputs[port.layer])) for port in network.inputs]


def by_position(module, network, inputs):
    """Outputs by position, in inference mode."""
    with torch.no_grad():
        given = module.eval()(*tensors(network, inputs))
    return given if isinstance(given, tuple) else (given,)


def results(module, network, inputs):
    """Outputs by output layer in the layer's own form, in inference mode."""
    found = {}
    for port, values in zip(network.outputs, by_position(module, network, inputs), strict=True):
        if port.shape is not None:
            values = values.reshape(len(values), *outside(port, layer_shape(network, port.layer, len(values))[1:]))
        found.setdefault(port.layer, values.movedim(port.axis, 1))
    return found


def layer_shape(network, name, batch):
    """(batch, units, *size) of a layer's output."""
    return batch, len(network.units(name)), *(output_size(network.layer(name)) or ())


class Watch(fx.Interpreter):
    """Keeps every layer's sum and output, with their gradients."""

    def __init__(self, module):
        super().__init__(module, garbage_collect_values=False)
        self.nodes = layer_nodes(module)

    def run_node(self, n):
        value = super().run_node(n)
        if isinstance(value, torch.Tensor) and value.requires_grad:
            value.retain_grad()
        return value

    def sum_of(self, layer):
        return self.env[self.nodes[layer].sum]

    def output_of(self, layer):
        return self.env[self.nodes[layer].output]


def train(module, optimizer, network, inputs, steps):
    """A few steps towards zero outputs."""
    module.train()
    for _ in range(steps):
        optimizer.zero_grad()
        given = module(*tensors(network, inputs))
        loss = sum((y**2).mean() for y in (given if isinstance(given, tuple) else (given,)))
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.parameters(), 1.0)  # random networks may be steep
        optimizer.step()


def trained(network, inputs, make, steps=3):
    """A lowered module and its optimizer after some steps, without dropout, so that runs can be compared."""
    module = without_dropout(lower(network))
    optimizer = make(module.parameters())
    train(module, optimizer, network, inputs, steps)
    return module, optimizer


def over(make):
    """A maker of optimizers over modules from one over parameters."""
    return lambda module: make(list(module.parameters()))


def without_dropout(module):
    for part in module.modules():
        if isinstance(part, torch.nn.Dropout):
            part.p = 0.0
    return module


def close(got, wanted, scale=1.0, tolerance=1e-5):
    """Agreement to a tolerance relative to the largest of 1, `scale` and what is wanted."""
    scale = max(1.0, scale, float(np.abs(wanted).max(initial=0)))
    np.testing.assert_allclose(got.detach().numpy(), wanted, rtol=0, atol=tolerance * scale)

"""Python source of a compact module: a class that anyone can read, run and change with PyTorch alone.

Everything in it is generated from numbers; of a user's text only the names of layers (identifiers) and their labels
appear, in comments and escaped, so that no text can become code.
"""

import operator
from collections.abc import Callable, Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.lowering.nodes import KEY

HEAD = '''"""A network exported by nestgraph. To run it PyTorch and safetensors are enough.

`load()` gives the network with its weights: those of the file beside this one whose suffix is .safetensors.
"""

import hashlib
{also}from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.nn import functional

WEIGHTS = "{digest}"
"""SHA-256 of the file of weights that belongs to this source."""


class Network(nn.Module):
    """Takes {takes}; gives {gives}."""

    def __init__(self):
        super().__init__()
'''
TAIL = '''

def load(path=None):
    """The network with its weights, for inference.

    Args:
        path: the file of weights; without it the one beside this file.
    """
    data = Path(path or Path(__file__).with_suffix(".safetensors")).read_bytes()
    if hashlib.sha256(data).hexdigest() != WEIGHTS:
        raise ValueError("expected the weights that were exported with this source, got others: export again")
    network = Network()
    network.load_state_dict(safetensors.torch.load(data))
    return network.eval().requires_grad_(False)
'''


def state_of(module: fx.GraphModule) -> dict[str, Tensor]:
    """The tensors of a compact module under the names that its source gives them."""
    called = {str(node.target) for node in module.graph.nodes if node.op == "call_module"}
    state: dict[str, Tensor] = {}
    for path, tensor in module.state_dict().items():
        owner, _, field = path.rpartition(".")
        state[f"{_flat(owner)}.{field}" if owner in called else _flat(path)] = tensor
    return state


def source_of(network: Network, module: fx.GraphModule, digest: str) -> str:
    """The source of a compact module.

    Args:
        network: what the module was lowered from, for comments.
        module: the compact module.
        digest: SHA-256 of the file of its weights.

    Raises:
        ExportError: a part of the module is none of PyTorch's own that source is known for.
    """
    takes = ", ".join(_shape(network, name) for name in network.input_names)
    gives = ", ".join(_shape(network, name) for name in network.output_names)
    plain = any(getattr(node.target, "__module__", "") == "_operator" for node in module.graph.nodes)
    head = HEAD.format(also="import operator\n" if plain else "", digest=digest, takes=takes, gives=gives)
    return head + "\n".join([*_parts(module), "", *_forward(network, module)]) + "\n" + TAIL


def _shape(network: Network, name: str) -> str:
    layer = network.layer(name)
    units = layer.features or len(network.units(name))
    return f"{name} ({', '.join(map(str, ('batch', units, *(layer.size or ()))))})"


def _flat(path: str) -> str:
    return path.replace(".", "_")


def _parts(module: fx.GraphModule) -> list[str]:
    """The lines that make the modules and buffers."""
    lines: list[str] = []
    for node in module.graph.nodes:
        if node.op == "call_module":
            lines.append(f"        self.{_flat(node.target)} = {_constructor(module.get_submodule(node.target))}")
        elif node.op == "get_attr":
            owner, _, field = node.target.rpartition(".")
            tensor = getattr(module.get_submodule(owner), field)
            kind = "" if tensor.dtype == torch.float32 else f", dtype={tensor.dtype}"
            shape = ", ".join(map(str, tensor.shape))
            lines.append(f'        self.register_buffer("{_flat(node.target)}", torch.zeros({shape}{kind}))')
    return list(dict.fromkeys(lines)) or ["        pass"]


def _constructor(part: nn.Module) -> str:
    if type(part) not in CONSTRUCTORS:
        raise ExportError(
            f"export to Python expected a network of layers that source is known for, got an opaque one of "
            f"{type(part).__name__}: export to ONNX, or replace that layer"
        )
    return CONSTRUCTORS[type(part)](part)


def _linear(part: Any) -> str:
    return f"nn.Linear({part.in_features}, {part.out_features}{_without_bias(part)})"


def _conv2d(part: Any) -> str:
    plain = {"stride": (1, 1), "padding": (0, 0), "dilation": (1, 1), "groups": 1}
    options = [f", {name}={getattr(part, name)}" for name, usual in plain.items() if getattr(part, name) != usual]
    sizes = f"{part.in_channels}, {part.out_channels}, {part.kernel_size}"
    return f"nn.Conv2d({sizes}{''.join(options)}{_without_bias(part)})"


def _without_bias(part: Any) -> str:
    return "" if part.bias is not None else ", bias=False"


CONSTRUCTORS: dict[type, Callable[[Any], str]] = {nn.Linear: _linear, nn.Conv2d: _conv2d}


def _forward(network: Network, module: fx.GraphModule) -> list[str]:
    """The lines of the forward pass; a value's name is free again after its last use."""
    names: dict[fx.Node, str] = {}
    inputs = [node for node in module.graph.nodes if node.op == "placeholder"]
    lines = [f"    def forward(self, {', '.join(node.name for node in inputs)}):"]
    shown, spare, count = "", list[str](), 0
    last = {used: node for node in module.graph.nodes for used in node.all_input_nodes}
    for node in module.graph.nodes:
        layer = node.meta[KEY]["layer"] if KEY in node.meta else ""
        if node.op == "placeholder":
            names[node] = node.name
        elif node.op == "get_attr":
            names[node] = f"self.{_flat(node.target)}"
        elif node.op == "output":
            lines.append(f"        return {_text(node.args[0], names)}")
        else:
            if layer != shown:
                lines.append(f"        # {_comment(network, layer)}")
                shown = layer
            called = _called(node, names)
            spare += [names[used] for used in node.all_input_nodes if last[used] is node and names[used][0] == "x"]
            count += not spare
            names[node] = spare.pop(0) if spare else f"x{count - 1}"
            lines.append(f"        {names[node]} = {called}")
    return lines


def _comment(network: Network, layer: str) -> str:
    label = network.layer(layer).label
    return f"{layer}: {label.encode('unicode_escape').decode('ascii')}" if label else layer


def _called(node: fx.Node, names: dict[fx.Node, str]) -> str:
    arguments = [_text(argument, names) for argument in node.args]
    arguments += [f"{name}={_text(value, names)}" for name, value in node.kwargs.items()]
    if node.op == "call_module":
        return f"self.{_flat(str(node.target))}({', '.join(arguments)})"
    if node.op == "call_method" and str(node.target).isidentifier():
        return f"{arguments[0]}.{node.target}({', '.join(arguments[1:])})"
    return f"{_function(node.target)}({', '.join(arguments)})"


def _function(target: Any) -> str:
    name = str(getattr(target, "__name__", target))[:40]
    for home, prefix in ((functional, "functional"), (torch, "torch"), (operator, "operator")):
        if getattr(home, name, None) is target:
            return f"{prefix}.{name}"
    raise ExportError(f"export to Python expected functions of PyTorch alone, got {name!r}: export to ONNX")


def _text(value: Any, names: dict[fx.Node, str]) -> str:
    """The source of an argument."""
    if isinstance(value, fx.Node):
        return names[value]
    if isinstance(value, tuple | list):
        inner = [_text(entry, names) for entry in cast(Sequence[Any], value)]
        if isinstance(value, list):
            return f"[{', '.join(inner)}]"
        return f"({', '.join(inner)}{',' * (len(inner) == 1)})"
    if isinstance(value, slice):
        ends = cast("tuple[Any, ...]", (value.start, value.stop, value.step))
        return f"slice{_text(ends, names)}"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return f'float("{value}")'
    if value is None or isinstance(value, bool | int | float | str):
        return repr(value)
    if isinstance(value, torch.dtype):
        return str(value)
    raise ExportError(f"export to Python expected numbers as arguments, got {str(value)[:40]!r}: export to ONNX")

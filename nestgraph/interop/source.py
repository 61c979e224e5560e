"""Python source of a compact module: a class that anyone can read, run and change with PyTorch alone.

Everything in it is generated from numbers; of a user's text only the names of layers (identifiers) and their labels
appear, in comments and escaped, so that no text can become code.
"""

import inspect
import operator
from collections.abc import Sequence
from typing import Any, cast

import torch
from torch import Tensor, fx, nn
from torch.nn import functional

from nestgraph.data.tables.preparation import Preparation
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.graph.extents import sample_shape
from nestgraph.interop.source_rows import rows_source
from nestgraph.lowering.nodes import KEY, is_check
from nestgraph.lowering.ports import ASSERT
from nestgraph.spec import InputPort, OutputPort
from nestgraph.spec.extents import MAX_EXTENTS

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


def source_of(network: Network, module: fx.GraphModule, digest: str, columns: Preparation | None = None) -> str:
    """The source of a compact module.

    Args:
        network: what the module was lowered from, for comments.
        module: the compact module.
        digest: SHA-256 of the file of its weights.
        columns: what is done to the rows of a table, where the source shall take raw ones.

    Raises:
        ExportError: a part of the module is none of PyTorch's own that source is known for.
    """
    takes = ", ".join(_shape(network, port) for port in network.inputs)
    gives = ", ".join(_shape(network, port) for port in network.outputs)
    operators = [node for node in module.graph.nodes if getattr(node.target, "__module__", "") == "_operator"]
    plain = not all(is_check(node) or isinstance(node.args[-1], tuple) for node in operators)
    also = ("import math\n" if columns else "") + ("import operator\n" if plain else "")
    head = HEAD.format(also=also, digest=digest, takes=takes, gives=gives)
    text = head + "\n".join([*_parts(module), "", *_forward(network, module)]) + "\n" + TAIL
    return text if columns is None else text + rows_source(columns, len(network.units(network.output_names[0])))


def _shape(network: Network, port: InputPort | OutputPort) -> str:
    extents = ("any" if extent is None else str(extent) for extent in sample_shape(network, port))
    return f"{port.layer} ({', '.join(('batch', *extents))})"


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
    """The call that makes a module of PyTorch like another: its options are attributes of the same names."""
    kind = type(part)
    if kind.__module__.split(".")[:3] != ["torch", "nn", "modules"] or getattr(nn, kind.__name__, None) is not kind:
        raise ExportError(
            f"export to Python expected a network of layers that source is known for, got an opaque one of "
            f"{kind.__name__}: export to ONNX, or replace that layer"
        )
    words: list[str] = []
    for name, option in inspect.signature(kind).parameters.items():
        value = _option(part, name, option.default)
        usual = (option.default, *((option.default,) * axes for axes in range(1, MAX_EXTENTS + 1)))
        if name not in ("device", "dtype") and (option.default is option.empty or value not in usual):
            words.append(_text(value, {}) if option.default is option.empty else f"{name}={_text(value, {})}")
    return f"nn.{kind.__name__}({', '.join(words)})"


def _option(part: nn.Module, name: str, default: Any) -> Any:
    """What a module was made with; a switch such as `bias` is an attribute that is there or None."""
    value = getattr(part, name, default)
    return value is not None if isinstance(default, bool) and not isinstance(value, bool) else value


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
        elif is_check(node) and node.target is ASSERT:
            fits, problem = names[node.args[0]], str(node.args[1]).partition(" expected ")[2]  # without the user's name
            problem = f"expected {fits.strip('(').partition('.')[0]} to be {problem}"
            lines += [f"        if not {fits}:", f'            raise ValueError("{problem}")']
        elif is_check(node):
            names[node] = _inlined(node, names)
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


def _inlined(node: fx.Node, names: dict[fx.Node, str]) -> str:
    """A step of a check as an expression."""
    subject, given = names[cast(fx.Node, node.args[0])], cast(Any, node.args[1])
    if node.target is getattr:
        return f"{subject}.{given}"
    if node.target is operator.eq:
        return f"({subject} == {_text(given, names)})"
    return f"{subject}[{given.start}:]" if isinstance(given, slice) else f"{subject}[{given}]"


def _comment(network: Network, layer: str) -> str:
    label = network.layer(layer).label
    return f"{layer}: {label.encode('unicode_escape').decode('ascii')}" if label else layer


def _called(node: fx.Node, names: dict[fx.Node, str]) -> str:
    arguments = [_text(argument, names) for argument in node.args]
    arguments += [f"{name}={_text(value, names)}" for name, value in node.kwargs.items()]
    if node.target is getattr:
        return f"{names[cast(fx.Node, node.args[0])]}.{node.args[1]}"
    if node.target is operator.getitem and isinstance(node.args[1], tuple):
        return f"{arguments[0]}[{', '.join(map(_slice, cast('tuple[slice, ...]', node.args[1])))}]"
    if node.op == "call_module":
        return f"self.{_flat(str(node.target))}({', '.join(arguments)})"
    if node.op == "call_method" and str(node.target).isidentifier():
        return f"{arguments[0]}.{node.target}({', '.join(arguments[1:])})"
    return f"{_function(node.target)}({', '.join(arguments)})"


def _slice(places: slice) -> str:
    """A slice as it stands in brackets."""
    start, step = (value or "" for value in (places.start, places.step))
    return f"{start}::{step}" if step else f"{start}:"


def _function(target: Any) -> str:
    for home, prefix in ((functional, "functional"), (torch, "torch"), (operator, "operator")):
        name = _public_name(home, target)
        if name is not None:
            return f"{prefix}.{name}"
    name = str(getattr(target, "__name__", target))[:40]
    raise ExportError(f"export to Python expected functions of PyTorch alone, got {name!r}: export to ONNX")


def _public_name(home: Any, target: Any) -> str | None:
    """What a function is called in a module: its own name, or another where that is none of the module's."""
    name = str(getattr(target, "__name__", target))
    if not name.startswith("_") and getattr(home, name, None) is target:
        return name
    public = (known for known in dir(home) if not known.startswith("_"))
    return next((known for known in public if getattr(home, known) is target), None)


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
    if isinstance(value, torch.dtype | torch.memory_format):
        return str(value)
    raise ExportError(f"export to Python expected numbers as arguments, got {str(value)[:40]!r}: export to ONNX")

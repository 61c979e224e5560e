"""ONNX models of compact modules, checked before anyone sees them."""

import contextlib
import importlib.util
import io
import logging
import warnings
from collections.abc import Callable, Generator, Mapping
from itertools import count
from typing import Any, cast

import torch
from torch import Tensor, fx

from nestgraph.data.tables.preparation import Preparation
from nestgraph.data.tables.table import Table
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.graph.extents import sample_shape
from nestgraph.interop.agreement import Runner, example_inputs
from nestgraph.interop.onnx_int8 import keep_weights
from nestgraph.interop.onnx_rows import add_columns, raw_inputs
from nestgraph.interop.rows import RowRunner, Told, told_names
from nestgraph.spec.arrays import AnyArray

PACKAGES = ("onnx", "onnxruntime", "onnxscript")
PRODUCER = "nestgraph"
LARGEST = 2**31 - 2**20
"""Bytes that a model may have: protobuf cannot hold 2 GiB."""


def onnx_bytes(
    network: Network, module: fx.GraphModule, columns: Preparation | None = None, int8: bool = False
) -> bytes:
    """The ONNX model of a compact module; inputs and outputs have the names of their layers.

    The batch axis is free, and so are the extents of inputs that are free in the network. A layer that is given several
    times has its name, then its name with a number.

    Args:
        network: what the module was made of.
        module: the compact module.
        columns: what is done to the rows of a table, where the model shall take raw columns.
        int8: whether weights are held as int8; see `onnx_int8.held` for the module.

    Raises:
        ExportError: a package is missing, the exporter does not know an operation, or the checker refuses the model.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise ExportError(
            f"export to ONNX expected the packages {', '.join(PACKAGES)}, got none of the name {missing[0]}: "
            "pip install 'nestgraph[onnx]'"
        )
    size = sum(tensor.nbytes for tensor in module.state_dict().values())
    if size > LARGEST:
        raise ExportError(
            f"export to ONNX expected at most {LARGEST:,} bytes of weights, got {size:,}: export to Python"
        )
    with _quiet():
        data = _refused("the exporter", lambda: _exported(network, module, columns, int8))
        _refused("the checker", lambda: _check(data))
    return data


def onnx_runner(data: bytes) -> Runner:
    """What computes an ONNX model on the CPU."""
    session = _session(data)
    names = [node.name for node in session.get_inputs()]

    def run(samples: list[AnyArray]) -> list[AnyArray]:
        return session.run(None, dict(zip(names, samples, strict=True)))

    return run


def onnx_row_runner(data: bytes, columns: Preparation) -> RowRunner:
    """What computes an ONNX model of raw columns on the CPU."""
    session = _session(data)

    def run(table: Table) -> Told:
        return dict(zip(told_names(columns), session.run(None, raw_inputs(columns, table)), strict=True))

    return run


def _session(data: bytes) -> Any:
    import onnxruntime

    options = cast(Any, onnxruntime).SessionOptions()
    options.log_severity_level = 3
    return cast(Any, onnxruntime).InferenceSession(data, options, providers=["CPUExecutionProvider"])


def _exported(network: Network, module: fx.GraphModule, columns: Preparation | None, int8: bool) -> bytes:
    samples, axes = dynamic_examples(network)
    names = [*network.input_names, *_output_names(network)]
    ports = {f"{PRODUCER}.{place}": name for place, name in enumerate(names)}  # no value inside is called so
    inputs, outputs = list(ports)[: len(samples)], list(ports)[len(samples) :]
    program: Any = torch.onnx.export(
        module,
        samples,
        dynamo=True,
        dynamic_shapes=axes,
        input_names=inputs,
        output_names=outputs,
        external_data=False,
        verbose=False,
    )
    model: Any = program.model_proto
    _strip(model)
    if int8:
        keep_weights(model)
    if columns is not None:
        ports = add_columns(model.graph, columns, len(network.units(network.output_names[0])))
    _name_ports(model.graph, ports)
    model.producer_name, model.producer_version = PRODUCER, ""
    return model.SerializeToString(deterministic=True)


def dynamic_examples(network: Network) -> tuple[tuple[Tensor, ...], tuple[dict[int, Any], ...]]:
    """Samples to trace a network with, by position, and of each which of its axes are free, for `torch.export`."""
    samples = tuple(torch.tensor(array) for array in example_inputs(network, 3))
    batch, any_extent = torch.export.Dim("batch", min=1), torch.export.Dim.AUTO
    axes = tuple(
        {0: batch} | {axis: any_extent for axis, extent in enumerate(sample_shape(network, port), 1) if extent is None}
        for port in network.inputs
    )
    return samples, axes


def _output_names(network: Network) -> list[str]:
    layers = [port.layer for port in network.outputs]
    return [f"{name}_{n}" if (n := layers[:place].count(name)) else name for place, name in enumerate(layers)]


def _name_ports(graph: Any, ports: Mapping[str, str]) -> None:
    """Give inputs and outputs the names of their layers; a value inside that has one of these gets another."""
    held = [*graph.input, *graph.output, *graph.value_info, *graph.initializer]
    used = {part.name for part in held} | {name for node in graph.node for name in (*node.input, *node.output)}
    new = dict(ports)
    for name in used & set(ports.values()):
        new[name] = next(other for n in count(2) if (other := f"{name}.{n}") not in used)
    for part in held:
        part.name = new.get(part.name, part.name)
    for node in graph.node:
        node.input[:] = [new.get(name, name) for name in node.input]
        node.output[:] = [new.get(name, name) for name in node.output]


def _strip(model: Any) -> None:
    """Remove what the exporter notes about where it ran: paths of this machine, of more bytes than a small network."""
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.input, *graph.output, *graph.value_info, *graph.initializer):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _check(data: bytes) -> None:
    import onnx

    onnx.checker.check_model(data, full_check=True)


def _refused(who: str, attempt: Callable[[], Any]) -> Any:
    try:
        return attempt()
    except Exception as error:
        reason = " ".join(str(error).split())[:200]
        raise ExportError(
            f"export to ONNX expected a network that {who} takes, got {type(error).__name__}: {reason}: "
            "export to Python instead"
        ) from error


@contextlib.contextmanager
def _quiet() -> Generator[None]:
    """Silence what the exporter prints, warns and logs."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

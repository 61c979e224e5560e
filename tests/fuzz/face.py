"""Calls of everything in the package's face, with arguments that fit and one or two that do not.

A valid call is altered: an argument becomes a stranger (another type, NaN, huge, empty, a strange sequence), another
verb's argument, or itself with other strides, shape, dtype or entries. What comes back is a value, a `NestgraphError`,
or a TypeError or ValueError that the docstring names; all else is a finding.
"""

import argparse
import contextlib
import decimal
import fractions
import inspect
import json
import random
import resource
import sys
import tempfile
import traceback
import warnings
from collections import UserDict, deque
from pathlib import Path
from typing import Literal

import networkx as nx
import numpy as np
import torch

import nestgraph as ng
from nestgraph.data.samples import Dataset, Samples
from nestgraph.data.tables.preparation import NumberColumn, Preparation
from nestgraph.data.text import TextReading, text_dataset
from nestgraph.errors import NestgraphError
from nestgraph.graph.geometry import output_size
from nestgraph.recipes.recipe import TrainingOptions
from tests.edits.test_tying import small
from tests.policies.evidence import evidence_for


class Mine(ng.policies.MagnitudePruning):
    """A policy of one's own."""

    kind: Literal["fuzzed"] = "fuzzed"


class Unreadable(list):
    def __iter__(self):
        raise KeyError("unreadable")

    def __repr__(self):
        raise RuntimeError("unreadable")


class Odd:
    """Answers to much, and never with what is asked for."""

    shape = (2, "x")
    columns = 5

    def __array__(self, *_, **__):
        raise RuntimeError("no array")

    def __fspath__(self):
        return 5

    def __len__(self):
        return -1

    def __bool__(self):
        raise RuntimeError("neither")


class Word(str):
    pass


def _endless():
    inner = []
    inner.append(inner)
    return inner


def _deep():
    inner = [1.0]
    for _ in range(3000):
        inner = [inner]
    return inner


def _structured():
    return np.zeros(3, [("a", "f4"), ("b", "i4")])


STRANGERS = [
    *(
        lambda value=value: value
        for value in (
            *(None, True, False, 0, -1, 1, 2, 3, 2**31, 2**53, 2**63, -(2**63), 10**400, 10**5000),
            *(0.5, 1.5, -0.0, float("nan"), float("inf"), float("-inf"), 1e39, 1e308, 5e-324, 1j),
            *("", "a", "fc1", "input", "a b", "\0", "\ud800", "a" * 5000, "class", "..", "0", Word("fc1")),
            *(
                b"",
                b"fc1",
                bytearray(3),
                memoryview(b"abc"),
                (),
                {},
                set(),
                {1},
                frozenset({"fc1"}),
                range(3),
                range(10**12),
            ),
            *(
                [],
                [[]],
                [[1], [1, 2]],
                [None],
                ["a"],
                [True],
                [1.5, "x"],
                [10**400],
                {"fc1": None},
                {1: 2},
                {None: [1]},
            ),
            *(
                {"fc1": [10**30]},
                {"fc1": "ab"},
                {"bias": [float("nan")]},
                {"a b": [1]},
                [("fc1", 1)],
                [("fc1", 10**30)],
            ),
            *(
                object(),
                object,
                len,
                lambda *_: 1,
                NotImplemented,
                ...,
                Exception("x"),
                type,
                iter("abc"),
                deque([1, 2]),
            ),
            *(
                decimal.Decimal("0.5"),
                fractions.Fraction(1, 3),
                UserDict(a=1),
                np.datetime64("2020"),
                np.float32("nan"),
            ),
            *(np.int64(3), np.float16(2), np.bool(True), np.str_("fc1"), Path("x"), Path(), Path("a\0")),
        )
    ),
    Unreadable,
    Odd,
    _endless,
    _deep,
    _structured,
    lambda: (number for number in range(3)),
    lambda: map(str, range(3)),
    lambda: np.array(0.5),
    lambda: np.zeros(0),
    lambda: np.zeros((0, 5), np.float32),
    lambda: np.zeros((1,) * 9),
    lambda: np.arange(6.0)[::-2],
    lambda: np.asfortranarray(np.arange(12.0).reshape(3, 4)),
    lambda: np.broadcast_to(np.float32(1), (2**40,)),
    lambda: np.broadcast_to(np.int64(1), (2**20, 2**20)),
    lambda: np.arange(3, dtype=">i4"),
    lambda: np.arange(3, dtype=np.uint64) + 2**63,
    lambda: np.array([1, "a", None], object),
    lambda: np.array(["a", "b"]),
    lambda: np.array([1j, 2]),
    lambda: np.array([np.nan, np.inf], np.float16),
    lambda: np.array([1e300]),
    lambda: np.ma.masked_array([1.0, 2.0], [True, False]),
    lambda: np.matrix([[1.0]]),
    lambda: torch.tensor(0.5),
    lambda: torch.nn.Parameter(torch.ones(3)),
    lambda: torch.ones(3, dtype=torch.bfloat16),
    lambda: torch.ones((2, 3)).to_sparse(),
    lambda: torch.empty(3, device="meta"),
    lambda: torch.zeros(0),
    lambda: torch.nn.Linear(8, 3),
    lambda: torch.optim.SGD([torch.nn.Parameter(torch.ones(3))], lr=0.1),
    lambda: nx.path_graph(3),
    lambda: nx.DiGraph([("a", "b"), (1, 2)]),
    lambda: np.random.default_rng(0),
    lambda: NETWORKS["mlp"],
    lambda: NETWORKS["cnn"],
    lambda: ng.Editor(NETWORKS["mlp"]),
    lambda: ng.edits.Batch(edits=()),
    lambda: ng.spec.Layer(name="fc1", kind="neurons"),
    lambda: RECIPE,
]


def _altered(value, rng):
    """A value of the same kind, with other entries."""
    if isinstance(value, np.ndarray):
        shapes = (value[::-1], value.T, value[..., None], value.reshape(-1), value[:-1], np.concatenate([value, value]))
        kinds = [value.astype(kind) for kind in ("f8", "f2", "i8", "u1", "?", ">f4", "U3", "O")]
        return rng.choice((*shapes, *kinds, -value.astype(float), value * np.float64("nan"), value * 1e30))
    if isinstance(value, bool):
        return not value
    if isinstance(value, int | float):
        return rng.choice(
            (-value, value + 1, value * 1e6, value * 10**18, float(value), value + 0.5, str(value), [value])
        )
    if isinstance(value, str):
        return rng.choice((value + "x", value.upper(), value.encode(), [value], Word(value), value[:1], value * 100))
    if isinstance(value, dict):
        return {key: _altered(one, rng) if rng.random() < 0.5 else stranger(rng) for key, one in value.items()} | (
            {rng.choice(("x", "fc1", 5, None)): stranger(rng)} if rng.random() < 0.3 else {}
        )
    if isinstance(value, list | tuple):
        entries = [_altered(one, rng) if rng.random() < 0.3 else one for one in value]
        made = (*entries, stranger(rng)) if rng.random() < 0.3 else entries[rng.randrange(2) :]
        return rng.choice((list, tuple, iter, deque))(made)
    return stranger(rng)


def stranger(rng):
    """Something that few ask for."""
    return rng.choice(STRANGERS)()


# -- what is called ----------------------------------------------------------------------------------


def _networks():
    mlp = ng.seeds.mlp((8, 6, 3), density=0.7, seed=0)
    plain = ng.seeds.mlp((8, 6, 3), density=0.7, seed=0, batch_norm=False)
    cnn = ng.seeds.cnn((3, 4), (5,), size=6, classes=3, seed=0)
    residual = ng.seeds.resnet((3, 4), (1, 1), size=8, classes=3, seed=0)
    return {"mlp": mlp, "plain": plain, "cnn": cnn, "residual": residual}


def _headed():
    """A network with two heads of attention."""
    module = torch.nn.Sequential(torch.nn.TransformerEncoderLayer(4, 2, 6, batch_first=True), torch.nn.Linear(4, 2))
    return ng.import_module(module.eval(), torch.randn(2, 3, 4))


def _stream():
    """A network with a block of attention that is normalised before."""
    layer = torch.nn.TransformerEncoderLayer(4, 2, 6, batch_first=True, norm_first=True)
    module = torch.nn.Sequential(torch.nn.Linear(4, 4), layer, torch.nn.Linear(4, 2))
    return ng.import_module(module.eval(), torch.randn(2, 3, 4))


NETWORKS = _networks()
STREAM = _stream()
HEADED = _headed()
TIED = small()
LOOSE = ng.edits.untie(TIED, "b_to_y").apply(TIED).network
RECIPE = ng.load_recipe(Path(__file__).with_name("tiny.toml"))


def _sample(network, rng):
    layer = network.layer(network.inputs[0].layer)
    return np.asarray(rng.random((2, layer.features, *(output_size(layer) or ()))), np.float32)


def _digits():
    rng = np.random.default_rng(0)
    parts = [Samples(rng.random((n, 1, 2, 4), np.float32), np.arange(n) % 3) for n in (12, 6, 6)]
    return Dataset("tiny", *parts, classes=3)


def _edits(network):
    """An edit of each kind, and recipe functions, with arguments that fit."""
    e, units = ng.edits, network.units("fc1")
    into = network.incoming("fc1")[0].name
    out = network.outgoing("fc1")[0].name
    weight = network.connection_columns(out).weight
    yield e.prune_connections, {"structure": network, "entries": {into: np.array([0, 1])}}
    yield e.remove_units, {"structure": network, "layer": "fc1", "units": [int(units[0])]}
    yield e.remove_projection, {"structure": network, "projection": into}
    yield e.drop_islands, {"structure": network}
    yield (
        e.wake_connections,
        {
            "structure": network,
            "projection": into,
            "entries": np.flatnonzero(~network.connection_columns(into).mask)[:2],
            "weights": np.array([0.5, 0.5]),
        },
    )
    column = {into: np.ones(network.connection_columns(into).weight.shape[1:]), out: np.ones(weight.shape[0])}
    yield e.grow_unit, {"structure": network, "layer": "fc1", "weights": column, "values": None, "like": int(units[0])}
    heads = next(name for name in HEADED.layer_names if HEADED.matches(name))
    yield e.remove_heads, {"structure": HEADED, "layer": heads, "heads": [0]}
    yield e.grow_head, {"structure": HEADED, "layer": heads, "rng": np.random.default_rng(0), "width": 2, "values": 2}
    yield e.split_head, {"structure": HEADED, "layer": heads, "head": 0}
    widened = {"count": 1, "rng": np.random.default_rng(0), "heads": [0], "values": 1}
    yield e.widen_heads, {"structure": HEADED, "layer": heads, **widened}
    yield e.restore_inputs, {"structure": network, "layer": network.input_names[0], "units": [0]}
    for verb in (e.split_unit, e.duplicate_unit):
        yield verb, {"structure": network, "layer": "fc1", "unit": int(units[0])}
    yield e.widen, {"structure": network, "layer": "fc1", "count": 2, "rng": np.random.default_rng(0)}
    for verb in (e.bypass_layer, e.fold_batch_norm, e.merge_twins, e.normalisation_factor):
        yield verb, {"structure": network, "layer": "fc1"}
    for verb in (e.freeze, e.thaw):
        yield verb, {"structure": network, "layers": ["fc1"]}
    yield e.tie, {"structure": LOOSE, "projection": "b_to_y", "like": "x_to_a"}
    yield e.untie, {"structure": TIED, "projection": "b_to_y"}
    yield e.insert_batch_norm, {"structure": network, "layer": "fc1", "epsilon": 1e-5, "momentum": 0.1}
    yield e.coupled, {"structure": network, "layer": "fc1", "units": [int(units[0])]}
    deeper = {"layer": "fc1", "name": "new", "function": "relu", "kernel": (1, 1), "exact": False}
    yield e.deepen, {"structure": network, **deeper}
    yield e.copy_block, {"structure": STREAM, "source": "layer_0", "target": "layer_1_2", "name": "copied"}
    yield e.insert_skip, {"structure": network, "source": "input", "target": "output", "one_to_one": False, "name": "s"}
    yield e.narrow, {"structure": network, "fraction": 0.3, "layers": ["fc1"], "multiple": 1, "heads": 0.0}
    yield e.replace_activation, {"structure": network, "layer": "fc1", "function": "tanh", "slope": 0.1}
    yield e.shift_activations, {"structure": network, "function": "relu", "replaced": "leaky_relu"}
    yield e.shrink_areas, {"structure": network, "areas": {}}
    yield e.respell_areas, {"structure": network}
    yield ng.difference, {"old": network, "new": e.drop_islands(network).apply(network).network}
    after = e.remove_units(network, "fc1", [int(units[0])]).apply(network).network
    yield (
        e.merge,
        {"base": network, "ours": after, "theirs": e.replace_activation(network, "fc1", "tanh").apply(network).network},
    )
    yield e.side_by_side, {"network": network, "edits": [e.remove_units(network, "fc1", [int(units[0])])]}
    yield e.Joined.of, {"network": network, "edits": [e.remove_units(network, "fc1", [int(units[0])])]}
    yield e.way_over, {"network": network, "edits": [e.remove_units(network, "fc1", [int(units[0])])]}
    yield e.diff, {"old": network, "new": e.remove_units(network, "fc1", [int(units[0])]).apply(network).network}


def _benches(network, rng):
    """Verbs of editors, selections and networks, on new ones."""
    edit = ng.edits.remove_units(network, "fc1", [0])
    editor = ng.Editor(network)
    units, connections = editor.select("fc1"), editor.select_connections()
    into = network.incoming("fc1")[0].name
    yield ng.Editor, {"network": network}
    yield editor.apply, {"edit": edit}
    yield editor.replay, {"edits": [edit]}
    yield editor.preview, {"edit": edit, "sample": _sample(network, rng), "named": [("fc1", 0)]}
    yield editor.select, {"chosen": {"fc1": [0, 1]}}
    chosen = {"chosen": {into: [0]}, "source": "input", "target": [("fc1", 0)], "dormant": False}
    yield editor.select_connections, chosen
    yield units.where, {"predicate": lambda columns: columns["ids"] > 1}
    yield units.set, {"beta": 0.5}
    yield units.edit, {"intent": "prune"}
    yield units.preview, {"intent": "split", "sample": _sample(network, rng)}
    yield connections.where, {"predicate": lambda weight, mask: mask & (weight > 0)}
    yield connections.smallest, {"fraction": 0.2}
    yield connections.set, {"weights": 0.5}
    yield editor.select_connections(dormant=True).wake, {"weights": 0.5}
    yield edit.apply, {"network": network}
    branch = editor.branch()
    branch.apply(edit)
    yield editor.merge, {"branch": branch}
    yield editor.rebase, {"onto": branch}
    yield branch.take_back, {"moment": branch.mark()}
    way = ng.edits.way_over(network, [edit])
    yield edit.map, {"way": way}
    yield ng.edits.Way.between, {"base": network, "here": edit.apply(network).network}
    yield way.then, {"later": ng.edits.Way.between(way.here, way.here)}
    yield ng.edits.IndexMap.between, {"old": network, "new": edit.apply(network).network}
    yield ng.Network.of, {"structure": network}
    parts = {"layers": network.layers_by_name.values(), "projections": network.projections_by_name.values()}
    columns = {"units": {n: network.unit_columns(n) for n in network.layer_names}, "bodies": None, "interface": None}
    joined = {"connections": {n: network.connection_columns(n) for n in network.projection_names}}
    yield ng.Network, {**parts, **columns, **joined}
    yield ng.Network.from_graph, {"graph": network.graph, "layers": [network.layer(n) for n in network.layer_names]}
    for verb in (network.layer, network.units, network.unit_columns, network.incoming, network.has_layer):
        yield verb, {next(iter(inspect.signature(verb).parameters)): "fc1"}
    for verb in (network.projection, network.connection_columns):
        yield verb, {next(iter(inspect.signature(verb).parameters)): into}
    yield network.fresh_ids, {"layer": "fc1", "count": 2}


def _forms(network, rng, folder):
    """Verbs that take a network somewhere else."""
    module = ng.lower(network)
    for verb in (ng.cost, ng.plain_graph, ng.import_report):
        yield verb, {"structure": network}
    given_up = {"like": (network, module), "dtype": torch.float32, "execution": "auto"}
    yield ng.lower, {"network": network, "device": "cpu", "masked": True, **given_up}
    yield ng.compact, {"network": network, "batch": 1, "layout": "auto", "execution": "auto"}
    yield ng.explain, {"network": network, "batch": 1, "execution": "auto", "training": True, "threads": 2}
    yield ng.calibrate, {"seconds": 0.01, "path": folder / "costs.json", "overwrite": False}
    yield ng.collect, {"network": network, "module": module}
    yield ng.network_of, {"module": module}
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    made = {"optimizer": optimizer, "before": (network, module), "after": (network, ng.lower(network))}
    yield ng.carry_optimizer, made
    yield ng.register, {"of": Mine}
    yield ng.follow, {"kind": type("Own", (torch.optim.SGD,), {}), "how": "restart"}
    bench = {"network": network, "make": lambda given: torch.optim.SGD(given.parameters(), lr=0.1), "device": "cpu"}
    yield ng.Workbench, {**bench, "execution": "auto"}
    yield ng.hand_over, {"owner": torch.nn.Module(), "name": "net", "bench": ng.Workbench(**bench)}
    yield ng.save, {"network": network, "path": folder / "n.json", "sidecar_above": 5, "limits": ng.Limits()}
    ng.save(network, folder / "read.json")
    yield ng.load, {"path": folder / "read.json", "limits": ng.Limits()}
    yield ng.read_journal, {"path": folder / "no.jsonl", "limits": ng.Limits()}
    yield ng.replay, {"start": network, "entries": []}
    example = torch.from_numpy(_sample(network, rng))
    simple = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(example[0].numel(), 2))
    yield ng.Imported, {"module": simple, "example_inputs": example}
    imported = ng.Imported(simple, example)
    yield imported.state_dict, {"network": imported.network}
    yield imported.values, {"network": imported.network, "state": simple.state_dict()}
    yield imported.bench, {"optimizer": torch.optim.SGD(simple.parameters(), lr=0.1), "device": "cpu"}
    yield ng.import_module, {"module": torch.nn.Sequential(torch.nn.Flatten(), module), "example_inputs": example}
    for verb in (ng.to_edges, ng.to_nodes):
        yield verb, {"network": network}
    yield ng.write_edges, {"network": network, "path": folder / "e.csv", "nodes": folder / "n.csv"}
    edges, nodes = [("a", "b", 0.5), ("b", "c", 1.0)], [("b", 0.5, "relu", 0.0), ("c", 0.0, "", 0.0)]
    given = {"edges": edges, "nodes": nodes, "inputs": ["a"], "outputs": ["c"], "activation": "relu"}
    yield ng.from_edges, given
    node = {"id": 0, "type": "output", "bias": 0.5, "response": 1.0, "activation": {"name": "tanh"}}
    genome = {
        "format_version": "1.0",
        "network_type": "feedforward",
        "topology": {"input_keys": [-1], "output_keys": [0]},
        "nodes": [node | {"aggregation": {"name": "sum"}}],
        "connections": [{"from": -1, "to": 0, "weight": 0.5}],
    }
    yield ng.from_neat, {"source": genome}
    sample = _sample(network, rng)
    kept = {"format": "safetensors", "form": "compact", "batch": 1, "inputs": sample}
    none = {"columns": None, "rows": None}
    yield ng.export, {"network": network, "path": folder / "n.safetensors", **kept, **none}
    classes = {"split": (sample, np.zeros(len(sample), np.int64)), "loss": 100.0, "target": "uno", "example": True}
    yield ng.export, {"network": network, "path": folder / "n.c", "inputs": sample, **none, "int8": True, **classes}


def _policy_kinds():
    kinds = (getattr(ng.policies, name) for name in ng.policies.__all__)
    policies = (kind for kind in kinds if inspect.isclass(kind) and issubclass(kind, ng.policies.Policy))
    return [policy for policy in policies if not inspect.isabstract(policy)]


def _policies(network, rng):
    measured = evidence_for(network, rng)
    for policy in _policy_kinds():
        given = {"network": network, "evidence": measured, "rng": np.random.default_rng(0), "scale": 1.0}
        yield policy().propose, given
    measures = ("gradients", "bridges", "activity", "saliency", "skips", "responses", "samples")
    yield ng.policies.Evidence, {name: getattr(measured, name) for name in measures}
    yield ng.policies.bridged_layers, {"structure": network}
    yield ng.policies.possible_skips, {"structure": network}
    yield ng.policies.effective_weight, {"structure": network, "projection": network.projection_names[0]}


def _records():
    """Every public record, by the fields of one that is valid."""
    layer = ng.spec.Layer(name="a", kind="feature_maps", size=(4, 4), operations=(ng.spec.BatchNorm(),), label="x")
    conv = ng.spec.Conv(source="a", target="b", kernel=(3, 3), padding=(1, 1))
    pool = ng.spec.Pooling(function="max", kernel=(2, 2), stride=(2, 2))
    block = ng.edits.Block(weight=np.ones((2, 3)), mask=np.ones((2, 3), bool))
    mask = ng.edits.SetMask(projection="a_to_b", entries=[1, 2], active=[True, False], weights=[0.5, 0.0])
    values = ng.edits.SetValues(units={"fc1": {"bias": [0.5]}}, weights={"p": np.ones(3)})
    units = ng.edits.AddUnits(layer="a", ids=[5], values={"bias": [0.5]}, blocks={"a_to_b": block})
    ports = ng.spec.Interface(
        inputs=[ng.spec.InputPort(layer="i", shape=(3,))], outputs=[ng.spec.OutputPort(layer="o", label="x")]
    )
    records = [
        *(layer, conv, pool, block, mask, values, units, ports, ports.inputs[0], ports.outputs[0], ng.Limits()),
        *(ng.spec.Dense(source="a", target="b"), ng.spec.OneToOne(source="a", target="b", kernel=(3, 3))),
        *(ng.spec.Dropout(probability=0.5), ng.spec.LocalResponseNorm(size=5), ng.spec.Activation(function="relu")),
        *(ng.spec.Upsampling(mode="nearest", size=(4, 4)), ng.spec.AdaptivePooling(function="max", size=(1, 1))),
        *(ng.spec.Softmax(causal=True), ng.spec.Norm(count=4), ng.spec.ParametricReLU()),
        *(ng.spec.Match(source="a", target="b", side="query"), ng.spec.Mix(source="a", target="b")),
        *(ng.spec.Series(before=1, after=2), ng.spec.Pick(place=(0, -1))),
        *(ng.spec.Lookup(source="a", target="b"), ng.spec.Pad(before=(1, 0), after=(-1, 2), value=0.5)),
        *(
            ng.edits.RemoveUnits(layer="a", units=[1]),
            ng.edits.SetArea(projection="p", area=np.ones((1, 1, 2, 2), bool)),
        ),
        *(ng.edits.AddLayer(layer=layer, ids=[0, 1]), ng.edits.Batch(edits=[mask, values], title="x")),
        *(ng.edits.SetOperations(layer="a", operations=(pool,), bias=True), ng.edits.RemoveLayer(layer="a")),
        *(ng.edits.AddProjection(projection=conv, connections=block), ng.edits.SetInterface(interface=ports)),
        *(RECIPE, RECIPE.data, RECIPE.seed_network, RECIPE.training, RECIPE.pruning, RECIPE.growth),
        *(
            ng.edits.Reason(place="a", measure="x", value=0.5),
            ng.spec.BatchNorm(),
            ng.spec.Argument(source="a", target="b", place=0),
        ),
        *(ng.edits.RemoveProjection(projection="a_to_b"), *(kind() for kind in _policy_kinds())),
    ]
    for record in records:
        yield type(record), {name: getattr(record, name) for name in type(record).model_fields}
    yield ng.edits.EDIT.validate_json, {"data": ng.edits.EDIT.dump_json(mask)}
    yield ng.edits.EDIT.validate_python, {"value": {"kind": "remove_layer", "layer": "a"}}


def _seeds():
    common = {"density": 0.5, "seed": 1, "batch_norm": False}
    yield ng.seeds.mlp, {"widths": (4, 3, 2), "activation": "relu", **common}
    ends = {"inputs": (4, 3), "hidden": (5,), "outputs": {"kind": 3, "size": 1}}
    yield ng.seeds.joint_mlp, {**ends, "activation": "relu", **common}
    images = {"channels": 1, "size": 6, "classes": 3}
    yield ng.seeds.cnn, {"maps": (2, 3), "neurons": (4,), "kernel": 3, **images, **common}
    yield ng.seeds.resnet, {"maps": (2, 3), "blocks": (1, 1), **images, **common}
    yield ng.seeds.densenet, {"growth": 2, "layers": (1, 1), **images, **common}
    yield ng.seeds.lenet_300_100, {"width": 0.02, **common}
    yield ng.seeds.lenet_5, {"width": 0.05, **common}
    yield ng.seeds.alexnet, {"width": 0.01, "classes": 3, "groups": 1, "size": 64, **common}
    yield ng.seeds.vgg16, {"width": 0.01, "classes": 3, "size": 32, **common}
    yield ng.seeds.resnet18, {"width": 0.02, "classes": 3, "size": 32, **common}


def _training(network, folder):
    data, options = _digits(), TrainingOptions(batch_size=6, threads=1)
    yield Samples, {"inputs": data.train.inputs, "targets": data.train.targets}
    made = {"dataset": data, "options": options, "distortion": None, "seed": 0, "device": "cpu", "augmentation": None}
    yield ng.Trainer, made
    trainer = ng.Trainer(data, options)
    bench = trainer.bench(network)
    yield trainer.bench, {"network": network}
    yield trainer.fit, {"bench": bench, "epochs": 1, "purpose": "fuzz", "index": 0, "rate": 1.0, "saves": None}
    yield bench.load, {"network": network, "state": None}
    yield trainer.measure, {"network": network, "split": "train", "module": None}
    yield trainer.arrays, {"split": "test"}
    yield trainer.samples, {"network": network, "split": "test", "most": 2}
    yield trainer.batches, {"network": network, "count": 1, "purpose": "fuzz", "index": 0}
    flat = data.train.inputs.reshape(len(data.train), -1)
    asked = {"needs": {"gradients", "trial"}, "seed": 0, "device": "cpu", "trial": 2}
    yield ng.gather, {"network": network, "batches": [(flat, data.train.targets)], "loss": trainer.task.loss, **asked}
    yield ng.as_batches, {"data": (flat, data.train.targets), "size": 4, "steps": None}
    for whole in (ng.as_batches((flat, data.train.targets), 4), ng.as_batches([(flat, data.train.targets)])):
        yield whole.epoch, {"seed": 0}
        yield whole.epoch(0).rest, {"start": 0}
        yield whole.drawn, {"seed": 0, "count": 1}
        yield whole.ordered, {"most": 2}
        yield whole.told, {"most": 2}
    parts = {"train": (flat, data.train.targets), "validation": data.validation, "test": None}
    yield ng.dataset, {**parts, "size": 4, "steps": None, "names": ("a", "b", "c"), "name": "fuzz"}
    shares = {"validation": 0.3, "test": 0.3, "kind": "stratified", "by": None, "seed": 0}
    whole = (flat, data.train.targets)
    yield ng.split, {"data": whole, "target": None, **shares, "wanted": None, "names": (), "name": "fuzz"}
    yield ng.predict, {"network": network, "rows": folder / "none.csv", "columns": folder / "none.json"}
    yield ng.read_columns, {"path": folder / "none.json"}
    column = NumberColumn(name="a", mean=0.0, deviation=1.0)
    yield ng.save_columns, {"preparation": Preparation(columns=(column,)), "path": folder / "c.json"}
    yield ng.load_image_folder, {"folder": folder / "none", "options": None, "seed": 0}
    yield text_dataset, {"content": "ab cd " * 99, "reading": TextReading(window=4), "seed": 0, "name": "fuzz"}
    yield ng.load_recipe, {"name_or_path": "digits"}
    yield ng.load_sweep, {"name_or_path": folder / "none.toml"}
    yield ng.resume, {"run": folder / "none", "device": None, "allow_changes": False, "save_every": None}
    yield ng.task, {"kind": "regression", "loss": "huber", "metrics": ["r2"], "goal": "r2", "name": "mine"}
    yield ng.Run.read, {"folder": folder / "none"}
    yield ng.report, {"run": folder / "none", "path": folder / "r.html", "reload": None}
    yield ng.LiveReport, {"folder": folder / "none", "path": folder / "r.html", "then": None}


def _dear(network, folder, rng):
    """Verbs that take long where all their arguments fit."""
    run = {"recipe": RECIPE, "seed": 0, "device": "cpu", "progress": None, "overwrite": True, "save_every": None}
    run |= {"trackers": (), "data": None}
    yield ng.synthesize, {**run, "out": folder / "run"}
    yield ng.load_dataset, {"name": "digits", "seed": 0, "cache": folder, "validation": "stratified", "folder": None}
    picture = {"path": folder / "n.svg", "view": "layers", "theme": "light"}
    yield ng.draw, {"network": network, **picture, "among": ()}
    yield ng.draw_difference, {"old": network, "new": network, **picture}
    yield ng.exported_program, {"network": network, "batch": 1, "inputs": _sample(network, rng)}


def calls(seed, folder):
    """All calls that fit, by turns with one network or another, and those of them that take long."""
    rng = np.random.default_rng(seed)
    network = list(NETWORKS.values())[seed % len(NETWORKS)]
    if not network.has_layer("fc1"):
        network = NETWORKS["cnn"]
    quick = [
        *_edits(network),
        *_benches(network, rng),
        *_forms(network, rng, folder),
        *_policies(network, rng),
        *_records(),
        *_seeds(),
        *_training(NETWORKS["mlp"], folder),
    ]
    return quick, list(_dear(network, folder, rng))


# -- and how -----------------------------------------------------------------------------------------


def _named(verb, error):
    """Whether the docstring of a verb or its class names an error."""
    return type(error) in (TypeError, ValueError) and type(error).__name__ in (inspect.getdoc(verb) or "")


def attempt(verb, arguments):
    """None, or what went wrong."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            made = verb(**arguments)
            if inspect.isgenerator(made):
                next(made, None)
    except NestgraphError as error:
        return None if str(error) else f"{verb}: {type(error).__name__} without words"
    except Exception as error:
        if _named(verb, error):
            return None
        place = traceback.extract_tb(error.__traceback__)[-1]
        own = next(
            (f for f in reversed(traceback.extract_tb(error.__traceback__)) if "nestgraph/" in f.filename), place
        )
        at = f"{Path(own.filename).name}:{own.lineno}"
        return f"{getattr(verb, '__qualname__', verb)}: {type(error).__name__} at {at}: {str(error)[:150]!r}"
    return None


def _replaced(name, value, others, rng):
    """Something in place of an argument: a stranger, the like of it, or what another verb takes."""
    ways = (lambda: stranger(rng), lambda: _altered(value, rng), lambda: rng.choice(list(others.values())))
    given = rng.choice(ways)()
    own = callable(value) or isinstance(value, torch.nn.Module) or name in ("chosen", "source", "target")
    if own and callable(given):
        return None  # what a function of the caller's own raises is the caller's
    longer = name in ("epochs", "scale", "count") and isinstance(given, int | float) and given > 5
    return value if longer else given  # however long that may take


def fuzz(seed, count, folder, dear=0.002):
    """Findings of `count` calls, in words."""
    rng, found = random.Random(seed), {}
    quick, slow = calls(seed, folder)
    for number in range(count):
        if number % 1000 == 999:
            quick, slow = calls(seed + number, folder)
        long = rng.random() < dear * len(slow)
        verb, given = rng.choice(slow if long else quick)
        names = [name for name in given if rng.random() < 1.3 / len(given)]
        if long and not names:
            names = [rng.choice(list(given))]
        altered = {name: _replaced(name, given[name], rng.choice(quick)[1], rng) for name in names}
        problem = attempt(verb, given | altered)
        if problem:
            key = problem.split("'")[0]
            found.setdefault(key, f"{problem} with {[(name, _told(value)) for name, value in altered.items()]}")
    return list(found.values())


def _told(value):
    try:
        return repr(value)[:80]
    except Exception:
        return type(value).__name__


def main(words=None):
    """Call, print one line of JSON, and return how many findings there were."""
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz.face", description=__doc__)
    parser.add_argument("--count", type=int, default=100_000, help="how many calls")
    parser.add_argument("--seed", type=int, default=0, help="of the calls; those of a seed are always the same")
    parser.add_argument("--dear", type=float, default=0.001, help="share of each verb that takes long")
    given = parser.parse_args(words)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):  # whatever is written is written there
        found = fuzz(given.seed, given.count, Path(folder), given.dear)
    memory = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024
    for problem in found:
        print(problem, file=sys.stderr)
    print(json.dumps({"count": given.count, "seed": given.seed, "memory": memory, "found": len(found)}))
    return len(found)


if __name__ == "__main__":
    sys.exit(main() > 0)

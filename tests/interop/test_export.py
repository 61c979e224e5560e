"""What is exported runs without nestgraph and gives the network's outputs, or is not there at all."""

import ast
import importlib.util
import subprocess
import sys
import warnings
from pathlib import Path
from typing import get_args

import numpy as np
import onnx
import onnxruntime
import pytest
import safetensors.torch
import torch
from hypothesis import given

from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.graph.reference import forward, predict
from nestgraph.interop import agreement, exporting
from nestgraph.interop.export import export
from nestgraph.interop.exporting import exported_program
from nestgraph.interop.importing import import_module
from nestgraph.interop.source import source_of, state_of
from nestgraph.lowering import lower
from nestgraph.lowering.compact import compact
from nestgraph.seeds import cnn, densenet, mlp, resnet
from nestgraph.snapshot import load
from nestgraph.spec import Activation, Dense, Layer, ParametricReLU
from nestgraph.spec.operations import ActivationFunction
from tests.edits.test_mixing import OPTIONS
from tests.laws import quick
from tests.lowering.running import tensors
from tests.lowering.test_compact import Reversal, Stubborn, built, gated
from tests.strategies import inputs_for, networks

LENET_5 = Path(__file__).parents[2] / "docs" / "results" / "lenet-5.json"
pytestmark = pytest.mark.usefixtures("one_registry")
HOSTILE = '"""\nx=__import__("os").system("exit 1")'


def named(network, names, label=""):
    """The network with other names of its layers, and a label at each."""
    names = {name: names.get(name, name) for name in network.layer_names}
    layers = [network.layer(old).model_copy(update={"name": new, "label": label}) for old, new in names.items()]
    projections = [
        p.model_copy(update={"source": names[p.source], "target": names[p.target]})
        for p in network.projections_by_name.values()
    ]
    units = {new: network.unit_columns(old) for old, new in names.items()}
    connections = {p.name: network.connection_columns(p.name) for p in projections}
    bodies = {names[name]: body for name, body in network.bodies.items()}
    return Network(layers, projections, units, connections, bodies)


def small(density=1.0):
    """A convolution, a pooling and two dense layers on images of 8 x 8."""
    return cnn((3,), (4,), density, size=8, classes=2)


def two_ended():
    """Two inputs, x and z, and two outputs; one output reads only z."""
    rng = np.random.default_rng(0)
    layers = (
        Layer(name="x", kind="input", features=3),
        Layer(name="z", kind="input", features=2),
        Layer(name="y", kind="neurons", output=True),
        Layer(name="w", kind="neurons", output=True),
    )
    projections = (Dense(source="x", target="y"), Dense(source="z", target="y"), Dense(source="z", target="w"))
    shapes = {"x_to_y": (2, 3), "z_to_y": (2, 2), "z_to_w": (1, 2)}
    arrays = {name: rng.standard_normal(shape) for name, shape in shapes.items()}
    return built(layers, projections, arrays, {"x": 3, "z": 2, "y": 2, "w": 1})


# -- ONNX ----------------------------------------------------------------------------------------------


def onnx_outputs(path, inputs):
    session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
    names = [node.name for node in session.get_outputs()]
    return dict(zip(names, session.run(None, inputs), strict=True))


def check_onnx(network, tmp_path, capfd, **options):
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        exported = export(network, path, **options)
    assert capfd.readouterr() == ("", "")
    assert exported.paths == (path,)
    assert exported.bytes == path.stat().st_size
    for batch in (1, 5):
        inputs = inputs_for(network, batch, np.random.default_rng(batch))
        expected = forward(network, inputs)
        got = onnx_outputs(path, inputs)
        assert got.keys() == set(network.output_names)
        for name, array in got.items():
            np.testing.assert_allclose(array, expected[name], rtol=0, atol=1e-4 * max(1, np.abs(expected[name]).max()))
    return path


def test_onnx_of_several_inputs_and_outputs_quietly(tmp_path, capfd):
    path = check_onnx(named(two_ended(), {"x": "relu", "y": "linear", "w": "addmm", "z": "val_0"}), tmp_path, capfd)
    model = onnx.load(path)
    assert [node.name for node in model.graph.input] == ["relu", "val_0"]
    shapes = [[d.dim_param or d.dim_value for d in node.type.tensor_type.shape.dim] for node in model.graph.input]
    assert shapes == [["batch", 3], ["batch", 2]]
    assert str(Path.cwd()).encode() not in path.read_bytes()
    assert b"torch/nn/modules" not in path.read_bytes()


@pytest.mark.parametrize(
    ("entry", "result"), [("x", "softmax"), ("softmax", "y"), ("view", "softmax_2"), ("addmm", "view")]
)
def test_onnx_of_an_opaque_layer_whose_name_a_value_inside_has(entry, result, tmp_path, capfd):
    module = torch.nn.Sequential(torch.nn.Linear(6, 4), torch.nn.Softmax(-1))
    network = import_module(module, torch.randn(2, 6))
    (source,), (target,) = network.input_names, network.output_names
    check_onnx(named(network, {source: entry, target: result}), tmp_path, capfd)


def test_onnx_of_gates_and_an_opaque_layer(tmp_path, capfd):
    check_onnx(gated(Reversal()), tmp_path, capfd)


@pytest.mark.slow
@pytest.mark.parametrize("batch", [1, 64])
def test_onnx_of_lenet_5_with_areas(batch, tmp_path, capfd):
    digits = np.random.default_rng(0).random((20, 1, 28, 28))
    check_onnx(load(LENET_5), tmp_path, capfd, batch=batch, inputs=digits)


@pytest.mark.slow
@pytest.mark.parametrize(("seed", "sizes"), [(resnet, ((4, 6), (1, 2))), (densenet, (4, (2, 2)))])
def test_onnx_of_skips_and_concatenations(seed, sizes, tmp_path, capfd):
    check_onnx(seed(*sizes, density=0.6, size=32, classes=3), tmp_path, capfd)


@pytest.mark.parametrize("missing", ["onnx", "onnxruntime", "onnxscript"])
def test_a_missing_package_is_named_with_the_remedy(missing, tmp_path, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == missing else found(name))
    with pytest.raises(ExportError, match=rf"none of the name {missing}: pip install 'nestgraph\[onnx\]'"):
        export(mlp((3, 4, 2)), tmp_path / "net.onnx")
    assert list(tmp_path.iterdir()) == []


# -- Python --------------------------------------------------------------------------------------------

FRESH = """
import sys
sys.modules["nestgraph"] = None  # importing it would fail
sys.path.insert(0, sys.argv[1])
import net, torch
import safetensors.torch
samples = safetensors.torch.load_file(sys.argv[1] + "/samples.safetensors")
with torch.no_grad():
    result = net.load()(samples["x"])
safetensors.torch.save_file({"y": result}, sys.argv[1] + "/result.safetensors")
"""


def test_python_source_runs_where_there_is_no_nestgraph(tmp_path):
    network = small()
    exported = export(network, tmp_path / "net.py")
    assert exported.paths == (tmp_path / "net.py", tmp_path / "net.safetensors")
    x = np.random.default_rng(0).standard_normal((4, 1, 8, 8)).astype(np.float32)
    safetensors.torch.save_file({"x": torch.tensor(x)}, tmp_path / "samples.safetensors")
    subprocess.run([sys.executable, "-I", "-c", FRESH, str(tmp_path)], check=True)
    got = safetensors.torch.load_file(tmp_path / "result.safetensors")["y"].numpy()
    np.testing.assert_allclose(got, predict(network, x), atol=1e-5)


@quick(40)
@given(networks(families=("dense", "conv", "skip", "residual", "concatenating", "gated")))
def test_python_source_of_any_network_agrees(tmp_path_factory, network):
    folder = tmp_path_factory.mktemp("source")
    assert export(network, folder / "net.py").difference < 1e-3
    assert export(network, folder / "net.safetensors", form="masked").difference < 1e-3


def test_no_text_of_a_user_is_code(tmp_path):
    plain = small()
    names = dict(zip(plain.layer_names, ("self", "torch", "load", "WEIGHTS", "Path"), strict=False))
    export(named(plain, names, HOSTILE), tmp_path / "net.py")
    export(plain, tmp_path / "plain.py")
    sources = [(tmp_path / name).read_text("ascii") for name in ("net.py", "plain.py")]
    trees = [ast.parse(source) for source in sources]
    for tree in trees:  # the docstring of the class names inputs and outputs
        cls = next(node for node in tree.body if isinstance(node, ast.ClassDef))
        cls.body = cls.body[1:]
    assert ast.dump(trees[0]) == ast.dump(trees[1])
    assert "__import__" in sources[0]


def test_source_refuses_weights_of_another_export(tmp_path):
    export(mlp((3, 4, 2), seed=0), tmp_path / "a.py")
    export(mlp((3, 4, 2), seed=1), tmp_path / "b.py")
    scope = {"__file__": str(tmp_path / "a.py")}
    exec(compile((tmp_path / "a.py").read_text(), "a.py", "exec"), scope)
    assert not scope["load"]().training
    with pytest.raises(ValueError, match="exported with this source"):
        scope["load"](tmp_path / "b.safetensors")


def test_source_of_an_opaque_layer(tmp_path):
    export(gated(Reversal()), tmp_path / "net.py")
    with pytest.raises(ExportError, match="an opaque one of Stubborn: export to ONNX"):
        export(gated(Stubborn()), tmp_path / "stubborn.py")
    assert not list(tmp_path.glob("stubborn*"))


# -- weights and programs ------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["compact", "masked"])
def test_safetensors_is_the_state_of_the_module(form, tmp_path):
    network = small(density=0.5)
    export(network, tmp_path / "net.safetensors", form=form)
    module = compact(network, execution="dense") if form == "compact" else lower(network)
    state = safetensors.torch.load_file(tmp_path / "net.safetensors")
    assert state.keys() == module.state_dict().keys()
    assert all(torch.equal(tensor, state[name]) for name, tensor in module.state_dict().items())


def test_programs_take_any_batch():
    network = two_ended()
    program = exported_program(network).module()
    for count in (1, 6):
        inputs = inputs_for(network, count, np.random.default_rng(0))
        expected = forward(network, inputs)
        for name, got in zip(network.output_names, program(*tensors(network, inputs)), strict=True):
            np.testing.assert_allclose(got.detach().numpy(), expected[name], atol=1e-5)


def test_the_same_network_gives_the_same_bytes(tmp_path):
    network = small(density=0.5)
    for name in ("a", "b"):
        export(network, tmp_path / f"{name}.py")
    assert (tmp_path / "a.py").read_bytes() == (tmp_path / "b.py").read_bytes()
    assert (tmp_path / "a.safetensors").read_bytes() == (tmp_path / "b.safetensors").read_bytes()


# -- disagreement and refusal --------------------------------------------------------------------------


def spoilt(network, batch=1, layout="auto", execution="auto"):
    """A compact module of which one weight is wrong."""
    module = compact(network, batch, layout, execution)
    next(module.parameters()).view(-1)[0] += 0.01
    return module


@pytest.mark.parametrize("name", ["net.onnx", "net.py", "net.safetensors"])
def test_what_disagrees_is_refused_with_the_difference(name, tmp_path, monkeypatch):
    network = small()
    (tmp_path / name).write_text("before")
    monkeypatch.setattr(exporting, "compact", spoilt)
    with pytest.raises(ExportError, match=r"within \S+ of the network's, got a difference of \d"):
        export(network, tmp_path / name, overwrite=True)
    with pytest.raises(ExportError, match="got a difference of"):
        exported_program(network)
    assert [path.name for path in tmp_path.iterdir()] == [name]
    assert (tmp_path / name).read_text() == "before"


def test_a_difference_on_real_inputs_alone_is_found(tmp_path, monkeypatch):
    """An input of which random samples say nothing: one far from them."""
    network = mlp((3, 4, 2), batch_norm=False)

    def clipped(network, batch=1, layout="auto", execution="auto"):
        module = compact(network, batch, layout, execution)
        place = next(iter(module.graph.nodes))
        with module.graph.inserting_after(place):
            limited = module.graph.call_function(torch.clamp, (place, -50.0, 50.0))
        place.replace_all_uses_with(limited, lambda user: user is not limited)
        module.recompile()
        return module

    monkeypatch.setattr(exporting, "compact", clipped)
    export(network, tmp_path / "net.safetensors")
    with pytest.raises(ExportError, match="on a batch of 64 given"):
        export(network, tmp_path / "real.safetensors", inputs=np.array([[1.0, 0, 0], [99.0, 0, 0]]))


def test_networks_too_large_for_the_reference_are_held_to_the_masked_module(tmp_path, monkeypatch):
    network = small(density=0.5)
    by_reference = export(network, tmp_path / "net.safetensors").difference
    monkeypatch.setattr(agreement, "AFFORDABLE", 0)
    monkeypatch.delattr(agreement, "forward")
    by_masked = export(network, tmp_path / "net.safetensors").difference
    assert by_masked == pytest.approx(by_reference, rel=1e-6)
    monkeypatch.setattr(exporting, "compact", spoilt)
    with pytest.raises(ExportError, match="got a difference of"):
        export(network, tmp_path / "net.safetensors")


@pytest.mark.parametrize(
    ("name", "options", "words"),
    [
        ("net.pt2", {}, "exported_program"),
        ("net", {}, "expected a file of .onnx, .py, .safetensors"),
        ("net.onnx", {"format": "pickle"}, "got 'pickle'"),
        ("net.safetensors", {"format": "python"}, "a file of .py"),
        ("net.onnx", {"form": "masked"}, "'masked' for safetensors"),
        ("net.safetensors", {"form": "sparse"}, "got 'sparse'"),
        ("net.py", {"inputs": np.zeros((2, 4))}, r"'input' expected samples of numbers of shape \(3,\)"),
        ("net.py", {"inputs": np.zeros((0, 3))}, "at least one sample"),
        ("net.py", {"inputs": {"other": np.zeros((1, 3))}}, r"inputs for the layers \['input'\], got \['other'\]"),
        ("none/net.py", {}, "cannot be written"),
    ],
)
def test_refusals_say_what_to_do(name, options, words, tmp_path):
    with pytest.raises(ExportError, match=words):
        export(mlp((3, 4, 2)), tmp_path / name, **options)
    assert list(tmp_path.iterdir()) == []


def test_source_names_every_tensor_of_the_state():
    module = compact(load(LENET_5), batch=256, execution="dense")
    text = source_of(load(LENET_5), module, "0" * 64)
    buffers = [name for name in state_of(module) if f'"{name}"' in text or f"self.{name.rpartition('.')[0]} =" in text]
    assert buffers == list(state_of(module))


# -- functions of each number ----------------------------------------------------------------------------


def all_functions():
    """A network that has every activation, each of what lies between 0 and 1 (acosh above), and PReLU's slopes."""
    chains = {}
    for function in get_args(ActivationFunction):
        before = [Activation(function="sigmoid"), *[Activation(function="cosh")] * (function == "acosh")]
        chains[function] = (*before, Activation(function=function, slope=0.3, **OPTIONS.get(function, {})))
    chains["own"] = (ParametricReLU(),)
    layers = [Layer(name="x", kind="input", features=3)]
    layers += [Layer(name=name, kind="neurons", operations=chain, output=True) for name, chain in chains.items()]
    projections = [Dense(source="x", target=name) for name in chains]
    rng = np.random.default_rng(0)
    arrays = {projection.name: rng.standard_normal((2, 3)) for projection in projections}
    return built(layers, projections, arrays, {"x": 3} | dict.fromkeys(chains, 2))


def test_every_activation_leaves_as_source(tmp_path):
    assert export(all_functions(), tmp_path / "net.py").difference < 1e-4


@pytest.mark.slow
def test_every_activation_leaves_as_onnx(tmp_path):
    assert export(all_functions(), tmp_path / "net.onnx").difference < 1e-4

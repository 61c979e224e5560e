"""Models come in and go out by the command line, and what is wrong with one is a sentence."""

import importlib
import json
import re

import numpy as np
import pytest
import safetensors.torch
import torch

import nestgraph as ng
from nestgraph.graph.reference import predict
from nestgraph.recipes.recipe import load_recipe
from tests.cli.running import run
from tests.interop.test_neat import FILES
from tests.loop.test_snapshot_seed import PRUNE

CODE = '''
import torch
from torch import nn

class Small(nn.Module):
    """Prints, as the code of models does."""

    def __init__(self, width=4, name="plain"):
        super().__init__()
        print("a message of the model")
        assert name in ("plain", "tied")
        self.conv = nn.Conv2d(1, width, 3, padding=1)
        self.norm = nn.BatchNorm2d(width)
        self.head = nn.Linear(16 * width, 10)

    def forward(self, x):
        return self.head(torch.flatten(torch.max_pool2d(torch.relu(self.norm(self.conv(x))), 2), 1))

whole = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))

def broken():
    raise ValueError("no such thing\\nreally")

def torn():
    return Torn()

class Torn(nn.Module):
    def forward(self, x):
        return x if x.sum() > 0 else -x

class Both(nn.Module):
    def __init__(self):
        super().__init__()
        self.across, self.along = nn.Linear(6, 6), nn.Conv1d(5, 5, 1)

    def forward(self, x):
        return self.across(x) + self.along(x)

def number():
    return 3

def leaving():
    raise SystemExit(3)
'''
INPUT = ("--input", "1,8,8", "--out", "net.json")


@pytest.fixture
def small(tmp_path, monkeypatch):
    """The module of small_models.py with random weights and statistics, whose weights are in small.safetensors."""
    monkeypatch.chdir(tmp_path)
    name = f"models_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{name}.py").write_text(CODE)
    monkeypatch.syspath_prepend(str(tmp_path))
    module = importlib.import_module(name).Small(6)
    torch.manual_seed(0)
    module.norm.running_mean.normal_()
    module.norm.running_var.uniform_(0.5, 2)
    safetensors.torch.save_file(module.state_dict(), "small.safetensors")
    module.source = name
    return module.eval()


@pytest.mark.parametrize("axis", [1, 2])
def test_an_axis_says_where_units_stand_where_readers_disagree(small, axis):
    words = ("import", f"{small.source}:Both", "--input", "5,6", "--out", "net.json")
    refused = run(*words)
    assert refused.exit_code == 1
    assert "agree at which axis its units stand" in refused.stderr
    assert run(*words, "--axis", str(axis)).exit_code == 0
    assert ng.load("net.json").inputs[0].axis == axis
    assert run("import", "edges.csv", "--axis", "1", "--out", "net.json").exit_code == 2


def test_a_module_comes_in_with_its_weights(small):
    words = ("import", f"{small.source}:Small", "--arg", "width=6", "--arg", "name=plain")
    result = run(*words, "--weights", "small.safetensors", *INPUT, "--json")
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (0, "next: nestgraph summary net.json")
    assert "a message of the model" in result.stderr
    facts, network = json.loads(result.stdout), ng.load("net.json")
    assert facts["snapshot"] == "net.json"
    assert facts["digest"] == network.digest
    assert [row["name"] for row in facts["layers"]] == list(network.layer_names)
    assert all(row["editable"] or row["reason"] for row in facts["layers"])
    x = torch.randn(3, 1, 8, 8)
    np.testing.assert_allclose(predict(network, x.numpy()), small(x).detach(), rtol=0, atol=1e-5)
    text = run(*words, "--weights", "small.safetensors", *INPUT).stdout
    assert text.startswith("net.json: <Network ")
    assert all(name in text for name in network.layer_names)


def test_a_module_that_is_there_already_needs_no_call(small):
    assert run("import", f"{small.source}:whole", *INPUT).exit_code == 0
    assert ng.load("net.json").connection_count == 640


def without(state, name):
    return {key: value for key, value in state.items() if key != name}


WEIGHTS = {
    "missing": (
        lambda state: without(state, "head.bias"),
        "expected the tensors of Small .* 'head.bias' is missing from",
    ),
    "unexpected": (
        lambda state: state | {"tail": torch.ones(1)},
        "expected the tensors of Small .*'tail' is not in the",
    ),
    "another shape": (lambda state: state | {"head.bias": torch.ones(3)}, r"expected the shapes .* head.bias: .*\[3\]"),
    "another type": (
        lambda state: state | {"head.bias": torch.ones(10).double()},
        "expected 'head.bias' as torch.float32",
    ),
    "a narrower type": (lambda state: state | {"head.bias": torch.ones(10).half()}, None),
    "no counter": (lambda state: without(state, "norm.num_batches_tracked"), None),
}


@pytest.mark.parametrize("case", WEIGHTS)
def test_weights_are_those_of_the_module_or_a_sentence(case, small):
    change, message = WEIGHTS[case]
    safetensors.torch.save_file(change(dict(small.state_dict())), "other.safetensors")
    result = run("-q", "import", f"{small.source}:Small", "--arg", "width=6", "--weights", "other.safetensors", *INPUT)
    assert result.exit_code == (1 if message else 0), result.stderr
    if message:
        assert_sentence(result.stderr.removeprefix("a message of the model\n"), f"other.safetensors: {message}")


def assert_sentence(text, message):
    assert re.match(message, text), text
    assert text.count("\n") == 1


@pytest.mark.parametrize(
    ("words", "code", "sentence"),
    [
        (("SOURCE:Small",), 2, "nestgraph import: invalid value for --input: expected the shape of each input"),
        (("SOURCE:Small", "--input", "1x8x8"), 2, "nestgraph import: invalid value for --input: expected a shape"),
        (("SOURCE:Small", "--arg", "6"), 2, "nestgraph import: invalid value for --arg: expected NAME=VALUE"),
        (("SOURCE:Small", "--nodes", "n.csv"), 2, "nestgraph import: invalid value for --nodes: expected no --nodes"),
        (("edges.csv", "--weights", "w"), 2, "nestgraph import: invalid value for --weights: expected no --weights"),
        (("edges.csv", "--input", "1"), 2, "nestgraph import: invalid value for --input: expected no --input with a"),
        (("genome.json", "--nodes", "n"), 2, "nestgraph import: invalid value for --nodes: expected no --nodes with a"),
        (("model.pth",), 2, "nestgraph import: invalid value for MODEL: expected PACKAGE.MODULE:CALLABLE, a .csv or"),
        (("os.path; ls:x",), 2, "nestgraph import: invalid value for MODEL: expected PACKAGE.MODULE:CALLABLE"),
        (("edges.csv",), 1, "edges.csv: cannot be read"),
        (("genome.json",), 1, "genome.json: cannot be read"),
        (("SOURCE:nobody", "--input", "1"), 1, r"SOURCE:nobody\(\): expected a callable .* AttributeError: "),
        (("no_such_package.x:y", "--input", "1"), 1, r"no_such_package.x:y\(\): .* ModuleNotFoundError: No module"),
        (("SOURCE:broken", "--input", "1"), 1, r"SOURCE:broken\(\): .* ValueError: no such thing really"),
        (("SOURCE:Small", "--arg", "depth=2", "--input", "1"), 1, r"SOURCE:Small\(depth=2\): .* unexpected keyword"),
        (("SOURCE:number", "--input", "1"), 1, "SOURCE:number: expected a torch.nn.Module from it, got int"),
        (("SOURCE:torn", "--input", "4"), 1, "import_module could not trace Torn.forward at .*return x if x.sum"),
        (("SOURCE:whole", "--input", "1,8,8", "--weights", "gone"), 1, "gone: cannot be read"),
        (("SOURCE:whole", "--input", "999999999"), 1, "expected samples of at most 67,108,864 numbers, got one of"),
        (("SOURCE:leaving", "--input", "1"), 1, r"SOURCE:leaving\(\): expected a callable .* SystemExit: 3"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_cannot_come_in_is_one_sentence(words, code, sentence, small):
    result = run("-q", "import", *(word.replace("SOURCE", small.source) for word in words), "--out", "net.json")
    assert (result.exit_code, result.stdout) == (code, "")
    assert_sentence(result.stderr, sentence.replace("SOURCE", small.source))


def test_edge_lists_and_genomes_come_in(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "edges.csv").write_text("source,target,weight\na,h,0.5\nb,h,-1\nh,y,2\nb,y,1\n")
    (tmp_path / "nodes.csv").write_text(
        "name,bias,activation\nh,0.5,tanh\ny,1,\na\nb\n".replace("\na\nb", "\na,,\nb,,")
    )
    words = ("import", "edges.csv", "--out", "edges.json", "--nodes", "nodes.csv")
    assert run(*words, "--input-nodes", "b, a,c", "--output-nodes", "y").exit_code == 0
    x = np.array([[2.0, 3.0, 9.0]])
    assert predict(ng.load("edges.json"), x).tolist() == [[2 * np.tanh(0.5 * 3 - 2 + 0.5) + 2 + 1]]
    result = run("import", FILES[0], "--out", "genome.json", "--json")
    assert result.exit_code == 0, result.stderr
    assert json.loads(result.stdout)["layers"][-1]["reason"] == "an output"


def test_an_imported_model_is_pruned_and_goes_out(small):
    words = ("--arg", "width=6", "--weights", "small.safetensors")
    assert run("import", f"{small.source}:Small", *words, *INPUT).exit_code == 0
    with open("prune.toml", "w") as file:
        file.write(PRUNE.replace("models/net.json", "net.json").replace("max_edits = 3", "max_edits = 1"))
    assert load_recipe("prune.toml").seed_network.build(0) == ng.load("net.json")
    result = run("synthesize", "prune.toml", "--out", "run")
    assert result.exit_code == 0, result.stderr
    final = ng.load("run/final.json")
    assert final.connection_count < ng.load("net.json").connection_count

    result = run("export", "run/final.json", "final.py", "--json")
    facts = json.loads(result.stdout)
    assert (result.exit_code, facts["files"]) == (0, ["final.py", "final.safetensors"])
    assert 0 <= facts["difference"] < 1e-4
    assert run("export", "run/final.json", "final.safetensors").stdout.startswith("final.safetensors\n")
    wrong = run("-q", "export", "run/final.json", "final.pth")
    assert wrong.exit_code == 2
    expected = "expected .onnx, .py, .safetensors, .c, got "
    assert wrong.stderr.startswith(f"nestgraph export: invalid value for FILE: {expected}")

"""The format from outside: every version's examples, canonical bytes, and the stand-alone reader of docs."""

import importlib.util
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from safetensors.numpy import load_file
from safetensors.numpy import save as safetensors_bytes

from nestgraph.graph import Network
from nestgraph.graph.columns import Links
from nestgraph.seeds import resnet18
from nestgraph.snapshot import from_bytes, load, save, to_bytes
from nestgraph.snapshot.document import VERSION
from nestgraph.snapshot.migration import STEPS
from tests.laws import fresh_digest, quick
from tests.strategies import networks

ROOT = Path(__file__).parents[2]
EXAMPLES = Path(__file__).parent / "examples"
PAST = sorted(EXAMPLES.glob("v1-*.json"))


def standalone():
    """The function `read` of docs/read_snapshot.py, which imports nothing of nestgraph."""
    spec = importlib.util.spec_from_file_location("read_snapshot", ROOT / "docs" / "read_snapshot.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.read


READ = standalone()


def check_reader(path, network):
    """The stand-alone reader finds in a file what the network has."""
    layers, projections = READ(path)
    assert layers.keys() == set(network.layer_names)
    assert projections.keys() == set(network.projection_names)
    for name, (record, arrays) in layers.items():
        columns = network.unit_columns(name)
        assert record == json.loads(network.layer(name).model_dump_json())
        assert arrays.keys() == {"ids", *columns.values}
        assert all(
            np.array_equal(arrays[key], values) for key, values in {"ids": columns.ids, **columns.values}.items()
        )
    for name, (record, arrays) in projections.items():
        columns = network.connection_columns(name)
        assert record == json.loads(network.projection(name).model_dump_json())
        assert np.array_equal(arrays["weights"], columns.weight)
        assert np.array_equal(arrays["mask"], columns.mask)
        if isinstance(columns, Links):
            assert np.array_equal(arrays["links"], columns.links)
        if columns.area is not None:
            assert np.array_equal(arrays["area"], np.packbits(columns.area))


def test_every_past_version_has_a_step_and_an_example():
    versions = {json.loads(path.read_bytes())["version"] for path in EXAMPLES.glob("v*.json")}
    assert set(STEPS) == set(range(1, VERSION))
    assert versions == set(range(1, VERSION + 1))


@pytest.mark.parametrize("path", PAST, ids=lambda path: path.name)
def test_past_versions_load_as_the_networks_they_were(path):
    network = load(path)
    assert fresh_digest(network) == json.loads(path.read_bytes())["digest"]
    assert to_bytes(network) == path.with_name(path.name.replace("v1", "v2")).read_bytes()


def test_the_present_version_is_written_as_its_examples(tmp_path):
    network = load(EXAMPLES / "v2-areas.json")
    save(network, tmp_path / "v2-sidecar.json", sidecar_above=0)
    for path in tmp_path.iterdir():
        assert path.read_bytes() == (EXAMPLES / path.name).read_bytes()
    assert len(list(tmp_path.iterdir())) == 2


@pytest.mark.parametrize("path", sorted((ROOT / "docs" / "results").glob("lenet-*.json")), ids=lambda path: path.name)
def test_committed_results_keep_their_digests(path):
    assert fresh_digest(load(path)) == json.loads(path.read_bytes())["digest"]


@quick(40)
@given(networks())
def test_both_forms_are_exact_canonical_and_read_by_the_stand_alone_reader(tmp_path_factory, network):
    folder = tmp_path_factory.mktemp("forms")
    for name, above in (("one.json", 10**9), ("two.json", 0)):
        save(network, folder / name, sidecar_above=above)
        found = load(folder / name)
        assert found == network
        assert to_bytes(found) == to_bytes(network)
        assert all(found.unit_columns(n).next_id == network.unit_columns(n).next_id for n in network.layer_names)
        check_reader(folder / name, network)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    save(load(folder / "one.json"), folder / "two.json", sidecar_above=0)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before


def test_a_sidecar_is_what_safetensors_writes(tmp_path):
    network = resnet18(width=0.05, density=0.3, size=(32, 32), classes=4)
    save(network, tmp_path / "net.json", sidecar_above=0)
    path = tmp_path / f"{network.digest}.safetensors"
    tensors = load_file(path)
    assert path.read_bytes() == safetensors_bytes(tensors, {"digest": network.digest})
    assert tensors["projections.input_to_stem.weights"].size == network.connection_columns("input_to_stem").active
    check_reader(tmp_path / "net.json", network)


def test_small_networks_are_readable_lines():
    lines = (EXAMPLES / "v2-chain.json").read_text().splitlines()
    assert len(lines) == 10
    assert sum(line.startswith('{"layer":') for line in lines) == 3
    assert "base64" not in "".join(lines)
    assert '"weights":[-1.245911,-0.7322674]' in lines[8]


def test_the_reader_notices_what_was_altered(tmp_path):
    for name in ("v2-areas.json", "v2-sidecar.json"):
        shutil.copytree(EXAMPLES, tmp_path / name)
        path = tmp_path / name / name
        READ(path)
        path.write_text(path.read_text().replace('"label":""', '"label":"x"'))
        with pytest.raises(AssertionError, match="altered"):
            READ(path)


def test_the_reader_is_short_and_stands_alone():
    text = (ROOT / "docs" / "read_snapshot.py").read_text()
    assert len(text.splitlines()) <= 65
    imports = {line.split()[1] for line in text.splitlines() if line.startswith(("import ", "from "))}
    assert imports == {"base64", "hashlib", "json", "math", "numpy"}


def test_canonical_bytes_forget_how_a_network_came_about():
    network = load(EXAMPLES / "v2-areas.json")
    assert to_bytes(Network.of(network.replace())) == to_bytes(from_bytes(to_bytes(network)))

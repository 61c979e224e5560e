"""Sidecars that are links, of the wrong kind or too large; what is in the corpus of hostile files is not repeated."""

import os
import resource
import shutil
from pathlib import Path

import pytest

from nestgraph.errors import SnapshotError
from nestgraph.seeds import mlp
from nestgraph.snapshot import SIDECAR_ABOVE, Limits, from_bytes, load, save
from nestgraph.snapshot.sidecar import sidecar_path
from tests.snapshot.test_files import SMALL, chain, one_line


@pytest.fixture
def place(tmp_path):
    """A folder with a document and its sidecar."""
    folder = tmp_path / "here"
    folder.mkdir()
    save(SMALL, folder / "net.json", sidecar_above=0)
    return folder


def sidecar(folder):
    return sidecar_path(folder, SMALL.digest)


def refusal(folder, limits=None):
    with pytest.raises(SnapshotError) as caught:
        load(folder / "net.json", limits or Limits())
    message = one_line(caught.value)
    assert message.startswith(str(folder))
    return message


def test_networks_above_a_million_connections_have_a_sidecar(tmp_path):
    assert SIDECAR_ABOVE == 2**20
    for width in (1023, 1024):
        network = chain((width, 1024, 1))
        save(network, tmp_path / f"{width}.json")
        assert sidecar_path(tmp_path, network.digest).exists() == (network.connection_count > SIDECAR_ABOVE)
        assert load(tmp_path / f"{width}.json") == network


def test_a_symbolic_link_is_not_followed(place, tmp_path):
    real = tmp_path / "real"
    sidecar(place).rename(real)
    sidecar(place).symlink_to(real)
    assert "symbolic link" in refusal(place)


def test_a_file_of_two_names_is_not_taken(place, tmp_path):
    os.link(sidecar(place), tmp_path / "other")
    assert "regular file, got one with 2 names" in refusal(place)


@pytest.mark.parametrize(("make", "reason"), [(os.mkfifo, "pipe or device"), (os.mkdir, "directory")])
def test_what_is_no_file_is_not_read(place, make, reason):
    sidecar(place).unlink()
    make(sidecar(place))
    assert reason in refusal(place)


def test_the_size_is_checked_before_anything_is_read(place):
    size = sidecar(place).stat().st_size
    load(place / "net.json", Limits(sidecar_bytes=size))
    assert f"at most {size - 1:,} bytes, got {size:,}" in refusal(place, Limits(sidecar_bytes=size - 1))
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    os.truncate(sidecar(place), 2**40)  # sparse: takes no room
    assert "too large" in refusal(place)
    os.truncate(sidecar(place), 2**29)
    assert "cut short or altered" in refusal(place)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 2**15


def test_truncations_and_altered_bytes_are_refused(place):
    whole = sidecar(place).read_bytes()
    for length in range(0, len(whole), 5):
        sidecar(place).write_bytes(whole[:length])
        refusal(place)
    for at in range(0, len(whole), 3):
        sidecar(place).write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
        refusal(place)
    sidecar(place).write_bytes(whole)
    assert load(place / "net.json") == SMALL


def test_a_link_to_a_document_finds_the_sidecar_beside_the_document(place, tmp_path):
    (tmp_path / "link.json").symlink_to(place / "net.json")
    assert load(tmp_path / "link.json") == SMALL


def test_documents_move_and_are_copied_with_their_sidecars(place, tmp_path):
    moved = Path(shutil.copytree(place, tmp_path / "moved"))
    (moved / "net.json").rename(moved / "other.json")
    assert load(moved / "other.json") == SMALL


def test_versions_lie_side_by_side_until_the_document_is_replaced(place):
    save(chain((5, 4, 2)), place / "net.json", sidecar_above=0)
    save(SMALL, place / "old.json", sidecar_above=0)
    assert len(list(place.glob("*.safetensors"))) == 2
    assert load(place / "old.json") == SMALL
    assert load(place / "net.json") == chain((5, 4, 2))


def test_bytes_alone_are_not_enough(place):
    with pytest.raises(SnapshotError, match="got one with a sidecar: load it from its file"):
        from_bytes((place / "net.json").read_bytes())


@pytest.mark.parametrize(("limit", "at"), [("sidecar_bytes", 300), ("values", 20), ("entries", 10)])
def test_a_sidecar_that_would_be_refused_is_not_written(tmp_path, limit, at):
    network, limits = mlp((8, 6, 3), seed=0), Limits(**{limit: at})
    with pytest.raises(SnapshotError, match=r"too large|at most"):
        save(network, tmp_path / "n.json", 0, limits)
    assert list(tmp_path.iterdir()) == []

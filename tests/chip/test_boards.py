"""What a file takes, and whether a board has room for it."""

import re
import shutil

import pytest

from nestgraph.chip.boards import BOARDS, Sizes
from nestgraph.errors import ExportError
from nestgraph.interop.export import export
from nestgraph.seeds import cnn, mlp
from nestgraph.snapshot import save
from tests.chip.trying import missing
from tests.cli.running import run


@pytest.mark.chip
@missing("arm-none-eabi-gcc")
def test_the_report_counts_what_is_written(tmp_path):
    network = cnn((3,), (4,), 1.0, size=8, classes=2)
    found = export(network, tmp_path / "net.c").chip.report
    assert [row.layer for row in found.layers] == list(network.layer_names)  # what is padded is the input's
    assert found.tables == sum(row.flash for row in found.layers)
    assert found.multiply_adds == sum(row.multiply_adds for row in found.layers)
    assert found.sizes.compiler == "arm-none-eabi-gcc"
    assert found.tables < found.sizes.flash < found.tables + 2000
    assert 0 < found.sizes.stack < 500
    assert found.fits is None
    for line in found.words:
        assert line in (tmp_path / "net.c").read_text()


def test_multiply_adds_are_those_of_the_network(tmp_path):
    network = mlp((8, 6, 3), density=0.5, seed=0)
    report = export(network, tmp_path / "net.c").chip.report
    assert report.multiply_adds == network.connection_count


def test_without_the_compiler_of_a_board_tables_alone_are_known(tmp_path, monkeypatch):
    monkeypatch.setattr(shutil, "which", lambda _: None)
    report = export(mlp((8, 6, 3), seed=0), tmp_path / "net.c", target="uno").chip.report
    assert report.sizes.compiler is None
    assert report.tables + 100 <= report.sizes.flash < report.tables + 2000
    assert "of which instructions are guessed" in "\n".join(report.words)


@pytest.mark.parametrize(("width", "fits"), [(6, True), (2000, False)])
def test_a_small_network_fits_an_uno_and_a_large_one_does_not(width, fits, tmp_path):
    report = export(mlp((8, width, 3), seed=0), tmp_path / "net.c", target="uno").chip.report
    assert report.fits is fits


@pytest.mark.parametrize("name", BOARDS)
def test_memory_that_is_handed_in_and_the_stack_count(name):
    board = BOARDS[name]
    assert Sizes(board.flash, board.ram - 30, 20, 10, "cc").fits(board)
    assert not Sizes(board.flash, board.ram - 30, 20, 11, "cc").fits(board)
    assert not Sizes(board.flash + 1, 0, 0, 0, "cc").fits(board)


def test_an_unknown_board(tmp_path):
    with pytest.raises(ExportError, match="target: expected a board of uno, "):
        export(mlp((8, 3), seed=0), tmp_path / "net.c", target="commodore")


def test_the_verb_says_what_it_takes(tmp_path):
    save(mlp((64, 10), seed=0), tmp_path / "net.json")
    done = run("export", tmp_path / "net.json", tmp_path / "net.c", "--int8", "--data", "digits", "--target", "pico")
    assert done.exit_code == 0, done.output
    assert "fits Raspberry Pi Pico" in done.stdout
    assert "with nothing beside: start-up code" in done.stdout
    assert re.search(r"tells [\d.]+% of 3\d\d samples", done.stdout)
    refused = run("export", tmp_path / "net.json", tmp_path / "net.onnx", "--target", "pico")
    assert refused.exit_code == 2
    assert run("export", tmp_path / "net.json", tmp_path / "net.safetensors", "--int8").exit_code == 2


@pytest.mark.chip
@missing("arm-none-eabi-gcc")
@pytest.mark.parametrize("int8", [False, True])
def test_what_is_guessed_is_near_what_is_measured(int8, tmp_path, monkeypatch):
    network = cnn((3, 5), (8,), 0.5, size=12, classes=4)
    measured = export(network, tmp_path / "net.c", int8=int8).chip.report.sizes.flash
    monkeypatch.setattr(shutil, "which", lambda _: None)
    guessed = export(network, tmp_path / "net.c", int8=int8).chip.report.sizes.flash
    assert abs(guessed - measured) < 0.15 * measured

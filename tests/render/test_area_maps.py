"""Where convolutions compute, as it is drawn, held against the columns."""

import numpy as np
import pytest
from hypothesis import given

from nestgraph.edits.areas import shrink_areas
from nestgraph.errors import RenderError
from nestgraph.graph import cost
from nestgraph.render import draw
from nestgraph.render.area_maps import MOST_INPUTS, MOST_OUTPUTS, area_block, area_scene
from nestgraph.render.scene import Raster
from nestgraph.render.slices import as_image
from nestgraph.render.style import HEAT, OFF, ON, PAPER
from nestgraph.seeds import lenet_5, mlp
from nestgraph.spec import Conv
from tests.laws import quick
from tests.strategies import networks


def rgb(colour):
    return tuple(int(colour[place : place + 2], 16) for place in (1, 3, 5))


def partial():
    """LeNet-5 whose second convolution has more maps than are shown, and random areas of its pairs."""
    network, rng = lenet_5(width=0.7, density=0.05, seed=3), np.random.default_rng(0)
    sizes = {name: network.connection_columns(name).mask.shape[:2] for name in ("input_to_conv1", "conv1_to_conv2")}
    areas = {
        "input_to_conv1": rng.random((sizes["input_to_conv1"][0], 1, 24, 24)) < 0.5,
        "conv1_to_conv2": rng.random((*sizes["conv1_to_conv2"], 8, 8)) < 0.3,
    }
    return shrink_areas(network, areas).apply(network).network


@quick(100)
@given(networks())
def test_blocks_equal_the_columns(network):
    for name in network.projection_names:
        if not isinstance(network.projection(name), Conv):
            continue
        columns, block = network.connection_columns(name), area_block(network, name)
        for output, source in np.ndindex(*columns.mask.shape[:2]):
            kernel = columns.mask[output, source].any()
            area = np.ones(network.layer(network.projection(name).target).size, bool)
            if columns.area is not None:
                area = columns.area[output, source % columns.area.shape[1]]
            assert block.kernels[output, source] == kernel
            assert np.array_equal(block.area[output, source], as_image(area & kernel, area.ndim, False))
        for output, coverage in enumerate(block.coverage):
            kernels = [source for source in range(len(block.inputs)) if block.kernels[output, source]]
            wanted = np.mean([block.area[output, source] for source in kernels], axis=0) if kernels else np.nan
            assert np.allclose(coverage, np.where(block.places, wanted, np.nan), equal_nan=True)


def test_tiles_have_the_colours_of_the_columns():
    network = partial()
    block = area_block(network, "conv1_to_conv2")
    coverage, area, bar = [mark for mark in area_scene(network).marks if isinstance(mark, Raster)][-3:]
    picture = area.palette[area.pixels]
    assert picture.shape == (9 * len(block.inputs), 9 * len(block.outputs), 3)
    for output, source in np.ndindex(*block.kernels.shape):
        tile = picture[9 * source : 9 * source + 8, 9 * output : 9 * output + 8]
        computed = block.area[output, source]
        assert (tile[computed] == rgb(ON)).all()
        assert (tile[~computed] == rgb(OFF if block.kernels[output, source] else PAPER)).all()
    assert (coverage.stops, bar.stops) == (HEAT, HEAT)
    ends = bar.palette[bar.pixels[0, [0, -1]]]
    assert np.array_equal(ends, [rgb(HEAT[0]), rgb(HEAT[-1])])
    for output, shares in enumerate(block.coverage):
        levels = coverage.pixels[:8, 9 * output : 9 * output + 8]
        some = shares > 0
        assert np.allclose((levels[some].astype(float) - 2) / 253, shares[some], atol=0.5 / 253)
        assert (coverage.palette[levels[shares == 0]] == rgb(OFF)).all()


def test_what_is_left_out_is_said():
    network = partial()
    block = area_block(network, "conv1_to_conv2")
    outputs, inputs = (len(network.units(name)) for name in ("conv2", "conv1"))
    assert outputs > MOST_OUTPUTS
    assert inputs > MOST_INPUTS
    assert (len(block.outputs), len(block.inputs)) == (MOST_OUTPUTS, MOST_INPUTS)
    assert f"first {MOST_OUTPUTS} of {outputs} output maps shown" in block.words
    assert f"first {MOST_INPUTS} of {inputs} input maps shown" in block.words
    columns = network.connection_columns("conv1_to_conv2")
    kernels = np.count_nonzero(columns.edges)
    share = np.count_nonzero(columns.area & columns.edges[..., None, None]) / (64 * kernels)
    assert f"{share:.1%} of {64 * kernels:,} kernel positions" in block.words


def test_coverage_holds_the_flops_of_the_first_convolution():
    network = partial()
    columns, block = network.connection_columns("input_to_conv1"), area_block(network, "input_to_conv1")
    entries = columns.mask.sum(axis=(1, 2, 3))
    flops = 2 * (block.coverage.sum(axis=(1, 2)) * entries).sum()
    assert flops == cost(network).by_projection["input_to_conv1"].flops


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_same_network_gives_the_same_bytes(tmp_path, suffix):
    first, second = (draw(partial(), tmp_path / f"{name}.{suffix}", "areas").read_bytes() for name in "ab")
    assert first == second


def test_networks_without_convolutions_are_refused(tmp_path):
    with pytest.raises(RenderError, match="a convolution, got none"):
        draw(mlp((4, 2)), tmp_path / "areas.svg", "areas")

import io
from base64 import b64decode
from xml.etree import ElementTree

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from nestgraph.render.matrix import flat, matrix_scene
from nestgraph.render.panels import reduced, shares
from nestgraph.render.scene import Raster
from nestgraph.render.svg import svg
from tests.laws import quick
from tests.render.samples import chain, lenet_5, mlp
from tests.strategies import networks


@given(st.integers(1, 40), st.integers(1, 40), st.integers(1, 12), st.integers(0, 2**32 - 1))
def test_a_reduced_matrix_equals_a_cell_by_cell_one(rows, columns, side, seed):
    marks = np.random.default_rng(seed).random((rows, columns)) < 0.4
    high, wide = -(-rows // side), -(-columns // side)
    got = shares(marks, side)
    largest = reduced(marks.astype(float), side, np.maximum)
    assert max(got.shape) <= side
    for row, column in np.ndindex(*got.shape):
        cell = marks[row * high : (row + 1) * high, column * wide : (column + 1) * wide]
        assert got[row, column] == np.ceil(255 * np.sqrt(cell.mean()))
        assert largest[row, column] == cell.max()


@quick(40)
@given(networks())
def test_the_rasters_of_small_networks_show_every_connection(network):
    rasters = [mark for mark in matrix_scene(network).marks if isinstance(mark, Raster)]
    names = [name for name in network.projection_names if network.connection_columns(name).mask.size]
    assert len(rasters) == 2 * len(names)
    for name, live, weight in zip(names, rasters[::2], rasters[1::2], strict=True):
        columns = network.connection_columns(name)
        mask = flat(network, network.projection(name), columns.mask)
        assert (live.pixels > 0).sum() == columns.active
        assert ((live.pixels > 0) == mask).all()
        signs = np.sign(flat(network, network.projection(name), columns.weight))
        assert ((weight.pixels > 127.5) >= (signs > 0)).all()
        assert ((weight.pixels < 127.5) >= (signs < 0)).all()


def test_kernels_lie_in_the_rows_and_columns_of_their_maps():
    network = lenet_5()
    columns = network.connection_columns("conv1_to_conv2")
    laid = flat(network, network.projection("conv1_to_conv2"), columns.weight)
    assert laid.shape == (50 * 5, 20 * 5)
    assert (laid[35:40, 60:65] == columns.weight[7, 12]).all()


def test_the_svg_holds_the_raster_as_png():
    scene = matrix_scene(mlp(6, 5, 3))
    root = ElementTree.fromstring(svg(scene))
    images = [element for element in root.iter() if element.tag.endswith("}image")]
    rasters = [mark for mark in scene.marks if isinstance(mark, Raster)]
    for element, raster in zip(images, rasters, strict=True):
        with Image.open(io.BytesIO(b64decode(element.get("href").removeprefix("data:image/png;base64,")))) as image:
            assert (np.asarray(image.convert("RGB")) == raster.palette[raster.pixels]).all()


def test_deep_networks_state_which_matrices_are_left_out():
    assert "15 of 39 projections are left out" in svg(matrix_scene(chain(40)))

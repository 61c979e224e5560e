"""What networks read of the image, held against counting one reading at a time."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import remove_units
from nestgraph.edits.areas import shrink_areas
from nestgraph.errors import RenderError
from nestgraph.graph.columns import Links
from nestgraph.graph.geometry import output_size
from nestgraph.graph.readings import readings
from nestgraph.render import heat_map, input_heat_map
from nestgraph.render.heat_map import pixel_readings
from nestgraph.render.scene import Raster, Words
from nestgraph.seeds import lenet_5, mlp
from nestgraph.spec import Dense, Lookup
from tests.laws import quick
from tests.strategies import networks
from tests.strategies.networks import EVERY, HEADS


def counted(network, name, strength):
    """The readings of a projection, one multiplication at a time."""
    projection, columns = network.projection(name), network.connection_columns(name)
    size = output_size(network.layer(projection.source)) or ()
    total = np.zeros((len(network.units(projection.source)), *size))
    places = network.unit_columns(projection.source).position
    for at in np.argwhere(columns.mask):
        worth = abs(float(columns.weight[tuple(at)])) if strength else 1.0
        if isinstance(projection, Dense):
            total[tuple(at[1:])] += worth
            continue
        if isinstance(projection, Lookup):  # a place reads one class of several
            total[at[1]] += worth / columns.mask.shape[2]
            continue
        source = at[1] if not isinstance(columns, Links) else places[int(columns.links[at[0], 0])]
        if projection.kernel is None:  # a single value that gates a map is read at each of its positions
            sizes = network.layer(projection.target).size or (), size
            total[source] += worth * (math.prod(sizes[0]) // math.prod(sizes[1]))
            continue
        kernel, given = (
            at[-len(size) :] * projection.dilation - projection.padding,
            network.layer(projection.target).size,
        )
        if projection.transposed:  # each place is read for those that it is spread to
            for here in np.ndindex(*size):
                position = tuple((kernel + np.multiply(here, projection.stride)).tolist())
                inside = all(0 <= one < extent for one, extent in zip(position, given, strict=True))
                if inside and (columns.area is None or _kept(columns.area, at, position)):
                    total[(source, *here)] += worth
            continue
        for position in np.ndindex(*given):
            here = kernel + np.multiply(position, projection.stride)
            inside = (here >= 0).all() and (here < size).all()
            if inside and (columns.area is None or _kept(columns.area, at, position)):
                total[(source, *here)] += worth
    return total


def _kept(area, at, position):
    return area[(at[0] % area.shape[0], at[1] % area.shape[1], *position)]


WITHOUT_HEADS = tuple(family for family in EVERY if family not in HEADS)
"""Those of heads are counted in tests/loop/test_flops.py."""


@quick(100)
@given(networks(WITHOUT_HEADS), st.booleans())
def test_readings_equal_a_count(network, strength):
    for name in network.projection_names:
        assert np.allclose(readings(network, name, strength), counted(network, name, strength), rtol=1e-12)


def flat():
    """64 pixels, of which 5 are gone."""
    network = mlp((64, 6, 3), density=0.3, seed=2)
    return remove_units(network, "input", [0, 1, 8, 40, 63]).apply(network).network


def convolved():
    """LeNet-5 that computes the centre of its first maps only."""
    network = lenet_5(width=0.2, density=0.3, seed=1)
    area = np.zeros((len(network.units("conv1")), 1, 24, 24), bool)
    area[:, :, 6:17, 7:18] = True
    return shrink_areas(network, {"input_to_conv1": area}).apply(network).network


def test_pixels_of_a_flat_input_lie_where_the_image_has_them():
    network = flat()
    mask = network.connection_columns("input_to_fc1").mask
    for strength in (False, True):
        image = pixel_readings(network, strength=strength)
        wanted = np.zeros(64)
        for place, unit in enumerate(network.units("input")):
            column = network.connection_columns("input_to_fc1").weight[:, place]
            wanted[unit] = np.abs(column).sum() if strength else mask[:, place].sum()
        assert np.allclose(image, wanted.reshape(8, 8))
    assert (pixel_readings(network)[[0, 0, 1, 5, 7], [0, 1, 0, 0, 7]] == 0).all()
    assert np.array_equal(pixel_readings(network, (4, 16)).reshape(8, 8), pixel_readings(network))


def test_areas_leave_a_border_that_nothing_reads():
    image = pixel_readings(convolved())
    read = np.argwhere(image > 0)
    assert image.shape == (28, 28)
    assert (read.min(axis=0) >= (6, 7)).all()
    assert (read.max(axis=0) <= (16 + 4, 17 + 4)).all()


def test_panels_show_these_numbers_on_one_scale_a_row(tmp_path, monkeypatch):
    scenes = []
    monkeypatch.setattr(heat_map, "write_scene", lambda _path, make, *_: scenes.append(make()))
    networks = {"seed": mlp((64, 6, 3), density=0.9), "final": flat()}
    input_heat_map(networks, tmp_path / "inputs.png")
    marks = scenes[0].marks
    rasters = [mark for mark in marks if isinstance(mark, Raster)]
    panels, bars = [rasters[at] for at in (0, 1, 3, 4)], [rasters[at] for at in (2, 5)]
    said = [mark.text for mark in marks if isinstance(mark, Words)]
    titles = ["seed", "final", "Live connections per pixel", "Sum of |weight| per pixel"]
    assert [text for text in said if text in titles] == titles
    for strength, row, bar in zip((False, True), (panels[:2], panels[2:]), bars, strict=True):
        images = [pixel_readings(network, strength=strength) for network in networks.values()]
        read = np.concatenate([image[image > 0] for image in images])
        low, high = max(read.min(), read.max() / heat_map.WIDEST_SPAN), read.max()
        for raster, image in zip(row, images, strict=True):
            assert np.array_equal(raster.pixels == 0, image == 0)
            shown = low * (high / low) ** ((raster.pixels[image > 0].astype(float) - 1) / 254)
            assert np.allclose(shown, np.maximum(image[image > 0], low), rtol=np.log(high / low) / 254)
        ticks = [
            mark for mark in marks if isinstance(mark, Words) and mark.x > bar.x and bar.y <= mark.y <= bar.y + 174
        ]
        for tick in ticks:
            place = 1 - (tick.y - 3 - bar.y) / bar.height
            assert float(tick.text) == pytest.approx(low * (high / low) ** place, rel=1e-6)
        assert len(ticks) >= 2


@pytest.mark.parametrize(
    ("values", "ticks", "clipped"),
    [
        ((1.0, 20.0), [1, 2, 5, 10, 20], False),
        ((1.0, 1e6), [1e3, 1e4, 1e5, 1e6], True),
        ((3.0, 3.5), [3.0, 3.5], False),
        ((6.0, 6.0), [6.0], False),
        ((), [1.0], False),
    ],
)
def test_scales_have_round_ticks(values, ticks, clipped):
    scale = heat_map.Scale.of(np.array(values))
    assert scale.ticks == pytest.approx(ticks)
    assert scale.clipped == clipped
    assert scale.levels(np.array([scale.low, scale.high])) == pytest.approx([0, 1])


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_same_networks_give_the_same_bytes(tmp_path, suffix):
    networks = {"a < b & $c$": flat()}
    first, second = (input_heat_map(networks, tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    assert first == second


@pytest.mark.parametrize(
    ("networks", "words"),
    [({}, "1 to 12 networks, got 0"), ({"odd": mlp((10, 2))}, "a square, got 10 values")],
    ids=["none", "no image"],
)
def test_what_is_no_image_is_refused(tmp_path, networks, words):
    with pytest.raises(RenderError, match=words):
        input_heat_map(networks, tmp_path / "inputs.svg")

import re

import numpy as np
import pytest
from PIL import Image

from nestgraph.errors import RenderError
from nestgraph.render import curves, draw, layer_diagram, neuron_dot
from nestgraph.render.style import BLUE, GREY, INK, MUTED, PAPER, PURPLE, VERMILION
from nestgraph.render.theme import DARK, shaded_dot
from tests.render.samples import lenet_5, mlp, residual

LOG = [{"step": n, "phase": "grow", "connections": 10 + n, "accuracy": 0.5} for n in range(3)]


def luminance(colour):
    channels = np.array([int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)])
    return np.where(channels <= 0.03928, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4) @ (
        0.2126,
        0.7152,
        0.0722,
    )


def contrast(first, second):
    light, dark = sorted((luminance(first), luminance(second)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("colour", [INK, MUTED, BLUE, VERMILION, PURPLE, GREY])
def test_dark_colours_stand_out_from_the_page(colour):
    assert contrast(DARK[colour], DARK[PAPER]) >= (4.5 if colour in (INK, MUTED) else 3)


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
@pytest.mark.parametrize("view", ["layers", "neurons", "matrix", "inputs", "areas"])
def test_every_view_has_a_dark_form(tmp_path, view, suffix):
    network = lenet_5(0.4, (3, 4, 12, 5))
    light, dark = (draw(network, tmp_path / f"{t}.{suffix}", view, theme=t) for t in ("light", "dark"))
    assert light.read_bytes() != dark.read_bytes()
    if suffix == "png":
        pages = [Image.open(path).convert("L").getpixel((3, 3)) for path in (light, dark)]
        assert pages[0] > 240
        assert pages[1] < 30
    if suffix == "svg":
        found = {colour.upper() for colour in re.findall("#[0-9a-fA-F]{6}", dark.read_text())}
        assert not found & {PAPER, INK}


def test_curves_have_a_dark_form(tmp_path):
    text = curves(LOG, tmp_path / "c.svg", "dark").read_text().upper()
    assert DARK[PAPER] in text
    assert PAPER not in text


def test_a_label_that_is_a_colour_stays_as_it_is():
    network = mlp(3, 2, 1, label='"#FFFFFF"')
    for write in (layer_diagram, neuron_dot):
        text, dark = write(network), shaded_dot(write(network), "dark")
        assert re.sub('"#[0-9A-F]{6}"(?!&)', "", text.replace('\\"', "'")) == re.sub(
            '"#[0-9A-F]{6}"(?!&)', "", dark.replace('\\"', "'")
        )
        assert dark.count("#FFFFFF") == 1
    assert shaded_dot(layer_diagram(residual()), "light") == layer_diagram(residual())


def test_other_themes_are_refused(tmp_path):
    with pytest.raises(RenderError, match="one of 'light', 'dark', got 'sepia'"):
        draw(mlp(2, 1), tmp_path / "a.svg", theme="sepia")

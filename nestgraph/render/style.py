"""Colours and words that all pictures share. Colours are Okabe and Ito's, which the colour-blind can tell apart."""

import unicodedata

from nestgraph.graph.geometry import output_size
from nestgraph.spec.extents import in_words
from nestgraph.spec.layer import Layer

BLUE = "#0072B2"
VERMILION = "#D55E00"
PURPLE = "#CC79A7"
INK = "#1F2328"
MUTED = "#5A626C"
GREY = "#9AA1AB"
FAINT = "#D5D9DF"
PANEL = "#F5F6F8"
PAPER = "#FFFFFF"
ON, OFF = "#1E66A5", "#E1E5EA"
HEAT = ("#F3EFB0", "#A5D5B5", "#41A9BF", "#1E66A5", "#16295E")
"""From little to much, by lightness alone, so that the colour-blind and a grey printer read it too."""
SHADES = {"seed": "#ECEEF1", "grow": "#DCEBF5", "shift": "#F7E8F1", "prune": "#FBE6D8"}  # of a run's phases

UNIT_WORDS = {"input": ("input", "inputs"), "neurons": ("neuron", "neurons"), "feature_maps": ("map", "maps")}


def plain(text: str) -> str:
    """Text without the code points that XML 1.0 cannot hold even when escaped."""
    return "".join("\ufffd" if character in "\ufffe\uffff" else character for character in text)


def text_width(text: str, size: float, bold: bool = False) -> float:
    """An upper estimate of how wide a line of text is drawn, in the unit of `size`."""
    ems = sum(1.0 if unicodedata.east_asian_width(character) in "WF" else 0.6 for character in text)
    return ems * size * (1.12 if bold else 1.0)


def fitted(text: str, size: float, width: float, bold: bool = False) -> str:
    """The text, or as much of it as fits `width` with an ellipsis."""
    if text_width(text, size, bold) <= width:
        return text
    kept = len(text)
    while kept > 1 and text_width(text[:kept] + "…", size, bold) > width:
        kept -= 1
    return text[:kept].rstrip() + "…"


def unit_words(layer: Layer, units: int, heads: bool = False) -> str:
    """How many units of what kind, such as `20 maps`."""
    singular, plural = ("head", "heads") if heads else UNIT_WORDS.get(layer.kind, ("unit", "units"))
    return f"{units:,} {singular if units == 1 else plural}"


def size_words(layer: Layer) -> str:
    """The size of a unit's output, such as `12x12`; empty for scalars."""
    size = output_size(layer)
    return "" if size is None else in_words(size)

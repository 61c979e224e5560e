"""What notebooks show: a line of text, and beside it a picture in SVG of up to `MOST_BYTES`."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

from nestgraph.edits import Batch, Editor
from nestgraph.errors import RenderError
from nestgraph.graph.network import Network
from nestgraph.render.draw import fitting_view
from nestgraph.render.edit_card import edit_card, edit_text
from nestgraph.render.engine import laid_out
from nestgraph.render.layer_diagram import layer_diagram
from nestgraph.render.neuron_diagram import MAX_EDGES, MAX_UNITS, neuron_diagram
from nestgraph.render.svg import svg

MOST_BYTES = 200_000
LIMITS = ((MAX_UNITS, MAX_EDGES), (120, 600))


def mimebundle(shown: Any) -> dict[str, str]:
    """A network, an editor or a batch of edits as text and, where one of up to 200 kB can be drawn, a picture."""
    if isinstance(shown, Network):
        return bundle(repr(shown), *_pictures(shown))
    if isinstance(shown, Editor):
        return bundle(f"<Editor: {len(shown.history)} edits applied>\n{shown.network!r}", *_pictures(shown.network))
    if isinstance(shown, Batch):
        return bundle(edit_text(shown), lambda: svg(edit_card(shown)))
    return {"text/plain": repr(shown)}


def bundle(text: str, *pictures: Callable[[], str]) -> dict[str, str]:
    """Text and the first picture that is small enough; the size of what a notebook keeps is bounded."""
    for make in pictures:
        with suppress(RenderError):
            picture = make()
            if len(picture.encode()) <= MOST_BYTES:
                return {"text/plain": text, "image/svg+xml": picture}
    return {"text/plain": text}


def _pictures(network: Network) -> Iterator[Callable[[], str]]:
    if fitting_view(network) == "layers":
        yield lambda: laid_out(layer_diagram(network), "svg").decode()
        if len(network.layer_names) > 16:
            return
    for limits in LIMITS:
        yield lambda limits=limits: neuron_diagram(network, *limits)

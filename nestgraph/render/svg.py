"""A scene as SVG text: only shapes and escaped text, no script, handler, style sheet or reference."""

from base64 import b64encode
from collections.abc import Iterator
from xml.sax.saxutils import escape, quoteattr

from nestgraph.render.scene import Box, Curve, Curves, Dashes, Disc, Mark, Raster, Scene, Squares, Words
from nestgraph.render.style import plain

FONTS = "Helvetica, Arial, 'DejaVu Sans', sans-serif"


def svg(scene: Scene) -> str:
    """The scene as a stand-alone SVG document that can also be set into an HTML page."""
    width, height = _number(scene.width), _number(scene.height)
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}"'
        f' role="img" font-family={quoteattr(FONTS)}>',
        f"<title>{_text(scene.title)}</title><desc>{_text(scene.description)}</desc>",
        f'<rect width="{width}" height="{height}" fill="{scene.paper}"/>',
    ]
    for mark in scene.marks:
        lines.extend(_lines(mark))
    return "\n".join([*lines, "</svg>", ""])


def _lines(mark: Mark) -> Iterator[str]:
    if isinstance(mark, Box):
        yield _box(mark)
    elif isinstance(mark, Disc):
        places = _attributes(cx=mark.x, cy=mark.y, r=mark.radius, stroke_width=mark.stroke_width)
        paint = f'fill="{mark.fill}" stroke="{mark.stroke}"{_dashes(mark.dashes)}'
        yield _titled("circle", f"{places} {paint}", mark.title)
    elif isinstance(mark, Curves):
        yield from _curves(mark)
    elif isinstance(mark, Squares):
        paint = f'fill="{mark.colour}"' if mark.filled else f'fill="none" stroke="{mark.colour}"'
        yield f'<path {paint} d="{"".join(_square(*square) for square in mark.squares)}"/>'
    elif isinstance(mark, Raster):
        yield _raster(mark)
    else:
        yield _words(mark)


def _box(mark: Box) -> str:
    places = _attributes(x=mark.x, y=mark.y, width=mark.width, height=mark.height, stroke_width=mark.stroke_width)
    round_corners = f' rx="{_number(mark.radius)}"' if mark.radius else ""
    paint = f'fill="{mark.fill}" stroke="{mark.stroke}"'
    return _titled("rect", f"{places} {paint}{round_corners}{_dashes(mark.dashes)}", mark.title)


def _raster(mark: Raster) -> str:
    places = _attributes(x=mark.x, y=mark.y, width=mark.width, height=mark.height)
    data = b64encode(mark.png).decode()
    look = 'preserveAspectRatio="none" image-rendering="pixelated"'
    return _titled("image", f'{places} {look} href="data:image/png;base64,{data}"', mark.title)


def _dashes(dashes: Dashes) -> str:
    return f' stroke-dasharray="{" ".join(map(_number, dashes))}"' if dashes else ""


def _curves(mark: Curves) -> Iterator[str]:
    style = _attributes(stroke_width=mark.width, stroke_opacity=mark.opacity)
    yield f'<g fill="none" stroke="{mark.colour}" {style}{_dashes(mark.dashes)}>'
    for curve in mark.curves:
        yield _titled("path", f'd="{_route(curve)}"', curve.title)
    yield "</g>"


def _route(curve: Curve) -> str:
    numbers = [curve.x1, curve.y1, curve.x2, curve.y2]
    if curve.controls is None:
        return "M{} {}L{} {}".format(*map(_number, numbers))
    (x3, y3), (x4, y4) = curve.controls
    return "M{} {}C{} {} {} {} {} {}".format(*map(_number, [*numbers[:2], x3, y3, x4, y4, *numbers[2:]]))


def _square(x: float, y: float, side: float) -> str:
    s = _number(side)
    return f"M{_number(x - side / 2)} {_number(y - side / 2)}h{s}v{s}h-{s}z"


def _words(mark: Words) -> str:
    places = _attributes(x=mark.x, y=mark.y, font_size=mark.size)
    weight = ' font-weight="bold"' if mark.bold else ""
    slant = ' font-style="italic"' if mark.italic else ""
    anchor = f' text-anchor="{mark.anchor}"' if mark.anchor != "start" else ""
    return f'<text {places} fill="{mark.colour}"{weight}{slant}{anchor}>{_text(mark.text)}</text>'


def _titled(tag: str, attributes: str, title: str) -> str:
    if not title:
        return f"<{tag} {attributes}/>"
    return f"<{tag} {attributes}><title>{_text(title)}</title></{tag}>"


def _text(text: str) -> str:
    return escape(plain(text))


def _attributes(**values: float) -> str:
    return " ".join(f'{name.replace("_", "-")}="{_number(value)}"' for name, value in values.items())


def _number(value: float) -> str:
    """At most two decimals, no trailing zeros, no negative zero."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text == "-0" else text

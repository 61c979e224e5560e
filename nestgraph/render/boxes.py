"""The boxes of layer diagrams as HTML-like labels of DOT. Free text enters through `markup` only."""

from collections.abc import Sequence
from html import escape

from nestgraph.render.style import PANEL

FONT = "Helvetica"
BAR = 168  # points: the width of a bar and the least width of a box


def markup(text: str) -> str:
    """Text as it can stand in an HTML-like label, where Graphviz expands backslashes too."""
    return escape(text).replace("\\", "\\\\")


def table_label(rows: Sequence[str], pen: str, colour: str, style: str) -> str:
    """A box of rows."""
    attributes = f'BORDER="{pen}" COLOR="{colour}" STYLE="{style}" BGCOLOR="{PANEL}" CELLBORDER="0" CELLPADDING="2"'
    return f'<<TABLE {attributes} CELLSPACING="2">{"".join(rows)}</TABLE>>'


def title_row(name: str, colour: str | None = None) -> str:
    """The name of a box, in the colour of all text or another."""
    paint = "" if colour is None else f' COLOR="{colour}"'
    return f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="14"{paint}><B>{markup(name)}</B></FONT></TD></TR>'


def text_row(text: str, size: int, colour: str, italic: bool = False) -> str:
    """A line of a box."""
    words = f"<I>{markup(text)}</I>" if italic else markup(text)
    return f'<TR><TD ALIGN="LEFT"><FONT POINT-SIZE="{size}" COLOR="{colour}">{words}</FONT></TD></TR>'


def bar_row(*pieces: tuple[int, str]) -> str:
    """A bar of pieces (width, colour), whose widths add up to `BAR`."""
    cells = "".join(
        f'<TD WIDTH="{width}" HEIGHT="6" FIXEDSIZE="TRUE" BGCOLOR="{colour}"></TD>' for width, colour in pieces if width
    )
    size = f'ALIGN="LEFT" FIXEDSIZE="TRUE" WIDTH="{BAR}" HEIGHT="6"'
    bar = f'<TABLE {size} BORDER="0" CELLBORDER="0" CELLSPACING="0" CELLPADDING="0"><TR>{cells}</TR></TABLE>'
    return f'<TR><TD ALIGN="LEFT">{bar}</TD></TR>'

"""The report's file: a template with its script, style and data inside, and a policy that lets nothing else in."""

import base64
import hashlib
import json
import os
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from nestgraph.errors import SnapshotError
from nestgraph.reporting.collect import collect
from nestgraph.reporting.summary import fields, steps, summary
from nestgraph.runs.run_files import FILES, check_present
from nestgraph.snapshot import check_own, write_own
from nestgraph.snapshot.disk import shown
from nestgraph.spec.arguments import checked

REPORT = "report.html"
MARK = b'<meta name="generator" content="nestgraph report">'
"""What tells a report from other files."""

ASSETS = resources.files("nestgraph.reporting").joinpath("assets")
SCRIPTS = ("model.js", "scene.js", "network.js", "charts.js", "distributions.js", "card.js", "page.js")
ESCAPES = {ord(character): f"\\u{ord(character):04x}" for character in "<>&\u2028\u2029"}
"""What could end a script element or begin a comment in one, as JSON writes it instead."""


@checked(SnapshotError)
def report(
    run: str | os.PathLike[str],
    path: str | os.PathLike[str] | None = None,
    reload: float | None = None,
    overwrite: bool = False,
) -> Path:
    """Write the report of a run, finished or not, as one HTML file that works offline; returns its path.

    Args:
        run: the run folder.
        path: the file to write; `report.html` in the run folder by default.
        reload: seconds after which the page looks for a newer one; by default it does not.
        overwrite: replace a file that is no report; a report is replaced without it.

    Raises:
        SnapshotError: the folder is not that of a run, a file of it is damaged, its parts do not belong together, or
            another file is in the report's place, one of the run even with `overwrite`, or it cannot be written.
    """
    folder = Path(run)
    check_present(folder)
    place = folder / REPORT if path is None else Path(path)
    if place.name in FILES and place.parent.resolve() == folder.resolve():
        raise SnapshotError(f"{shown(place)}: expected no file that the run is read from, got one: choose another name")
    check_own(place, MARK, overwrite)  # before the work
    write_own(place, page(collect(folder), reload).encode(), MARK, overwrite)
    return place


def page(data: dict[str, Any], reload: float | None = None) -> str:
    """The page of what `collect` gives."""
    script = "\n".join(["'use strict';", "(() => {", *(_asset(name) for name in SCRIPTS), "})();"])
    style = _asset("report.css")
    sources = {"default-src": "'none'", "script-src": _hash(script), "style-src": _hash(style)}
    policy = sources | {"base-uri": "'none'", "form-action": "'none'"}
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    return environment.from_string(_asset("report.html.jinja")).render(
        title=f"{data['recipe'].get('name', 'run')} · seed {data['environment'].get('seed', '?')}",
        policy="; ".join(f"{name} {source}" for name, source in policy.items()),
        version=version("nestgraph"),
        description=data["recipe"].get("description", ""),
        summary=summary(data),
        steps=steps(data),
        recipe=fields(data["recipe"]),
        environment=fields(data["environment"]),
        omitted=data["omitted"],
        script=Markup(script),
        style=Markup(style),
        data=Markup(embedded(data | {"reload": reload})),
    )


def embedded(data: Any) -> str:
    r"""JSON that is safe within a script element, whatever the data says.

    >>> embedded({"name": "</script>"})
    '{"name":"\\u003c/script\\\\u003e"}'
    """
    return json.dumps(data, separators=(",", ":"), ensure_ascii=False).translate(ESCAPES)


def _asset(name: str) -> str:
    return ASSETS.joinpath(name).read_text(encoding="utf-8")


def _hash(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode('ascii')}'"

"""The package of docs/own-policies.md, built from the page and installed into a folder of its own."""

import re
from pathlib import Path

from tests.integrations import installed

PAGE = (Path(__file__).parents[2] / "docs" / "own-policies.md").read_text()


def block(language: str, holding: str) -> str:
    """The only block of the page in a language that holds some text."""
    (found,) = (text for text in re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL) if holding in text)
    return found


def install(folder: Path) -> Path:
    """The folder, below another one, that the package is installed in: one for `sys.path`."""
    source = folder / "nestgraph-activity"
    source.mkdir()
    (source / "pyproject.toml").write_text(block("toml", "[build-system]"))
    (source / "nestgraph_activity.py").write_text(block("python", "@ng.register").replace("@ng.register\n", ""))
    return installed.install(source)

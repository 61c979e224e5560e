"""The page docs/notebook.md shows what its cells show. After a change: `python -m tests.render.test_notebook_page`."""

import ast
import re
from pathlib import Path

PAGE = Path(__file__).parent.parent.parent / "docs" / "notebook.md"
CELL = re.compile(r"^```python\n(.*?)^```\n+(?:!\[[^\]]*\]\((pictures/notebook-\w+\.svg)\))?", re.MULTILINE | re.DOTALL)


def shown():
    """{picture of the page: the SVG text that its cell shows, or the file that it wrote}."""
    scope, found = {}, {}
    for source, picture in CELL.findall(PAGE.read_text()):
        *statements, last = ast.parse(source).body
        exec(compile(ast.Module(statements, []), "cell", "exec"), scope)
        value = eval(compile(ast.Expression(last.value), "cell", "eval"), scope)
        text = value.read_text() if isinstance(value, Path) else value._repr_mimebundle_()["image/svg+xml"]
        found[picture] = text
    return found


def test_the_pictures_of_the_page_are_what_the_cells_show(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pictures = shown()
    assert len(pictures) == 4
    for picture, text in pictures.items():
        assert (PAGE.parent / picture).read_text() == text


if __name__ == "__main__":
    for picture, text in shown().items():
        (PAGE.parent / picture).write_text(text)
    Path("changes.svg").unlink()

import json
from xml.etree import ElementTree

import networkx as nx
import pytest

from tests.cli.running import run


@pytest.mark.usefixtures("snapshots")
@pytest.mark.parametrize("view", ["layers", "neurons", "matrix"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_differences_and_networks_are_drawn_in_every_view(view, theme):
    result = run("draw", "after.json", "net.svg", "--view", view, "--theme", theme)
    assert (result.exit_code, result.stdout) == (0, "net.svg\n")
    table = run("diff", "before.json", "after.json")
    result = run("diff", "before.json", "after.json", "--draw", "diff.svg", "--view", view, "--theme", theme)
    assert (result.exit_code, result.stdout) == (1, table.stdout)
    assert "drawn: diff.svg" in result.stderr
    texts = [ElementTree.tostring(ElementTree.parse(name).getroot()).decode() for name in ("net.svg", "diff.svg")]
    assert all(("#13171C" in text.upper()) == (theme == "dark") for text in texts)


def test_versions_keep_their_places(snapshots):
    for name in ("before", "after"):
        versions = ("--among", "before.json", "--among", "after.json")
        assert run("draw", f"{name}.json", f"{name}.svg", "--view", "neurons", *versions).exit_code == 0
    circles = [
        {entry[0].text: entry.attrib["cy"] for entry in ElementTree.parse(snapshots / name).iter() if entry.get("cy")}
        for name in ("before.svg", "after.svg")
    ]
    common = circles[0].keys() & circles[1].keys()
    assert common
    assert all(circles[0][title] == circles[1][title] for title in common)


@pytest.mark.usefixtures("snapshots")
def test_a_picture_of_a_difference_needs_a_known_ending():
    result = run("diff", "before.json", "after.json", "--draw", "diff.gif")
    assert result.exit_code == 2
    assert "--draw" in result.stderr


@pytest.mark.usefixtures("snapshots")
def test_networks_are_exported_for_other_viewers():
    files = json.loads(run("export", "after.json", "me.json", "--format", "model-explorer", "--json").stdout)["files"]
    assert files[0] == "me.json"
    assert len(files) == 5
    assert run("export", "after.json", "net.graphml", "--format", "graphml", "--units").exit_code == 0
    facts = json.loads(run("summary", "after.json", "--json").stdout)
    assert nx.read_graphml("net.graphml").number_of_nodes() == facts["total"]["units"]
    assert run("export", "after.json", "net.onnx", "--units").exit_code == 2
    assert (
        "Model Explorer shows layers"
        in run("export", "after.json", "a", "--format", "model-explorer", "--units").stderr
    )

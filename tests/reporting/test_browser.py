"""The report as people use it: in Chromium, by mouse and by keys, on a wide and on a narrow screen."""

import io
import itertools
import json
import re
from functools import partial
from xml.etree import ElementTree

import numpy as np
import pygraphviz
import pytest
from PIL import Image

from nestgraph.graph import difference
from nestgraph.policies import effective_weight
from nestgraph.render.comparison import compare, fate
from nestgraph.reporting import report
from nestgraph.seeds import lenet_5
from tests.render.samples import chain, mlp, residual
from tests.reporting.reading import connections
from tests.reporting.runs import conv_seed, fewer, pruned_run, whole_run, write_run
from tests.reporting.test_page import HOSTILE, hostile_run

# The browser is many processes, and has its own patience. What hangs beyond it ends the worker: an exception in the
# midst of playwright's loop would leave all that follows waiting for ever.
pytestmark = pytest.mark.timeout(300, method="thread")

SMALL, LENET = partial(mlp, 64, 40, 10), partial(lenet_5, density=0.108, seed=0)
"""Seeds; LeNet-5 has 46,494 connections, as many as its run of docs/results.md when it is grown."""

EACH, FIRST_SCREEN, NODES = 10, 400_000, 10_000
"""Calls and branches of the page's script, for each connection at each moment and for what is drawn first; elements."""


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """(the file of a report, the networks of its moments)."""
    folder = tmp_path_factory.mktemp("run")
    kept = whole_run(folder)
    return report(folder), kept


def grouped(number):
    return f"{number:,}"


def test_it_opens_on_the_summary_at_the_last_moment(opened, run):
    path, kept = run
    view = opened(path)
    assert view.text("h1") == "small · seed 0"
    assert grouped(kept[-1].connection_count) in view.text(".figures")
    assert grouped(kept[-1].connection_count) in view.text("#words")
    assert view.page.query_selector("#overview svg") is not None
    assert view.page.evaluate("document.querySelector('h1').getBoundingClientRect().top < innerHeight")


def test_the_slider_and_the_arrow_keys_go_through_the_moments(opened, run):
    path, kept = run
    view = opened(path)
    assert int(view.page.get_attribute("#slider", "max")) == len(kept) - 1
    for key, moment in (("Home", 0), ("ArrowRight", 1), ("ArrowRight", 2), ("ArrowLeft", 1), ("End", len(kept) - 1)):
        view.page.keyboard.press(key)
        assert f"{grouped(kept[moment].connection_count)} connections" in view.text("#words")
        assert view.page.input_value("#slider") == str(moment)
    view.page.fill("#slider", "2")
    assert f"{grouped(kept[2].connection_count)} connections" in view.text("#words")
    view.draw_all()
    assert f"All {grouped(kept[2].connection_count)} connections shown" in view.text("#neurons figcaption")
    view.page.reload()
    view.page.wait_for_selector("html[data-ready=yes]")
    assert f"{grouped(kept[2].connection_count)} connections" in view.text("#words")  # kept in the address


def test_every_view_has_the_numbers_of_the_network(opened, run):
    path, kept = run
    view = opened(path)
    for moment, network in enumerate(kept):
        view.page.evaluate("moment => report.set({moment})", moment)
        view.draw_all()
        layers = view.page.text_content("#layers svg")
        for name in network.layer_names[1:]:
            incoming = [network.connection_columns(p.name) for p in network.incoming(name)]
            live, possible = sum(c.active for c in incoming), sum(c.mask.size for c in incoming)
            assert f"{grouped(live)} of {grouped(possible)}" in layers
        bars = view.page.eval_on_selector_all(
            "#weights rect title", "nodes => nodes.map(node => parseInt(node.textContent))"
        )
        assert sum(bars) == network.connection_count
        assert len(view.page.query_selector_all("#neurons .unit")) == network.unit_count
        check_fans(view, network)
        medians = view.page.eval_on_selector_all("#sizes text", "nodes => nodes.map(node => node.textContent)")
        medians = [float(words.split()[1]) for words in medians if words.startswith("median")]
        for name, median in zip(network.projection_names, medians, strict=True):
            sizes = np.sort(np.abs(effective_weight(network, name)[network.connection_columns(name).mask]))
            assert median == pytest.approx(sizes[(len(sizes) - 1) // 2], rel=0.03, abs=1e-3)


def check_fans(view, network):
    """The bars of fan-in and fan-out are as many units as have so many connections, and all units are in them."""
    fans = {(name, side): counts for name in network.layer_names for side, counts in sides(network, name)}
    shown = dict.fromkeys(fans, 0)
    for title in view.page.eval_on_selector_all("#fans rect title", "nodes => nodes.map(node => node.textContent)"):
        name, units, low, high, side = re.fullmatch(
            r"(\w+): (\d+) units? with (\d+)(?: to (\d+))? connections (in|out)", title
        ).groups()
        counts = fans[name, side]
        assert int(units) == np.count_nonzero((counts >= int(low)) & (counts <= int(high or low)))
        shown[name, side] += int(units)
    assert shown == {key: len(counts) for key, counts in fans.items()}


def sides(network, name):
    """("in" or "out", (units,) connections) of the sides of a layer that have any."""
    return [(side, counts) for side, counts in zip(("in", "out"), network.fans(name), strict=True) if counts.any()]


def test_where_edges_are_left_out_bars_count_all_connections_of_a_unit(opened, run):
    path, kept = run
    view = opened(path)
    view.page.evaluate("report.most = 10")
    view.draw_all()
    assert "Bars at a unit" in view.text("#neurons")
    into, out = kept[-1].fans("fc1")
    titles = view.page.eval_on_selector_all("#neurons rect title", "nodes => nodes.map(node => node.textContent)")
    for unit, reads, feeds in zip(kept[-1].units("fc1").tolist(), into.tolist(), out.tolist(), strict=True):
        for count, side in ((reads, "in"), (feeds, "out")):
            words = f"fc1 {unit}: {grouped(count)} connection{'' if count == 1 else 's'} {side}"
            assert (words in titles) == (count > 0)


def test_a_difference_counts_and_marks_what_came_and_went(opened, run):
    path, kept = run
    view = opened(path)
    for one, other in ((1, 2), (2, 3), (3, 1), (0, 4)):
        check_difference(view, kept, one, other)


def check_difference(view, kept, one, other):
    view.page.evaluate("([against, moment]) => report.set({against, moment})", [one, other])
    view.draw_all()
    rows = view.page.eval_on_selector_all(
        "#difference-table tbody tr", "rows => rows.map(row => [...row.children].map(cell => cell.textContent))"
    )
    found = {name: [int(re.sub(r"[^0-9]", "", cell)) for cell in cells] for name, *cells in rows}
    change = difference(kept[one], kept[other])
    for name, layer in change.layers.items():
        assert found[f"units of {name}"] == cells(layer.counts.units)
    for record in change.projections.values():
        assert found[f"{record.before.source} → {record.before.target}"] == cells(record.counts)
    signs = view.page.eval_on_selector_all("#neurons .unit > text", "nodes => nodes.map(node => node.textContent)")
    units = change.counts.units
    assert signs.count("+") == units.added
    assert signs.count("−") == units.removed  # noqa: RUF001  (a minus sign)
    assert signs.count("~") == units.changed
    fates = view.page.evaluate(
        "report.neuronView.all.map(({projection, pair, status}) => [projection.name, pair, status])"
    )
    told = {(name, pair["target"], pair["source"]): status for name, pair, status in fates}
    assert told == edge_fates(view, kept[one], kept[other])
    boxes = view.page.evaluate(
        "([one, other]) => report.model.layers.map((l) => [l.name, report.model.layerStatus(l, one, other)])",
        [one, other],
    )
    assert {name: status.replace("same", "unchanged") for name, status in boxes} == {
        name: change.fate(name) for name in change.layers
    }


def cells(tally):
    return [tally.added, tally.removed, tally.changed, tally.unchanged]


def edge_fates(view, old, new):
    """{(projection, places of the ends): fate}, from the pictures that Python draws."""
    comparison = compare(old, new)
    places = dict(view.page.evaluate("report.model.layers.map(({name, units}) => [name, units.map(([id]) => id)])"))
    found = {}
    for name in comparison.union.projection_names:
        record, columns = comparison.union.projection(name), comparison.union.connection_columns(name)
        ids = comparison.union.units(record.target), comparison.union.units(record.source)
        for row, column in np.argwhere(columns.mask):
            ends = places[record.target].index(ids[0][row]), places[record.source].index(ids[1][column])
            found[name, *ends] = fate(float(columns.weight[row, column]))[0].replace("unchanged", "same")
    return found


def test_the_key_d_turns_the_difference_to_the_moment_before_on_and_off(opened, run):
    path, _ = run
    view = opened(path)
    assert not view.page.is_visible("#difference")
    view.page.keyboard.press("d")
    view.page.wait_for_selector("#difference", state="visible")
    assert view.text("#difference-words").startswith("From step 3 (prune) to step 5 (finish)")
    view.page.keyboard.press("d")
    view.page.wait_for_selector("#difference", state="hidden")
    view.page.select_option("#against", "0")
    view.page.wait_for_selector("#difference", state="visible")


def test_the_card_of_a_unit_says_why_and_lists_what_it_reads_and_feeds(opened, run):
    path, kept = run
    view = opened(path)
    view.draw_all()
    view.page.dispatch_event('#neurons [data-unit="fc1/6"]', "click")
    card = view.text("#card")
    assert "step 1, grow: grow 1 neurons: born with 36 connections in and 2 connections out" in card
    into = {key: weight for key, weight in connections(kept[-1], "conv1_to_fc1").items() if key[0] == 6}
    out = {key: weight for key, weight in connections(kept[-1], "fc1_to_digit").items() if key[1] == 6}
    assert f"In: {len({key[1] for key in into})} units, {len(into)} connections" in card
    assert f"Out: {len(out)} units, {len(out)} connections" in card
    assert view.page.evaluate("document.activeElement.className") == "close"
    view.page.keyboard.press("Escape")
    assert not view.page.is_visible("#card")

    view.page.evaluate("report.set({moment: 1})")
    view.draw_all()
    view.page.focus('#neurons [data-unit="fc1/2"]')
    view.page.keyboard.press("Enter")
    card = view.text("#card")
    assert "lives" in card
    assert "step 3, prune: prune 1 units: removed as a whole" in card
    view.page.dispatch_event("#card ul:last-of-type button >> nth=-1", "click")  # the step that took its connections
    assert "step 3" in view.text("#words")


def test_every_edit_is_reached_in_two_clicks(opened, run):
    path, _ = run
    view = opened(path)
    view.draw_all()
    for row in view.page.query_selector_all("#steps tr[data-step]:not(.refused)"):
        row.dispatch_event("click")  # one
        step = row.get_attribute("data-step")
        assert f", step {step}" in view.text("#words")
    view.draw_all()
    view.page.dispatch_event('#neurons [data-unit="fc1/6"]', "click")
    came = view.page.query_selector_all("#card li button:has-text('step ')")
    assert came
    step = re.search(r"step (\d+)", came[0].inner_text())[1]
    came[0].dispatch_event("click")  # two, from a unit
    assert f", step {step}" in view.text("#words")


def test_arrow_keys_go_from_unit_to_unit_in_the_diagram(opened, run):
    path, _ = run
    view = opened(path)
    view.draw_all()
    assert len(view.page.query_selector_all('#neurons .unit[tabindex="0"]')) == 1
    view.page.focus('#neurons .unit[tabindex="0"]')
    before = view.text("#words")
    view.page.keyboard.press("ArrowDown")
    assert view.page.evaluate("document.activeElement.dataset.unit") == "conv1/0"
    assert view.text("#words") == before
    view.page.keyboard.press("Enter")
    assert view.text("#card h2") == "conv1 0"


def test_search_finds_units_of_any_moment(opened, run):
    path, _ = run
    view = opened(path)
    view.page.keyboard.press("/")
    assert view.page.evaluate("document.activeElement.id") == "search"
    view.page.keyboard.type("fc1 2")
    assert view.page.eval_on_selector_all("#found li", "items => items.map(item => item.textContent)") == ["fc1 2"]
    view.page.keyboard.press("Enter")
    assert view.text("#card h2") == "fc1 2"
    assert "is gone" in view.text("#card")
    view.page.fill("#search", "no such thing")
    assert not view.page.is_visible("#found")


@pytest.mark.parametrize("width", [1440, 400])
def test_a_hit_of_the_search_comes_into_view_and_is_not_covered(opened, run, width):
    path, kept = run
    view = opened(path, width)
    for words, selector in (("fc1 3", '#neurons [data-unit="fc1/3"]'), ("conv1", '#neurons [data-unit="conv1/0"]')):
        view.page.evaluate("report.open(null)")
        view.page.evaluate("scrollTo({top: 0, behavior: 'instant'})")
        view.page.fill("#search", words)
        view.page.keyboard.press("Enter")
        view.page.wait_for_function(
            "(selector) => { const box = document.querySelector(selector).getBoundingClientRect();"
            " const at = document.elementFromPoint((box.left + box.right) / 2, (box.top + box.bottom) / 2);"
            " return at && at.closest('.unit') === document.querySelector(selector); }",
            arg=selector,
        )
    assert len(kept[-1].units("fc1")) > 3


@pytest.mark.parametrize("most", [2000, 3])
def test_edges_of_a_unit_that_is_hovered_or_chosen_are_all_shown(opened, run, most):
    """Also where the picture leaves most edges out."""
    path, kept = run
    view = opened(path)
    view.page.evaluate("most => { report.most = most; }", most)
    view.draw_all()
    graph, own = kept[-1].graph, "#neurons .own path"
    assert view.page.query_selector_all(own) == []
    unit = view.page.locator('#neurons [data-unit="fc1/6"]')
    unit.scroll_into_view_if_needed()
    unit.hover()
    assert len(view.page.query_selector_all(own)) == graph.degree(("fc1", 6))
    assert f"fc1 6: {graph.in_degree(('fc1', 6))} edges in, {graph.out_degree(('fc1', 6))} out" in view.text("#own")
    assert view.page.evaluate("getComputedStyle(document.querySelector('#neurons svg > path')).opacity") == "0.15"
    view.page.mouse.move(0, 0)
    view.page.wait_for_function("!document.querySelector('#neurons .own')")
    view.page.evaluate("report.open('digit/1')")
    view.draw_all()
    assert len(view.page.query_selector_all(own)) == graph.degree(("digit", 1))
    view.page.focus('#neurons [data-unit="conv1/1"]')
    assert len(view.page.query_selector_all(own)) == graph.degree(("conv1", 1))


def test_a_narrow_page_shows_the_whole_diagram_of_neurons(opened, run):
    path, kept = run
    view = opened(path, 400)
    view.draw_all()
    assert view.page.evaluate(
        "(({scrollWidth, clientWidth}) => scrollWidth <= clientWidth)(document.querySelector('#neurons .pan'))"
    )
    boxes = view.page.eval_on_selector_all(
        "#neurons .unit",
        "nodes => nodes.map(node => node.getBoundingClientRect()).map(({left, right, width}) => [left, right, width])",
    )
    assert len(boxes) == kept[-1].unit_count
    assert all(left >= 0 and right <= 400 and width >= 8 for left, right, width in boxes)


def test_a_refused_step_far_from_the_kept_ones_is_drawn_at_its_own_value(opened, tmp_path):
    whole_run(tmp_path)
    lines = [json.loads(line) for line in (tmp_path / "metrics.jsonl").read_text().splitlines()]
    refused = next(line for line in lines if not line["accepted"])
    refused |= {"loss": 40.0, "accuracy": 0.01}
    (tmp_path / "metrics.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    view = opened(report(tmp_path))
    view.draw_all()
    circles = view.page.eval_on_selector_all(
        "#curves circle",
        "nodes => nodes.map(n => [n.textContent, Number(n.getAttribute('cy')), Number(n.getAttribute('cx'))])",
    )
    losses = [(float(words.rsplit("; ", 1)[1]), y) for words, y, x in circles if words and x > 600 and y < 200]
    values, heights = np.array(losses).T
    assert values.max() == 40.0
    assert len(losses) == len(lines)
    slope, start = np.polyfit(values, heights, 1)
    assert slope < 0
    assert np.abs(start + slope * values - heights).max() < 0.1  # all on one scale
    assert heights.min() > 20  # below the title: inside the axes


def test_every_phase_is_named(opened, tmp_path):
    """Also one of a single step after many others."""
    steps = [("seed", "train", None, True), *[("prune", "prune", fewer, True)] * 40, ("finish", "train", None, True)]
    write_run(tmp_path, mlp(64, 3), steps, finished=False)
    for width in (1440, 400):
        view = opened(report(tmp_path), width)
        view.draw_all()
        names = view.page.eval_on_selector_all("#phases span", "nodes => nodes.map(node => node.textContent)")
        assert names == ["seed", "prune", "finish"]
        boxes = view.page.eval_on_selector_all(
            "#phases span",
            "nodes => nodes.map(node => node.getBoundingClientRect()).map(({left, right}) => [left, right])",
        )
        assert all(one[1] <= other[0] for one, other in itertools.pairwise(boxes))
        words = view.page.eval_on_selector_all("#overview text", "nodes => nodes.map(node => node.textContent)")
        assert {"seed", "prune", "finish"} <= set(words)


def test_the_key_for_help_lists_the_keys(opened, run):
    path, _ = run
    view = opened(path)
    view.page.keyboard.press("?")
    assert "search a layer or unit" in view.text("#keys")
    moment = view.page.input_value("#slider")
    view.page.keyboard.press("ArrowLeft")
    assert view.page.input_value("#slider") == moment  # the dialog has the keys
    view.page.keyboard.press("Escape")
    assert not view.page.is_visible("#keys")


NOTED = """() => {
  const set = report.set.bind(report);
  window.passed = [];
  report.set = (change) => { window.passed.push(change.moment); set(change); };
}"""


def test_play_runs_through_the_moments(opened, run):
    path, kept = run
    view = opened(path)
    view.page.evaluate(NOTED)
    view.page.keyboard.press("p")
    view.page.wait_for_selector("#play[aria-label=Play]")
    assert view.page.evaluate("window.passed") == list(range(len(kept)))
    assert view.page.input_value("#slider") == str(len(kept) - 1)


def test_pictures_are_copied_as_svg_and_dot(opened, run):
    path, kept = run
    view = opened(path)
    view.draw_all()
    for host in ("overview", "layers", "neurons", "inputs", "weights", "sizes", "fans", "curves"):
        tree = ElementTree.fromstring(view.copied(host, "SVG"))
        assert tree.tag.endswith("svg")
        assert len(list(tree.iter())) > 5
    graph = pygraphviz.AGraph(view.copied("layers", "DOT"))
    assert set(graph.nodes()) == set(kept[-1].layer_names)
    graph = pygraphviz.AGraph(view.copied("neurons", "DOT"))
    assert graph.number_of_edges() == kept[-1].graph.number_of_edges()


def test_hostile_text_never_runs_and_stays_text(opened, tmp_path):
    hostile_run(tmp_path)
    view = opened(report(tmp_path))
    page = view.page
    for moment in range(5):
        page.evaluate("moment => report.set({moment, against: 1, unit: `fc1/${moment}`})", moment)
        view.draw_all()
    assert HOSTILE in page.text_content("#card")
    assert HOSTILE in page.text_content("#words")
    assert HOSTILE in page.text_content("#steps")
    assert HOSTILE in page.text_content("#difference") + page.text_content(".recipe")
    for kind in ("SVG", "DOT"):
        page.evaluate("report.set({unit: null})")
        copied = view.copied("layers", kind)
        if kind == "SVG":
            assert not [node for node in ElementTree.fromstring(copied).iter() if node.tag.endswith(("script", "img"))]
        else:
            graph = pygraphviz.AGraph(copied)
            assert HOSTILE in graph.get_node("fc1").attr["label"]
    assert page.evaluate("window.canary") is None
    assert page.eval_on_selector_all("img, iframe, object, embed", "nodes => nodes.length") == 0


@pytest.mark.parametrize(
    ("width", "scheme"),
    [
        (400, "dark"),
        *(pytest.param(*both, marks=pytest.mark.slow) for both in ((1440, "light"), (400, "light"), (1440, "dark"))),
    ],
)
def test_axe_finds_nothing_serious_and_nothing_overflows(opened, axe, run, width, scheme, tmp_path):
    path, _ = run
    view = opened(path, width, scheme)
    view.page.evaluate("report.set({moment: 3, against: 1, unit: 'fc1/6'})")
    view.draw_all()
    view.page.evaluate(axe)
    broken = view.page.evaluate(
        "axe.run().then(({violations}) => violations.map(({id, impact, nodes}) => [impact, id, nodes[0].html]))"
    )
    assert [entry for entry in broken if entry[0] in ("serious", "critical")] == []
    assert view.page.evaluate("document.documentElement.scrollWidth") <= width
    view.page.keyboard.press("Escape")
    view.page.screenshot(path=tmp_path / f"report-{width}-{scheme}.png", full_page=True)


def look(page, selector):
    """Mean colour of what is inked, and whether the line has gaps."""
    image = np.asarray(Image.open(io.BytesIO(page.locator(selector).screenshot())).convert("RGB"), float)
    away = np.abs(image - 255).sum(axis=2)
    inked = away > 60
    return image[inked].mean(axis=0), bool((~inked.any(axis=0))[2:-2].any())


def test_added_and_removed_can_be_told_apart_by_everyone(opened, run):
    path, _ = run
    view = opened(path)
    view.page.evaluate("report.set({moment: 3, against: 1})")
    view.draw_all()
    view.page.locator("#neurons figcaption").scroll_into_view_if_needed()
    session = view.context.new_cdp_session(view.page)
    for sight in ("none", "deuteranopia", "protanopia", "tritanopia", "achromatopsia"):
        session.send("Emulation.setEmulatedVisionDeficiency", {"type": sight})
        (added, solid), (removed, dashed) = (look(view.page, f"#neurons .key >> nth={n} >> i") for n in (0, 1))
        assert (solid, dashed) == (False, True)
        assert sight == "achromatopsia" or np.abs(added - removed).max() > 60
    assert view.text("#neurons .key >> nth=0") == "+ added"


def test_a_page_of_a_run_that_goes_on_reads_itself_again_and_keeps_its_place(opened, tmp_path):
    kept = whole_run(tmp_path, finished=False)
    view = opened(report(tmp_path, reload=4))
    with view.page.expect_navigation():
        view.page.evaluate("report.set({moment: 1})")
    words = f"{grouped(kept[1].connection_count)} connections"
    view.page.wait_for_selector(f"#words:has-text('{words}')")  # it may read itself again meanwhile
    assert "This run goes on." in view.text(".lead")


def test_a_run_that_has_only_begun_is_shown(opened, tmp_path):
    write_run(tmp_path, conv_seed(), [], finished=False)
    view = opened(report(tmp_path), 400)
    view.draw_all()
    assert "the seed as it was made" in view.text("#words")


@pytest.mark.parametrize("network", [residual(), chain(100), mlp(65, 3)], ids=["residual", "chain", "no image"])
def test_networks_of_other_forms_are_shown(opened, tmp_path, network):
    write_run(tmp_path, network, [("seed", "train", None, True), ("finish", "train", None, True)], finished=False)
    view = opened(report(tmp_path))
    view.page.evaluate("report.set({moment: 1, against: 0})")
    view.draw_all()
    assert len(view.page.query_selector_all("#neurons .unit")) == network.unit_count
    width, height = view.page.eval_on_selector(
        "#layers svg", "svg => [svg.viewBox.baseVal.width, svg.viewBox.baseVal.height]"
    )
    assert width <= 1400
    assert width / height < 4 or len(network.layer_names) < 6
    assert view.page.is_visible("#inputs-section") == (network.layer(network.input_names[0]).size is not None)


@pytest.mark.parametrize("units", [26, 30, 31])  # 560 / (560 / 31) is less than 31 in floating point
def test_units_that_share_out_the_height_stand_in_one_column(opened, tmp_path, units):
    write_run(tmp_path, mlp(4, units, 2), [], finished=False)
    view = opened(report(tmp_path))
    view.draw_all()
    places = view.page.eval_on_selector_all(
        '#neurons [data-unit^="fc1/"] .shape', "nodes => nodes.map(node => node.getAttribute('cx'))"
    )
    assert len(places) == units
    assert len(set(places)) == 1


@pytest.mark.parametrize(
    ("make", "moments"),
    [
        (SMALL, 4),
        (SMALL, 12),
        *(pytest.param(LENET, moments, marks=pytest.mark.slow) for moments in (31, 200)),
    ],
    ids=["4 moments", "12 moments", "LeNet-5 at 31 moments", "LeNet-5 at 200 moments"],
)
def test_a_page_opens_with_work_that_goes_with_connections_and_moments(opened, tmp_path, make, moments):
    kept = pruned_run(tmp_path, make(), moments)
    path = report(tmp_path)
    view = opened(path, counted=True)
    assert view.page.get_attribute("#slider", "max") == str(moments - 1)
    assert path.stat().st_size < 10e6
    assert view.work < EACH * kept[0].connection_count * moments + FIRST_SCREEN
    assert view.page.evaluate("document.querySelectorAll('*').length") < NODES

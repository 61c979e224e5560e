from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from nestgraph.errors import RenderError
from nestgraph.render import curves as draw_curves
from nestgraph.render.chart import WIDE, _figure
from nestgraph.render.curve_points import points_of
from nestgraph.spec.metrics import metric

PHASES = ["seed"] * 2 + ["grow"] * 6 + ["shift"] * 2 + ["grow"] * 3 + ["prune"] * 9


def log():
    """A run of numbers as a trainer gives them: Python's and NumPy's."""
    return [
        {
            "step": np.int64(100 * place),
            "phase": phase,
            "connections": 1000 + 37 * place,
            "units": 12,
            "flops": 2000,
            "accuracy": np.float32(0.5 + place / 64),
            "loss": 1.0,
        }
        for place, phase in enumerate(PHASES)
    ]


@pytest.fixture
def axes():
    return _figure(points_of(log(), "accuracy"), metric("accuracy")).axes


def lines(axis):
    return [line for line in axis.lines if len(line.get_xdata()) == len(PHASES)]


def test_curves_equal_the_log(axes):
    connections, accuracy, size = axes
    steps = [entry["step"] for entry in log()]
    sizes, values = [entry["connections"] for entry in log()], [entry["accuracy"] for entry in log()]
    for axis, across, up in ((connections, steps, sizes), (accuracy, steps, values), (size, sizes, values)):
        (line,) = lines(axis)
        assert np.allclose(line.get_xdata(), across)
        assert np.allclose(line.get_ydata(), up)
    assert connections.get_yscale() == "log"
    assert size.get_xscale() == "log"


def test_phases_are_shaded_and_named_where_they_happen(axes):
    bands = [(patch.get_x(), patch.get_x() + patch.get_width()) for patch in axes[0].patches]
    assert bands == [(0, 200), (200, 800), (800, 1000), (1000, 1300), (1300, 2100)]
    names = [(text.get_text(), text.get_position()[0]) for text in axes[0].texts]
    assert names == [("seed", 100), ("grow", 500), ("shift", 900), ("grow", 1150), ("prune", 1700)]


def test_each_phase_has_its_own_marker(axes):
    looks = {line.get_label(): (line.get_marker(), line.get_color()) for line in axes[2].lines[1:]}
    assert set(looks) == {"seed", "grow", "shift", "prune"}
    assert len({marker for marker, _ in looks.values()}) == 4
    assert len({colour for _, colour in looks.values()}) == 4


@pytest.mark.parametrize("suffix", ["svg", "png", "pdf"])
def test_the_same_log_gives_the_same_bytes(tmp_path, suffix):
    first, second = (draw_curves(log(), tmp_path / f"{name}.{suffix}").read_bytes() for name in "ab")
    assert first == second
    assert b"matplotlib v" not in first.lower()
    assert b"purl.org" not in first


def test_pictures_open(tmp_path):
    with Image.open(draw_curves(log(), tmp_path / "c.png")) as image:
        image.load()
        assert image.width > 1000
    assert draw_curves(log(), tmp_path / "c.pdf").read_bytes().startswith(b"%PDF-")
    svg = draw_curves(log(), tmp_path / "c.svg")
    assert svg.stat().st_size < 100_000
    said = {text.text for text in ElementTree.parse(svg).iter("{http://www.w3.org/2000/svg}text")}
    assert {"Connections", "Validation accuracy", "Accuracy against size", "prune"} <= said


def test_the_users_style_does_not_leak_in(tmp_path):
    import matplotlib

    plain = draw_curves(log(), tmp_path / "a.svg").read_bytes()
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "black"}):
        assert draw_curves(log(), tmp_path / "b.svg").read_bytes() == plain
        assert matplotlib.rcParams["font.size"] == 30


def test_one_entry_is_enough(tmp_path):
    assert draw_curves(log()[:1], tmp_path / "c.svg").exists()


def test_many_short_phases_do_not_write_over_each_other():
    entries = [
        {"step": step, "phase": ("grow", "prune")[step % 2], "connections": 9, "accuracy": 0.5} for step in range(200)
    ]
    texts = _figure(points_of(entries, "accuracy"), metric("accuracy")).axes[0].texts
    assert sorted(text.get_text() for text in texts) == ["grow", "prune"]  # each once
    first, second = sorted(text.get_position()[0] for text in texts)
    assert (second - first) / 199 * WIDE >= (len("grow") + len("prune")) / 2


def test_a_last_phase_of_one_step_is_named():
    phases = ["seed", *["prune"] * 100, "finish"]
    entries = [{"step": s, "phase": phase, "connections": 9, "accuracy": 0.5} for s, phase in enumerate(phases)]
    texts = _figure(points_of(entries, "accuracy"), metric("accuracy")).axes[0].texts
    assert [text.get_text() for text in texts] == ["seed", "prune", "finish"]
    places = [text.get_position()[0] for text in texts]
    assert places == sorted(places)
    assert places[-1] + len("finish") / 2 / WIDE * 101 <= 101


@pytest.mark.parametrize(
    ("entry", "said"),
    [
        ({"accuracy": float("nan")}, "finite number as 'accuracy'"),
        ({"connections": None}, "finite number as 'connections'"),
        ({"connections": 0}, "at least 1 connection"),
        ({"step": True}, "finite number as 'step'"),
        ({"accuracy": "0.9"}, "finite number as 'accuracy'"),
    ],
)
def test_entries_without_numbers_are_refused(tmp_path, entry, said):
    with pytest.raises(RenderError, match=said):
        draw_curves([log()[0] | entry], tmp_path / "c.svg")
    assert not list(tmp_path.iterdir())


def test_an_empty_log_and_other_suffixes_are_refused(tmp_path):
    with pytest.raises(RenderError, match="at least one entry"):
        draw_curves([], tmp_path / "c.svg")
    with pytest.raises(RenderError, match=r"\.svg, \.png, \.pdf"):
        draw_curves(log(), tmp_path / "c.dot")

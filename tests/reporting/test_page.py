"""The report is one file that asks for nothing, in which whatever a run says is text."""

import base64
import hashlib
import json
import re
from html.parser import HTMLParser

import pytest

from nestgraph.errors import SnapshotError
from nestgraph.reporting import LiveReport, live_report, report
from nestgraph.reporting.page import embedded
from nestgraph.runs.run import Run
from tests.cli.running import TINY, run
from tests.reporting.reading import embedded as read_back
from tests.reporting.runs import RECIPE, row, whole_run

HOSTILE = '</script><img src=x onerror="window.canary=1"><script>window.canary=1</script>\'"`&<!--{{7*7}}'
"""Text that a careless page would run."""


def hostile_run(folder, finished=True):
    """A run whose every text is hostile."""
    policies = [{"kind": HOSTILE, HOSTILE: HOSTILE}]
    recipe = {**RECIPE, "name": HOSTILE, "description": HOSTILE, HOSTILE: [HOSTILE], "growth": {"policies": policies}}
    environment = {"seed": HOSTILE, HOSTILE: {HOSTILE: HOSTILE}}
    return whole_run(folder, finished, label=HOSTILE, title=HOSTILE, recipe=recipe, environment=environment)


class Elements(HTMLParser):
    """All elements and attributes of a page."""

    def __init__(self, text):
        super().__init__()
        self.found = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))


@pytest.mark.parametrize("finished", [True, False])
def test_hostile_text_is_text_in_the_page(tmp_path, finished):
    hostile_run(tmp_path, finished)
    text = report(tmp_path).read_text()
    elements = Elements(text).found
    assert [tag for tag, _ in elements if tag in ("script", "img", "iframe", "object", "link")] == ["script", "script"]
    assert not [name for _, attributes in elements for name in attributes if name.startswith("on")]
    assert not [
        name
        for _, attributes in elements
        for name in attributes
        if name in ("style", "src", "href") and attributes[name] != "#summary"
    ]
    assert "{{" not in text.replace("{{7*7}}", "")
    data = read_back(text)
    assert data["recipe"]["name"] == HOSTILE
    assert data["layers"][2]["label"] == HOSTILE
    assert {entry["edit"] for entry in data["rows"]} == {HOSTILE}


def test_the_policy_lets_only_our_own_script_and_style_in(tmp_path):
    whole_run(tmp_path)
    text = report(tmp_path).read_text()
    policy = next(attributes["content"] for tag, attributes in Elements(text).found if "http-equiv" in attributes)
    for tag, pattern in (("script", r"<script>(.*?)</script>"), ("style", r"<style>(.*?)</style>")):
        content = re.search(pattern, text, re.DOTALL)[1]
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{tag}-src 'sha256-{digest}'" in policy
    assert policy.startswith("default-src 'none'")
    assert "unsafe" not in policy
    assert set(re.findall(r"https?://[^'\"\s<]*", text)) == {"http://www.w3.org/2000/svg"}


def test_json_in_a_script_element_can_end_nothing():
    value = {"a": ["</script>", "<!--", "]]>", "\u2028\u2029&", "ä"]}
    text = embedded(value)
    assert not set(text) & set("<>&\u2028\u2029")
    assert json.loads(text) == value


def test_the_words_without_a_script_have_the_numbers_of_the_run(tmp_path):
    kept = whole_run(tmp_path)
    text = report(tmp_path, tmp_path / "here.html").read_text()
    last = json.loads((tmp_path / "result.json").read_text())["stages"][-1]
    for value in (f"{last['connections']:,}", f"{last['parameters']:,}", f"{last['test']['accuracy']:.2%}"):
        assert f'<span class="value">{value}</span>' in text
    assert f"A seed of {kept[1].connection_count:,} connections grew to " in text
    assert text.count("<em>refused</em>") == 2


def test_the_same_run_gives_the_same_bytes(tmp_path):
    whole_run(tmp_path)
    assert report(tmp_path, tmp_path / "a.html").read_bytes() == report(tmp_path, tmp_path / "b.html").read_bytes()


def test_a_report_that_cannot_be_written_is_an_error(tmp_path):
    whole_run(tmp_path)
    with pytest.raises(SnapshotError):
        report(tmp_path, tmp_path / "none" / "a.html")
    for folder in ("none", "recipe.json"):
        with pytest.raises(SnapshotError, match=f"{folder}: expected the folder of a run, got none"):
            report(tmp_path / folder)
    journal = (tmp_path / "journal.jsonl").read_bytes()
    with pytest.raises(SnapshotError, match="expected no file that the run is read from"):
        report(tmp_path, tmp_path / "journal.jsonl", overwrite=True)
    assert (tmp_path / "journal.jsonl").read_bytes() == journal


def test_a_live_report_is_written_seldom_and_then_once_more(tmp_path, monkeypatch):
    now = [100.0]
    monkeypatch.setattr(live_report.time, "monotonic", lambda: now[0])
    kept, told = whole_run(tmp_path, finished=False), []
    observer = LiveReport(tmp_path, then=lambda *words: told.append(words))
    for _ in range(5):
        observer(row(0, "seed", "train the seed", True, kept[1]), 1.0)
    assert observer.written == 1
    assert len(told) == 5
    assert read_back(observer.path.read_text())["reload"] == live_report.LEAST
    now[0] += live_report.LEAST
    observer(row(1, "grow", "grow", True, kept[1]))
    assert observer.written == 2
    observer.finish()
    assert read_back(observer.path.read_text())["reload"] is None


def test_a_live_report_never_ends_a_run(tmp_path):
    observer = LiveReport(tmp_path / "nothing")
    observer(row(0, "seed", "train the seed", True, whole_run(tmp_path)[0]))
    observer.finish()
    assert not (tmp_path / "nothing").exists()


def test_a_run_from_the_command_line_is_reported_while_it_goes_and_after(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.toml").write_text(TINY.format(edits=2))
    assert run("synthesize", "tiny.toml", "--out", "here", "--live", "-q").exit_code == 0
    text = (tmp_path / "here/report.html").read_text()
    assert read_back(text)["reload"] is None
    done = run("report", "here", "--out", "there.html")
    assert (done.exit_code, done.stdout) == (0, "there.html\n")
    assert done.stderr == "next: nestgraph summary here/final.json\n"
    assert (tmp_path / "there.html").read_text() == text
    finished, data = Run.read(tmp_path / "here"), read_back(text)
    assert [entry["scores"]["accuracy"] for entry in data["rows"]] == [
        entry.scores["accuracy"] for entry in finished.metrics
    ]
    assert data["result"]["seconds"] == finished.result.seconds
    assert [stage["digest"] for stage in data["result"]["stages"]][-1] == data["moments"][-1]["digest"]
    assert run("report", "nowhere").exit_code == 1

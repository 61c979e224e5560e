"""A browser for the tests of the page, if there is one; if not, a warning says what was not tested."""

import shutil
import subprocess
import tarfile
import warnings
from functools import cache

import pytest

AXE = "axe-core@4.14.1"
PATIENCE = 200_000
"""Milliseconds that a page is waited for, on a busy machine, too."""


def missing(words):
    """Skip, and say so in the summary whatever its verbosity."""
    warnings.warn(f"NOT TESTED: the report in a browser: {words}", stacklevel=2)
    pytest.skip(words)


@pytest.fixture(scope="session")
def chromium():
    """A running headless Chromium."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        missing("there is no chromium: apt-get install chromium")
    try:
        from playwright.sync_api import Error, sync_playwright
    except ImportError:
        missing("there is no playwright: pip install playwright")
    with sync_playwright() as playwright:
        try:
            args = ["--no-sandbox", "--disable-gpu"]
            browser = playwright.chromium.launch(executable_path=program, args=args, timeout=PATIENCE)
        except Error as error:
            missing(f"chromium does not start: {str(error).splitlines()[0]}")
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def axe(request, tmp_path_factory, chromium):  # noqa: ARG001  (nothing is fetched where there is no browser)
    """The source of axe-core, fetched by npm once and kept with pytest's cache."""
    cache = getattr(request.config, "cache", None)
    folder = cache.mkdir("axe") if cache else tmp_path_factory.mktemp("axe")
    place = folder / f"{AXE}.min.js"
    if not place.exists():
        npm = shutil.which("npm")
        if npm is None:
            missing("there is no npm to fetch axe-core with")
        try:
            done = subprocess.run([npm, "pack", AXE, "--silent"], cwd=folder, capture_output=True, timeout=120)
        except subprocess.TimeoutExpired:
            missing("npm did not fetch axe-core in two minutes")
        archives = list(folder.glob("axe-core-*.tgz"))
        if done.returncode or not archives:
            missing("npm could not fetch axe-core")
        with tarfile.open(archives[0]) as archive:
            content = archive.extractfile("package/axe.min.js")
            assert content is not None
            place.write_bytes(content.read())
    return place.read_text()


def counting(page):
    """A session that counts, from now on, how often each function of a page is called and each branch taken."""
    session = page.context.new_cdp_session(page)
    session.send("Profiler.enable")
    session.send("Profiler.startPreciseCoverage", {"callCount": True, "detailed": True})
    return session


def calls(session):
    """What it counted of the scripts of files."""
    scripts = session.send("Profiler.takePreciseCoverage")["result"]
    functions = [one for script in scripts if script["url"].startswith("file:") for one in script["functions"]]
    return sum(part["count"] for one in functions for part in one["ranges"])


class Opened:
    """A report in the browser, and all that it asked for or complained about."""

    def __init__(self, context, path, counted=False):
        self.requests, self.complaints = [], []
        self.context, self.page = context, context.new_page()
        self.page.set_default_timeout(PATIENCE)
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("console", lambda message: self.complaints.append(f"{message.type}: {message.text}"))
        self.page.on("pageerror", lambda error: self.complaints.append(str(error)))
        counter = counting(self.page) if counted else None
        self.page.goto(path.as_uri())
        self.page.wait_for_selector("html[data-ready=yes]", timeout=PATIENCE)
        if counter:
            self.page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            self.work = calls(counter)

    def draw_all(self):
        """Draw also what was not yet scrolled to."""
        self.page.evaluate("report.drawAll()")

    def copied(self, host, kind):
        """What the button of a picture copies; no pointer aims at it, since a picture drawn anew moves it away."""
        self.page.evaluate("report.copied = null")
        self.page.dispatch_event(f"#{host} .copy button:has-text('Copy {kind}')", "click")
        return self.page.evaluate("report.copied")

    def text(self, selector):
        return self.page.inner_text(selector)


@pytest.fixture(scope="session")
def contexts(chromium):
    """By width and colour scheme, a window that all tests share: a page of its own is quicker to make than a window."""
    return cache(
        lambda width, scheme: chromium.new_context(viewport={"width": width, "height": 900}, color_scheme=scheme)
    )


@pytest.fixture
def opened(contexts):
    """Opens reports; when the test is over, none may have asked for anything or complained."""
    reports = []

    def open_report(path, width=1440, scheme="light", counted=False):
        reports.append(Opened(contexts(width, scheme), path, counted))
        return reports[-1]

    yield open_report
    for one in reports:
        assert {url.split("#")[0].split("?")[0] for url in one.requests} == {one.page.url.split("#")[0]}
        assert one.complaints == []
        one.page.close()

"""How long the page of a run takes to open, in seconds of processor time of the thread that runs it."""

import pytest

from nestgraph.reporting import report
from nestgraph.seeds import lenet_5
from tests.reporting.conftest import PATIENCE, chromium, contexts  # noqa: F401  (fixtures)
from tests.reporting.runs import pruned_run

MOST_SECONDS = 2


@pytest.mark.slow
@pytest.mark.parametrize("moments", [31, 200])
def test_a_run_of_lenet_5_opens(contexts, tmp_path, moments):  # noqa: F811
    pruned_run(tmp_path, lenet_5(density=0.108, seed=0), moments)
    page = contexts(1440, "light").new_page()
    session = page.context.new_cdp_session(page)
    session.send("Performance.enable", {"timeDomain": "threadTicks"})
    page.goto(report(tmp_path).as_uri())
    page.wait_for_selector("html[data-ready=yes]", timeout=PATIENCE)
    seconds = {one["name"]: one["value"] for one in session.send("Performance.getMetrics")["metrics"]}["TaskDuration"]
    print(f"\n{moments} moments: opens in {seconds:.2f} s")
    assert seconds < MOST_SECONDS

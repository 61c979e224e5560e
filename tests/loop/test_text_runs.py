"""A whole run on text grows heads, slots and feed-forward units of a model with attention, and prunes it."""

import numpy as np
import pytest

import nestgraph as ng
from nestgraph.graph.heads import links_of, sides
from tests.edits.test_blocks import characters

pytestmark = pytest.mark.usefixtures("plain")
RECIPE = """
name = "letters"
data = { kind = "text", path = "letters.txt", window = 6 }
task = { kind = "places", goal = "-perplexity" }
seed_network = { kind = "snapshot", path = "model.json" }
training = { optimizer = "adam", learning_rate = 0.01, batch_size = 16, threads = 1 }
seed_epochs = 1
shift = { epochs = 0 }

[growth]
size_limit = 100000
max_edits = 3
patience = 3
evidence_batches = 2
policies = [
    { kind = "head_growth", candidates = 2 },
    { kind = "head_growth", add = "slots", candidates = 2, scope = "global" },
    { kind = "neuron_growth", units = 1, rule = "gradmax" },
]

[pruning]
max_edits = 1
tolerance = 0.5
epochs = 1
policies = [{ kind = "magnitude_pruning", fraction = 0.1 }]
"""


def test_heads_slots_and_feed_forward_units_grow_in_a_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    words = np.random.default_rng(0).choice(["abc", "ade", "fge"], 400)
    (tmp_path / "letters.txt").write_text("".join(words))  # as many kinds of characters as the model has
    model, _ = characters()
    ng.save(model, tmp_path / "model.json")
    (tmp_path / "letters.toml").write_text(RECIPE)
    run = ng.synthesize(ng.load_recipe(tmp_path / "letters.toml"), tmp_path / "run")
    words = " ".join(str(row.edit) for row in run.metrics if row.phase == "grow")
    assert all(each in words for each in ("grow 2 heads", "widen 1 heads", "grow 2 neurons"))
    grown, (first, second) = run.stage("grown"), [name for name in model.layer_names if model.matches(name)]
    for heads in (first, second):
        assert len(grown.units(heads)) > len(model.units(heads))

    def slots(network):
        return sum(
            len(links_of(network, match).links)
            for heads in (first, second)
            for match, _ in sides(network, heads)["query"]
        )

    head = slots(model) // (len(model.units(first)) + len(model.units(second)))
    assert slots(grown) > slots(model) + head * (len(grown.units(first)) + len(grown.units(second)) - 4)
    assert len(grown.units("blocks_0_up")) > len(model.units("blocks_0_up"))
    assert run.network.connection_count < grown.connection_count
    assert ng.Run.read(tmp_path / "run").network == run.network

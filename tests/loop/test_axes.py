"""Networks of series, tokens and volumes are grown, pruned and cut back to areas on samples of such shapes."""

import numpy as np
import pytest
import torch
from torch import nn

import nestgraph as ng
from nestgraph.loop.synthesis import synthesize
from nestgraph.recipes.recipe import parse_recipe
from nestgraph.render import draw

pytestmark = pytest.mark.usefixtures("plain")

RECIPE = """
name = "axes"
seed_epochs = 1
data = { kind = "custom" }
seed_network = { kind = "snapshot", path = "PATH" }
training = { batch_size = 32, threads = 1 }
shift = { epochs = 0 }

[growth]
size_limit = 2000
max_edits = 2
patience = 2
evidence_batches = 1
policies = [{ kind = "map_growth", units = 1 }, { kind = "connection_growth", fraction = 0.2 }]

[pruning]
tolerance = 1.0
max_edits = 3
activity_batches = 1
policies = [{ kind = "magnitude_pruning", fraction = 0.2 }, { kind = "area_pruning", quantile = 0.2 }]
"""


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.wide, self.narrow, self.head = nn.Linear(4, 6), nn.Linear(6, 4), nn.Linear(20, 2)

    def forward(self, x):
        return self.head((x + self.narrow(torch.relu(self.wide(x)))).flatten(1))


def series():
    layers = (nn.Conv1d(2, 4, 3, padding=1), nn.ReLU(), nn.Conv1d(4, 3, 3, stride=2), nn.ReLU(), nn.Flatten())
    return nn.Sequential(*layers, nn.Linear(12, 2)), (2, 9)


def volumes():
    layers = (nn.Conv3d(1, 3, 2), nn.ReLU(), nn.Conv3d(3, 2, 2), nn.ReLU(), nn.Flatten(), nn.Linear(8 * 2, 2))
    return nn.Sequential(*layers), (1, 4, 4, 4)


CASES = {"series": series, "tokens": lambda: (Tokens(), (5, 4)), "volumes": volumes}


@pytest.mark.parametrize("case", CASES)
def test_recipes_train_grow_and_prune(case, tmp_path):
    torch.manual_seed(0)
    module, shape = CASES[case]()
    network = ng.import_module(module, torch.randn(2, *shape))
    ng.save(network, tmp_path / "net.json")
    x, y = np.random.default_rng(0).standard_normal((90, *shape)).astype(np.float32), np.arange(90) % 2
    data = ng.dataset((x[:50], y[:50]), (x[50:70], y[50:70]), (x[70:], y[70:]), name="own")
    recipe = parse_recipe(RECIPE.replace("PATH", str(tmp_path / "net.json")), "recipe.toml")
    run = synthesize(recipe, tmp_path / "run", data=data)
    assert {row.phase for row in run.metrics} >= {"seed", "grow", "prune"}
    assert run.editor().network == run.network != network
    samples = torch.tensor(x[:3])
    for form in (ng.lower, ng.compact):
        assert form(run.network).eval()(samples).shape == (3, 2)
    for view in ("layers", "neurons", "matrix"):
        draw(run.network, tmp_path / f"{view}.svg", view=view)
    draw(run.network, tmp_path / "areas.svg", "areas")

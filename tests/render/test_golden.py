"""Golden DOT files. After a change that is meant: `python -m tests.render.test_golden`, then read the diff."""

from pathlib import Path

import pytest

from nestgraph.render import layer_diagram, neuron_dot
from tests.render.samples import attention, mlp, residual

GOLDEN = Path(__file__).with_name("golden")
CASES = {
    "mlp_layers": lambda: layer_diagram(mlp(4, 5, 3, density=0.7)),
    "mlp_neurons": lambda: neuron_dot(mlp(4, 5, 3, density=0.7)),
    "attention_layers": lambda: layer_diagram(attention()),
    "attention_neurons": lambda: neuron_dot(attention()),
    "residual_layers": lambda: layer_diagram(residual()),
    "residual_neurons": lambda: neuron_dot(residual()),
}


@pytest.mark.parametrize("name", CASES)
def test_dot_text_is_as_it_was(name):
    assert CASES[name]() == (GOLDEN / f"{name}.dot").read_text()


def test_no_golden_file_is_left_over():
    assert {path.stem for path in GOLDEN.iterdir()} == set(CASES)


if __name__ == "__main__":
    for name, write in CASES.items():
        (GOLDEN / f"{name}.dot").write_text(write())

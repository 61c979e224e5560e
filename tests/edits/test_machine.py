"""Any sequence of edits, trainings and ways back: every law holds at each step.

The few sequences of the quick suite are the same each time; EXAMPLES sets another number, of random ones. The markers
`slow` and `nightly` run 10,000 and 100,000.
"""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import event, note, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from nestgraph.edits import EDIT, PRESERVING, Editor
from nestgraph.errors import LoweringError
from nestgraph.graph import Network
from nestgraph.graph.reference import forward
from nestgraph.lowering import lower
from nestgraph.lowering.states import OptimizerState
from nestgraph.lowering.workbench import Workbench
from nestgraph.snapshot import from_bytes, to_bytes
from tests.laws import check_laws, fresh_digest, quick, unless_refused
from tests.lowering.running import close, over, results, train, without_dropout
from tests.lowering.test_collect import OPTIMIZERS
from tests.strategies import EDIT_CASES, SEEDS, edits_for, inputs_for, networks
from tests.strategies.recipes import RECIPE_CASES

STEPS = 8
WIDEST = 40
"""Units from which on a network is not edited by recipes: they would make it ever wider."""


def moment(bench):
    """Everything that undo must restore; the network is read back from the module."""
    network = bench.network
    return fresh_digest(network), OptimizerState.of(bench.optimizer, network, bench.module)


@dataclass
class Line:
    """A workbench, the moments before and after the present one that undo and redo lead to, and all others."""

    bench: Workbench
    first: Network
    past: list
    future: list
    marks: list

    def record(self):
        self.past.append(moment(self.bench))
        self.future.clear()
        self.marks.append((self.bench.mark(), self.past[:]))


class EditingMachine(RuleBasedStateMachine):
    """Networks under edit on several branches."""

    @initialize(network=networks(), kind=st.sampled_from(sorted(OPTIMIZERS)))
    def start(self, network, kind):
        bench = Workbench(network, over(OPTIMIZERS[kind]))
        self.lines = [Line(bench, network, [moment(bench)], [], [(bench.mark(), [moment(bench)])])]
        self.line = self.lines[0]

    @property
    def network(self):
        return self.line.bench.network

    def apply(self, edit, preserves=None):
        note(edit.words)
        if check_laws(self.network, edit, preserves):
            self.line.bench.apply(edit)
            self.line.record()
        event("applied")

    @rule(kind=st.sampled_from(sorted(EDIT_CASES, key=lambda kind: kind.__name__)), data=st.data())
    def edit(self, kind, data):
        self.apply(data.draw(edits_for(self.network, (kind,))))

    @precondition(lambda self: self.network.unit_count < WIDEST)
    @rule(recipe=st.sampled_from(sorted(RECIPE_CASES, key=lambda recipe: recipe.__name__)), seed=SEEDS, data=st.data())
    def recipe(self, recipe, seed, data):
        name, rng = recipe.__name__, np.random.default_rng(seed)
        edit = unless_refused(lambda: RECIPE_CASES[recipe](data.draw, self.network, rng))
        if edit is not None:
            event(name)
            self.apply(edit, PRESERVING.get(name))

    @precondition(lambda self: len(self.line.past) > 1)
    @rule()
    def undo(self):
        self.line.bench.undo()
        self.line.future.append(self.line.past.pop())

    @precondition(lambda self: self.line.future)
    @rule()
    def redo(self):
        self.line.bench.redo()
        self.line.past.append(self.line.future.pop())

    @precondition(lambda self: self.line.marks)
    @rule(place=st.integers(0, 20))
    def back_to(self, place):
        """Any moment on any branch, also one that an edit after an undo left aside."""
        mark, past = self.line.marks[place % len(self.line.marks)]
        self.line.bench.back_to(mark)
        self.line.past, self.line.future = past[:], []

    @rule()
    def forget(self):
        """The present moment is the first from here on."""
        line = self.line
        line.bench.forget(line.bench.mark())
        line.first, line.past, line.future, line.marks = self.network, line.past[-1:], [], []

    @rule()
    def branch(self):
        """What the other branches do from here on is not seen here."""
        now = self.line
        line = Line(now.bench.branch(), now.first, now.past[:], now.future[:], now.marks[:])
        self.lines = [*self.lines[-2:], line]
        self.line = line

    @rule(place=st.integers(0, 2))
    def go_to(self, place):
        self.line = self.lines[place % len(self.lines)]

    @rule()
    def save_and_load(self):
        """A snapshot, and the journal replayed from the start."""
        assert from_bytes(to_bytes(self.network)) == self.network
        read = [EDIT.validate_json(EDIT.dump_json(edit)) for edit in self.line.bench.history]
        assert Editor(self.line.first).replay(read) == self.network

    @rule(seed=SEEDS)
    def lower_and_compare(self, seed):
        network, inputs = self.network, inputs_for(self.network, 2, np.random.default_rng(seed))
        expected = forward(network, inputs)
        doubles = {name: values.astype(np.float64) for name, values in inputs.items()}
        for name, got in results(lower(network).double(), network, doubles).items():
            close(got, expected[name], tolerance=1e-8)

    @rule(seed=SEEDS)
    def train_a_step(self, seed):
        bench, inputs = self.line.bench, inputs_for(self.network, 4, np.random.default_rng(seed))
        without_dropout(bench.module)
        train(bench.module, bench.optimizer, self.network, inputs, 1)
        try:
            bench.take_in()
            self.line.record()
        except LoweringError:  # the step went to infinity
            bench.undo()

    @invariant()
    def every_line_is_where_its_history_leads(self):
        for line in self.lines:
            digest, state = moment(line.bench)
            assert digest == line.past[-1][0]
            assert state.same(line.past[-1][1])
            assert len(line.bench.history) == len(line.past) - 1


@pytest.mark.parametrize(
    "sequences",
    [
        pytest.param(30, id="few"),
        pytest.param(10_000, marks=pytest.mark.slow),
        pytest.param(100_000, marks=[pytest.mark.slow, pytest.mark.nightly]),
    ],
)
def test_every_law_holds_along_any_sequence(sequences):
    few = sequences == 30
    chosen = quick(sequences) if few else settings(quick(), max_examples=sequences, derandomize=False)
    run_state_machine_as_test(EditingMachine, settings=settings(chosen, stateful_step_count=STEPS))

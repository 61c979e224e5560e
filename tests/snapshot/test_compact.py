"""The form of edits in a journal: it says each edit exactly, in one way, in few bytes and with bounds."""

import base64
import hashlib
import json
import math
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.edits import EDIT, AddProjection, AddUnits, Batch, SetMask
from nestgraph.edits.layers import Block
from nestgraph.errors import EditError, NestgraphError, SnapshotError
from nestgraph.policies import ConnectionGrowth, Evidence, MagnitudePruning, NeuronGrowth
from nestgraph.seeds import lenet_300_100
from nestgraph.snapshot import LIMITS, JournalEntry, Limits, Proposal
from nestgraph.snapshot.compact import compact
from nestgraph.snapshot.journal_entry import JournalStep, read_entry
from nestgraph.snapshot.packing import read_places, write_places
from nestgraph.spec import Dense
from tests.laws import quick
from tests.snapshot.test_journal import spelled
from tests.strategies import edits_for, networks
from tests.strategies.networks import EVERY

EXAMPLE = Path(__file__).parent / "examples" / "v2-journal.jsonl"
NO_DIGEST = "0" * 64
PRUNED, WOKEN = 4, 10
"""The most bytes of a connection in a journal."""


def line_of(edit):
    step = JournalStep(sequence=1, action="apply", edit=edit, digest=NO_DIGEST)
    return JournalEntry.of(step).model_dump_json().encode() + b"\n"


def read(line, limits=LIMITS):
    return read_entry(line, 1, "journal.jsonl", limits)


def masked(entries, active, weights):
    return SetMask(
        projection="l0_to_l1",
        entries=np.array(entries, np.int64),
        active=np.array(active, bool),
        weights=np.array(weights, np.float32),
    )


# -- exact ---------------------------------------------------------------------------------------------------


@quick(30)
@given(st.data())
def test_each_edit_is_read_as_it_was_and_written_in_the_same_bytes(data):
    network = data.draw(networks(EVERY))
    edit = data.draw(edits_for(network))
    with suppress(EditError):  # it would break a law
        edit = Batch(edits=(Batch(edits=(edit,), title="inner"), edit.apply(network).inverse), title="outer")
    line = line_of(edit)
    entry = read(line)
    assert EDIT.dump_json(entry.edit) == EDIT.dump_json(edit)
    assert entry.model_dump_json().encode() + b"\n" == line
    proposal = Proposal(policy="mine", scale=0.5, edit=Batch(edits=(edit,), title="what is proposed"))
    assert Proposal.model_validate_json(proposal.model_dump_json()) == proposal


@given(st.lists(st.one_of(st.integers(0, 300), st.integers(0, 2**53 - 1)), min_size=1, max_size=40, unique=True))
def test_places_are_read_as_they_were_and_each_has_as_many_bytes_as_its_step_needs(places):
    array = np.array(sorted(places), np.int64)
    text = write_places(array)
    assert read_places(text).tolist() == sorted(places)
    steps = np.diff(array, prepend=-1) - 1
    assert len(base64.b64decode(text)) == sum(max(1, -(-int(step).bit_length() // 7)) for step in steps)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\x80", "does not end"),
        (b"\x05\x80", "does not end"),
        (b"\x80\x00", "as few bytes as it needs"),
        (b"\x81\x80\x00", "as few bytes as it needs"),
        (b"\xff" * 8 + b"\x01", "up to 8 bytes each"),
        (b"\xff" * 7 + b"\x7f", r"below 2\*\*53"),
        ((b"\xff" * 7 + b"\x0f") * 300, r"below 2\*\*53"),
    ],
)
def test_places_have_one_spelling(data, reason):
    with pytest.raises(ValueError, match=reason):
        read_places(base64.b64encode(data).decode())


@pytest.mark.parametrize("text", ["", "AA", "AA=", "AB==", "A!==", "AA==\n", "\u00e9\u00e9==", 5, None, ["AA=="]])
def test_places_are_base64_with_padding_and_nothing_else(text):
    with pytest.raises(ValueError, match="expected base64"):
        read_places(text)


def test_a_block_without_an_active_connection_is_told_from_one_whose_all_are():
    for mask in (np.zeros((2, 1), bool), np.ones((2, 1), bool)):
        block = Block(weight=np.zeros((2, 1), np.float32), mask=mask)
        edit = AddUnits(layer="a", ids=np.array([3]), blocks={"p": block})
        assert read(line_of(edit)).edit == edit


def steps_of(text):
    """Places by what docs/format.md says alone."""
    place, value, shift = -1, 0, 0
    for byte in base64.b64decode(text):
        value |= (byte & 127) << shift
        shift += 7
        if byte < 128:
            place += value + 1
            yield place
            value = shift = 0


def test_the_page_says_how_a_line_is_read():
    connections = {}
    for line in EXAMPLE.read_bytes().splitlines():
        body, checksum = line.split(b',"checksum":"')
        assert hashlib.sha256(body + b"}").hexdigest() == checksum.decode().removesuffix('"}')
        for one in json.loads(line).get("proposals", ()):
            for edit in one["edit"]["edits"]:
                for name, block in edit.get("blocks", {}).items():
                    live = list(steps_of(block["live"])) if "live" in block else list(range(math.prod(block["shape"])))
                    connections[name] = dict(
                        zip(live, np.frombuffer(base64.b64decode(block["weights"]), "<f4"), strict=True)
                    )
                if edit["kind"] == "compact_mask":
                    connections["pruned"] = list(steps_of(edit["pruned"]))
    assert connections == {"l0_to_l1": {0: 0.5, 2: -0.25}, "l1_to_l2": {0: 1.5}, "pruned": [5]}
    assert list(steps_of(write_places(np.array([0, 127, 128, 40_000, 2**40])))) == [0, 127, 128, 40_000, 2**40]


# -- one form ------------------------------------------------------------------------------------------------


def test_what_the_form_cannot_say_keeps_that_of_the_record():
    minus = np.array([0.0, -0.0], np.float32)
    block = Block(weight=minus.reshape(1, 2), mask=np.array([[True, False]]))
    for edit in (
        masked([3, 1], [True, False], [1.0, 0.0]),
        masked([1, 3], [True, False], [1.0, -0.0]),
        masked([1, 1], [True, True], [1.0, 1.0]),
        masked([-1], [True], [1.0]),
        masked([1], [True, True], [1.0, 1.0]),
        AddUnits(layer="l1", ids=np.array([7]), blocks={"l0_to_l1": block}),
        AddProjection(projection=Dense(source="l0", target="l2"), connections=block),
    ):
        assert compact(edit) is edit
        assert read(line_of(edit)).edit == edit
    assert not len(compact(masked([1, 3], [True, True], [0.0, 0.0])).weights)
    assert compact(masked([1, 3], [True, False], [-0.0, 0.0])).weights.tobytes() == b"\0\0\0\x80"


def test_the_form_of_other_files_is_none_of_a_journal_and_the_other_way_round():
    edit = masked([1, 3], [True, False], [1.0, 0.0])
    plain, compacted = json.loads(edit.model_dump_json()), json.loads(compact(edit).model_dump_json())
    for given_edit in (plain, {"kind": "batch", "edits": [plain]}):
        with pytest.raises(SnapshotError, match="expected the compact form of 'set_mask', got that of other files"):
            read(lined(given_edit))
    assert read(lined(compacted)).edit == edit
    with pytest.raises(NestgraphError, match="compact_mask"):
        EDIT.validate_json(json.dumps(compacted))


def lined(edit):
    """The line of an edit that is given as JSON."""
    return spelled(1, action="apply", edit=edit)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"woken": "AA==", "weights": "AACAPw==", "pruned": "AA=="}, "got one among both"),
        ({"woken": "AAA=", "weights": "AACAPw=="}, "a weight for each of 2 active connections, or none, got 1"),
        ({"woken": "AA==", "weights": "AAAAAA=="}, "expected no weights where all are 0"),
        ({"weights": "AACAPw=="}, "a weight for each of 0 active connections, or none, got 1"),
        ({"woken": "AA==", "weights": "AACAPwA="}, "numbers of 4 bytes each"),
        ({"woken": "AA==", "weights": "AADAfw=="}, "NaN or infinity"),
        ({"pruned": ""}, "where there is none the field is absent"),
        ({"pruned": "AB=="}, "unused bits are 0"),
    ],
)
def test_masks_that_are_none_are_refused(fields, reason):
    with pytest.raises(SnapshotError, match=reason):
        read(lined({"kind": "compact_mask", "projection": "p", **fields}))


@pytest.mark.parametrize(
    ("block", "reason"),
    [
        ({"shape": [1, 2], "live": "Ag==", "weights": "AACAPw=="}, "live places from 0 to 1, got 2"),
        ({"shape": [1, 1], "live": "AA==", "weights": "AACAPw=="}, "no live places where all weights are active"),
        ({"shape": [1, 2], "weights": "AACAPw=="}, "a weight for each of 2 active connections, or none, got 1"),
        (
            {"shape": [2**30, 2**30], "live": "AA==", "weights": "AACAPw=="},
            r"at most 268,435,456 weights in all blocks",
        ),
        ({"shape": [2**31]}, "less than 2147483648"),
        ({"shape": [1, -1]}, "greater than or equal to 0"),
    ],
)
def test_blocks_that_are_none_are_refused(block, reason):
    edit = {"kind": "compact_units", "layer": "l1", "ids": [7], "values": {}, "blocks": {"p": block}}
    with pytest.raises(SnapshotError, match=reason):
        read(lined(edit))


def test_the_blocks_of_a_line_are_counted_together_before_they_take_memory():
    block = {"shape": [1000, 600], "live": "AA==", "weights": "AACAPw=="}
    units = {"kind": "compact_units", "layer": "l1", "ids": [7], "values": {}, "blocks": {"p": block}}
    one, two = lined(units), lined({"kind": "batch", "edits": [units, units]})
    assert read(one, Limits(entries=600_000)).edit.blocks["p"].mask.sum() == 1
    with pytest.raises(SnapshotError, match="at most 1,000,000 weights in all blocks"):
        read(two, Limits(entries=1_000_000))


# -- few bytes -----------------------------------------------------------------------------------------------


def evidence(network, rng):
    """Numbers in the place of gradients."""
    shapes = {name: network.connection_columns(name).weight.shape for name in network.projection_names}
    return Evidence(gradients={name: rng.normal(size=shape).astype(np.float32) for name, shape in shapes.items()})


def weighted(edit, rng):
    """The edit with weights other than 0 for what it wakes."""
    if isinstance(edit, Batch):
        return edit.model_copy(update={"edits": tuple(weighted(one, rng) for one in edit.edits)})
    weights = np.where(edit.active, rng.normal(size=edit.entries.shape), 0).astype(np.float32)
    return masked(edit.entries, edit.active, weights).model_copy(update={"projection": edit.projection})


def changed(edit):
    """How many connections an edit woke and pruned; those of removed units fall with them and cost nothing."""
    woken = pruned = 0
    stack = [edit]
    while stack:
        one = stack.pop()
        stack += one.edits if isinstance(one, Batch) else ()
        if isinstance(one, SetMask):
            woken, pruned = woken + int(one.active.sum()), pruned + int((~one.active).sum())
        elif isinstance(one, AddUnits):
            woken += sum(int(block.mask.sum()) for block in one.blocks.values())
    return woken, pruned


def fixed(edit):
    """The bytes of a line whose edit is the same without connections."""
    if isinstance(edit, Batch):
        return edit.model_copy(update={"edits": tuple(fixed(one) for one in edit.edits)})
    if isinstance(edit, SetMask):
        return masked([], [], []).model_copy(update={"projection": edit.projection})
    if isinstance(edit, AddUnits):
        blocks = {name: Block(weight=np.zeros((0,)), mask=np.zeros((0,), bool)) for name in edit.blocks}
        return edit.model_copy(update={"blocks": blocks})
    return edit


@pytest.mark.parametrize("share", [0.002, 0.1, 0.5])
@pytest.mark.parametrize("density", [0.05, 1.0])
def test_a_pruned_connection_costs_at_most_4_bytes(density, share):
    network = lenet_300_100(density=density, seed=0)
    edit = MagnitudePruning(fraction=share, scope="global").propose(network, Evidence(), np.random.default_rng(0))
    woken, pruned = changed(edit)
    assert not woken
    assert pruned > 10
    costs = len(line_of(edit)) - len(line_of(fixed(edit)))
    assert costs <= PRUNED * pruned + 3 * 16  # the names of the three fields


@pytest.mark.parametrize("share", [0.002, 0.1, 0.5])
@pytest.mark.parametrize("density", [0.05, 0.3])
def test_a_woken_connection_costs_at_most_10_bytes(density, share):
    network, rng = lenet_300_100(density=density, seed=0), np.random.default_rng(0)
    edit = weighted(ConnectionGrowth(fraction=share).propose(network, evidence(network, rng), rng), rng)
    woken, pruned = changed(edit)
    assert not pruned
    assert woken > 10
    costs = len(line_of(edit)) - len(line_of(fixed(edit)))
    assert costs <= WOKEN * woken + 3 * 32


def test_a_connection_of_a_new_neuron_costs_at_most_10_bytes():
    network, rng = lenet_300_100(density=0.1, seed=0), np.random.default_rng(0)
    bridges = {
        name: rng.normal(size=shape).astype(np.float32) for name, shape in (("fc1", (100, 784)), ("fc2", (10, 300)))
    }
    edit = NeuronGrowth(units=3, beta=0.001).propose(network, Evidence(bridges=bridges), rng)
    woken, _ = changed(edit)
    assert woken > 100
    costs = len(line_of(edit)) - len(line_of(fixed(edit)))
    assert costs <= WOKEN * woken + 12 * 32

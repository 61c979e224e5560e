"""Recipe functions and their ways back, when they are exact, and what they say where they do not fit."""

from functools import partial

import numpy as np
import pytest
from hypothesis import assume, event, given
from hypothesis import strategies as st

import nestgraph as ng
from nestgraph.edits import (
    AddLayer,
    AddProjection,
    Batch,
    Block,
    RemoveProjection,
    bypass_layer,
    deepen,
    fold_batch_norm,
    insert_batch_norm,
    insert_skip,
    merge_twins,
    remove_projection,
    remove_units,
    replace_activation,
    restore_inputs,
)
from nestgraph.errors import EditError
from nestgraph.graph import Network
from nestgraph.graph.geometry import output_size
from nestgraph.spec import Activation, Argument, BatchNorm, Conv, Dense, Layer, OneToOne, ParametricReLU
from tests.edits.test_coupling import stream
from tests.edits.test_islands import chain, everywhere_the_same
from tests.edits.test_refusals import small_network
from tests.laws import assert_same_outputs, check_laws, quick, unless_refused
from tests.strategies import networks
from tests.strategies.recipes import some_layer


@quick(40)
@given(network=networks(), data=st.data())
def test_bypassing_takes_back_deepening(network, data):
    layer = some_layer(data.draw, network)
    edit = unless_refused(lambda: deepen(network, layer, "deeper", exact=False))
    assume(edit)
    deeper = edit.apply(network).network
    assume(len(deeper.units("deeper")) == len(network.units(layer)))  # else some are read by their neighbours alone
    assume(not any(p.name in network.tied for p in network.outgoing(layer)))  # whose bypass asks for an own table
    back = unless_refused(lambda: bypass_layer(deeper, "deeper"))
    assert (back is None) == any(map(partial(is_no_product, network), network.outgoing(layer)))
    assume(back)
    assert check_laws(deeper, back).network == network


def is_no_product(network, projection):
    """Whether it and a dense one before it make none: a gate, a match, an argument, or links that flatten maps."""
    if isinstance(projection, Argument) or projection.gates or projection.matches:
        return True
    links = isinstance(projection, OneToOne) and projection.kernel is None
    return links and output_size(network.layer(projection.source)) != network.layer(projection.target).size


def test_bypassing_a_layer_of_depthwise_identities_leaves_the_kernels_behind_it():
    network = ng.seeds.lenet_5(seed=1)
    columns, maps = network.connection_columns("conv1_to_conv2"), network.units("conv1")
    size, middle = output_size(network.layer("conv1")), np.zeros((len(maps), 3, 3), np.float32)
    middle[:, 1, 1] = 1
    record = OneToOne(source="conv1", target="same", kernel=(3, 3), padding=(1, 1))
    onward = network.projection("conv1_to_conv2").model_copy(update={"source": "same", "name": "same_to_conv2"})
    edits = [
        AddLayer(layer=Layer(name="same", kind="feature_maps", size=size, bias=False), ids=maps),
        AddProjection(
            projection=record,
            connections=Block(weight=middle, mask=middle != 0, links=np.stack([maps, maps], 1)),
        ),
        AddProjection(projection=onward, connections=Block.of(columns)),
        RemoveProjection(projection="conv1_to_conv2"),
    ]
    longer = Batch(edits=tuple(edits)).apply(network).network
    assert_same_outputs(network, longer, 1e-12)
    back = bypass_layer(longer, "same").apply(longer).network
    (record,) = back.incoming("conv2")
    assert record.kernel == onward.kernel
    np.testing.assert_array_equal(back.connection_columns(record.name).weight, columns.weight)
    assert_same_outputs(network, back, 1e-12)


@quick(80)
@given(network=networks(), data=st.data())
def test_bypassing_a_linear_layer_leaves_the_function(network, data):
    assume(everywhere_the_same(network))
    layer = some_layer(data.draw, network)
    linear = unless_refused(lambda: replace_activation(network, layer, None).apply(network).network)
    assume(linear)
    edit = unless_refused(lambda: bypass_layer(linear, layer))
    assume(edit)
    kinds = [{p.kind for p in side} for side in (linear.incoming(layer), linear.outgoing(layer))]
    event(f"{' and '.join(sorted(kinds[0]))} before {' and '.join(sorted(kinds[1]))}")
    assert check_laws(linear, edit, preserves=1e-4)


@quick(40)
@given(network=networks(), data=st.data())
def test_removing_a_skip_takes_back_its_insertion(network, data):
    names = network.layer_names
    source = data.draw(st.sampled_from(names[:-1]))
    target = data.draw(st.sampled_from(names[names.index(source) + 1 :]))
    edit = unless_refused(lambda: insert_skip(network, source, target, data.draw(st.booleans()), "past"))
    assume(edit)
    event(edit.edits[0].projection.kind)
    joined = edit.apply(network).network
    assert remove_projection(joined, "past").apply(joined).network == network


@quick(40)
@given(network=networks(), data=st.data())
def test_folding_takes_back_an_inserted_batch_normalisation(network, data):
    layer = some_layer(data.draw, network)
    edit = unless_refused(lambda: insert_batch_norm(network, layer))
    assume(edit)
    normalised = edit.apply(network).network
    assert "gamma" in normalised.layer(layer).column_names
    folded = unless_refused(lambda: fold_batch_norm(normalised, layer).apply(normalised).network)
    assume(folded)  # else a fixed skip cannot be scaled
    assert folded.layer(layer).operations == network.layer(layer).operations
    assert_same_outputs(network, folded, 1e-5)


@quick(30)
@given(network=networks(), data=st.data())
def test_restored_inputs_are_back_in_their_places(network, data):
    layer = data.draw(st.sampled_from([name for name in network.input_names if len(network.units(name))]))
    assume((np.diff(network.units(layer)) > 0).all())
    gone = data.draw(st.sampled_from(network.units(layer).tolist()))
    smaller = unless_refused(lambda: remove_units(network, layer, [gone]).apply(network).network)
    assume(smaller and smaller.has_layer(layer))
    edit = unless_refused(lambda: restore_inputs(smaller, layer, [gone]))
    assume(edit)  # else one-to-one projections alone read it
    restored = check_laws(smaller, edit, preserves=1e-12).network
    assert restored.units(layer).tolist() == sorted([gone, *smaller.units(layer).tolist()])


@pytest.mark.parametrize(("old", "new", "slope"), [("relu", "leaky_relu", 0.0), (None, "leaky_relu", 1.0)])
@quick(10)
@given(network=networks(), data=st.data())
def test_an_activation_can_be_exchanged_for_the_same_function(old, new, slope, network, data):
    layer = some_layer(data.draw, network)
    assume(not any(isinstance(operation, ParametricReLU) for operation in network.layer(layer).operations))
    has = network.layer(layer).activation
    held = (has.function if has else None) == old
    start = network if held else unless_refused(lambda: replace_activation(network, layer, old).apply(network).network)
    assume(start)
    for structure, function in ((start, new), (replace_activation(start, layer, new, slope).apply(start).network, old)):
        edit = replace_activation(structure, layer, function, slope)
        assert check_laws(structure, edit, preserves=0.0)


def test_a_missing_activation_goes_between_normalisation_and_what_follows():
    network = small_network()
    normalised = insert_batch_norm(network, "c").apply(network).network
    after = replace_activation(normalised, "c", "tanh").apply(normalised).network
    assert after.layer("c").operations == (BatchNorm(), Activation(function="tanh"))


def test_kernels_of_a_deeper_layer_are_open_around_their_middle():
    network = chain(padding=0)
    after = check_laws(network, deepen(network, "a", "deeper", kernel=(3, 5)), preserves=0.0).network
    columns = after.connection_columns("a_to_deeper")
    assert columns.weight.shape == (2, 2, 3, 5)
    assert np.argwhere(columns.mask).tolist() == [[0, 0, 1, 2], [1, 1, 1, 2]]


@pytest.mark.parametrize(
    ("ends", "one_to_one", "kind", "shape"),
    [
        (("x", "d"), False, Conv, (3, 2, 1, 1)),
        (("x", "d"), True, OneToOne, (2, 1, 1)),
        (("c", "d"), True, OneToOne, (3,)),
        (("x", "y"), False, Dense, (2, 2, 4, 4)),
    ],
)
def test_a_skip_takes_the_form_that_its_ends_have(ends, one_to_one, kind, shape):
    network = small_network()
    after = check_laws(network, insert_skip(network, *ends, one_to_one=one_to_one), preserves=0.0).network
    (name,) = set(after.projection_names) - set(network.projection_names)
    assert type(after.projection(name)) is kind
    assert after.connection_columns(name).weight.shape == shape


def second_way(network):
    """The network with a second convolution from a to b, of 1 x 1."""
    projection = Conv(source="a", target="b", name="second", kernel=(3, 3))
    block = Block(weight=np.ones((1, 2, 3, 3), np.float32), mask=np.ones((1, 2, 3, 3), bool))
    return AddProjection(projection=projection, connections=block).apply(network).network


def test_a_layer_between_several_projections_is_bypassed_by_their_products():
    network = second_way(chain(padding=0))
    after = check_laws(network, bypass_layer(network, "a")).network
    assert set(after.projection_names) == {"ab", "second", "by"}
    assert after.connection_columns("ab").weight.tolist() == np.ones((1, 2, 3, 3)).tolist()
    assert after.unit_columns("b").values["bias"].tolist() == [36.0]  # twice nine weights of 1 on two maps of bias 1


REFUSED = {
    "expected what tanh leaves as it is": lambda: deepen(stream(), "a", "new", "tanh"),
    "deepen expected function: one of ": lambda: deepen(stream(), "a", "new", "sine", exact=False),
    "expected a new name, got 'b'": lambda: deepen(stream(), "a", "b"),
    "expected a kernel of 2 odd extents, got (2, 3)": lambda: deepen(chain(0), "a", "new", kernel=(2, 3)),
    "expected no kernel between neurons, got (3, 3)": lambda: deepen(stream(), "a", "new", kernel=(3, 3)),
    "expected a layer with outgoing projections that is no output": lambda: deepen(stream(), "y", "new", None),
    "expected a target that reads and does not lead to 'b', got 'a'": lambda: insert_skip(stream(), "b", "a"),
    "got 'x'": lambda: insert_skip(stream(), "a", "x"),
    "expected maps whose size a stride makes (9, 9), got (11, 11)": lambda: insert_skip(chain(0), "x", "b"),
    "try one_to_one=False": lambda: insert_skip(chain(0), "a", "y", one_to_one=True),
    "expected a new name, got 'ab'": lambda: insert_skip(stream(), "x", "b", name="ab"),
    "no Python keyword, got 'not'": lambda: insert_skip(stream(), "x", "b", name="not"),
    "expected a hidden layer that does not pool": lambda: bypass_layer(stream(), "x"),
    "expected one of 'ab' and 'by' to be pointwise": lambda: bypass_layer(chain(0), "b"),
    "expected distinct absent features of an input layer, got [1]": lambda: restore_inputs(stream(), "x", [1]),
    "got [7]": lambda: restore_inputs(small_network(), "x", [7]),
    "got [2, 2]": lambda: restore_inputs(small_network(), "x", [2, 2]),
    "got [0.5]": lambda: restore_inputs(small_network(), "x", [0.5]),
    "absent features of an input layer, got [3]": lambda: restore_inputs(small_network(), "c", [3]),
    "expected a layer with one activation or none, got inputs": lambda: replace_activation(stream(), "x", "relu"),
    "replace_activation expected function: one of ": lambda: replace_activation(stream(), "a", "sine"),
    "expected a slope of a celu that is not 0": lambda: replace_activation(stream(), "a", "celu", 0.0),
    "got epsilon: expected greater than 0, got 0.0": lambda: insert_batch_norm(stream(), "a", epsilon=0.0),
    "without batch normalisation, got one that has a normalisation": lambda: insert_batch_norm(
        chain(0, (BatchNorm(),)), "b"
    ),
    "output unit ('y', 0) expected a path from an input": lambda: remove_projection(stream(), "by"),
}


@pytest.mark.parametrize("sentence", REFUSED)
def test_recipes_that_do_not_fit_say_why(sentence):
    with pytest.raises(EditError) as refusal:
        REFUSED[sentence]()
    assert sentence in str(refusal.value)
    assert "expected" in str(refusal.value) or "Input should be" in str(refusal.value)


def test_units_that_differ_only_in_where_their_links_lead_from_are_no_twins():
    """Two projections with the same sources: the same arrays, but not the same connections."""
    network = stream()
    assert merge_twins(network, "a").edits  # equal rows of ones
    skip = network.connection_columns("skip")
    split = [Block(weight=[1.0], mask=[True], links=[[0, unit]]) for unit in (0, 1)]
    edits = [
        AddProjection(projection=OneToOne(source=source, target="b", name=f"{source}_{unit}"), connections=split[unit])
        for unit, source in enumerate(("a", "x"))
    ]
    assert len(skip.links) == 2
    bare = remove_projection(network, "skip").apply(network).network
    for edit in edits:
        bare = edit.apply(bare).network
    assert isinstance(bare, Network)
    with pytest.raises(EditError, match="expected units that compute the same, got 2 that differ"):
        merge_twins(bare, "b")

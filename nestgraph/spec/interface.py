"""The record of a network's interface: which tensors go in and come out, in which order and form."""

import operator
from typing import Annotated

from pydantic import BeforeValidator, Field, Strict

from nestgraph.spec.extents import MAX_EXTENTS
from nestgraph.spec.limits import MAX_LAYERS, MAX_WHOLE
from nestgraph.spec.record import Extent, Name, Record, Text, absent, plain_integer

Shape = Annotated[tuple[Extent, ...], Field(max_length=8), Strict(False)]
Axis = Annotated[int, Field(gt=0, le=MAX_EXTENTS + 1), BeforeValidator(plain_integer)]
Whole = Annotated[int, Field(gt=-MAX_WHOLE, lt=MAX_WHOLE)]


def _is_first(axis: int) -> bool:
    """Whether units stand where they stand without a word: ports of before had no axis."""
    return axis == 1


class InputPort(Record):
    """A tensor that a network takes.

    Attributes:
        layer: the input layer that it goes to. One that nothing reads has no units, and takes its tensor all the same.
        axis: where the features stand among the axes of the tensor, of which the first is that of samples: 1 where it
            is (batch, features, *size), 3 where it is (batch, height, width, features). Left out at 1.
        shape: of a sample, where it is not the layer's own, (features, *size) with the features at their axis: the
            elements are the same in row-major order.
        free: for each extent of the layer's size whether samples may have another; () where all are fixed.
        integers: the least and the largest of the whole numbers that it holds, such as ids of tokens; None where it
            holds any numbers. For whoever tries the network out: nothing is refused by it.
    """

    layer: Name
    axis: Annotated[Axis, Field(exclude_if=_is_first)] = 1
    shape: Annotated[Shape | None, Field(exclude_if=absent)] = None
    free: Annotated[tuple[bool, ...], Field(max_length=8, exclude_if=operator.not_), Strict(False)] = ()
    integers: Annotated[tuple[Whole, Whole] | None, Field(exclude_if=absent), Strict(False)] = None


class OutputPort(Record):
    """A tensor that a network gives.

    Attributes:
        layer: the output layer that it comes from; several ports may give the same.
        axis: where the units stand, as of an input.
        shape: of a sample, where it is not the layer's own, (units, *size) with the units at their axis.
        label: what the tensor is called where it goes, for people; empty where the layer's label says it.
    """

    layer: Name
    axis: Annotated[Axis, Field(exclude_if=_is_first)] = 1
    shape: Annotated[Shape | None, Field(exclude_if=absent)] = None
    label: Annotated[Text, Field(exclude_if=operator.not_)] = ""


class Interface(Record):
    """All tensors that go into a network and come out of it, by position.

    Attributes:
        inputs: a port for each input layer.
        outputs: at least one port for each output layer.
    """

    inputs: Annotated[tuple[InputPort, ...], Field(max_length=MAX_LAYERS), Strict(False)]
    outputs: Annotated[tuple[OutputPort, ...], Field(max_length=MAX_LAYERS), Strict(False)]

    @property
    def plain(self) -> bool:
        """Whether it says no more than one input and one output layer say themselves."""
        if len(self.inputs) != 1 or len(self.outputs) != 1:
            return False
        (given,), (taken,) = self.inputs, self.outputs
        return given == InputPort(layer=given.layer) and taken == OutputPort(layer=taken.layer)

"""Tables whose rows ids of classes name."""

import numpy as np
from torch import Tensor

from nestgraph.graph.columns import Grid
from nestgraph.interop.elements import Elements
from nestgraph.interop.weaving import Weaver
from nestgraph.lowering.operations import UncoveredError
from nestgraph.lowering.tensors import as_array
from nestgraph.spec import Lookup


def embedding(
    weaver: Weaver,
    input: Elements,
    weight: Tensor,
    padding_idx: int | None = None,
    max_norm: float | None = None,
    norm_type: float = 2.0,  # noqa: ARG001
    scale_grad_by_freq: bool = False,
    sparse: bool = False,  # noqa: ARG001
) -> Elements:
    """`nn.Embedding` of ids that an input holds."""
    if max_norm is not None:
        raise UncoveredError("an embedding that holds its norms down as it is read")
    found = _lookup(weaver, input, weight)
    if padding_idx is not None:
        weaver.note(found, f"the row of the padding, {padding_idx}, trains as the others do")
    if scale_grad_by_freq:
        weaver.note(found, "gradients are not scaled by how often an id comes")
    return found


def _lookup(weaver: Weaver, ids: Elements, weight: Tensor) -> Elements:
    """The rows (classes, units) of a table that the ids of an input name, units along the last axis."""
    region, drafts = weaver.ledger.whole_region(ids), weaver.drafts
    record = None if region is None else drafts.layers[region.layer].record
    if record is None or record.classes is None or tuple(ids.shape[1:]) != (record.size or ()):
        raise UncoveredError("a lookup by what is no input of ids, as it came in")
    classes, units = weight.shape
    table, known = np.zeros((units, 1, record.classes), np.float32), np.zeros((units, 1, record.classes), bool)
    table[:, 0, :classes], known[:, 0, :classes] = as_array(weight).T, True
    name = weaver.layer(units, record.size or ())
    lookup = Lookup(source=record.name, target=name, frozen=weaver.is_frozen(weight))
    weaver.tables.look_up(weight, drafts.join(lookup, Grid.of(table, known)))
    found = weaver.output(name)
    return found.turned(1, found.ndim - 1)

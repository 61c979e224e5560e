"""Where units stand, looked up by id."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nestgraph.errors import StructureError
from nestgraph.graph import UnitColumns
from tests.laws import quick

IDS = st.integers(0, 12)


@quick(60)
@given(living=st.lists(IDS, unique=True), asked=st.lists(IDS, max_size=6))
def test_many_ids_are_looked_up_as_each_is(living, asked):
    columns = UnitColumns.of(np.array(living, np.int64), {})
    each = [columns.position.get(unit, -1) for unit in asked]
    assert columns.find(np.array(asked, np.int64)).tolist() == each
    if -1 not in each:
        assert columns.positions(np.array(asked, np.int64)).tolist() == each
        return
    dead = [unit for unit in asked if unit not in living][:5]
    with pytest.raises(StructureError, match="expected ids of living units, got") as refusal:
        columns.positions(np.array(asked, np.int64))
    assert str(dead) in str(refusal.value)

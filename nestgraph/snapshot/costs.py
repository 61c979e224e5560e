"""What steps of inference take on a machine, as `calibrate` measured it: one small file beside downloaded data."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, PositiveInt, TypeAdapter

from nestgraph.snapshot.disk import read_bounded, reported, shown
from nestgraph.snapshot.limits import LIMITS
from nestgraph.snapshot.strict_json import read_record
from nestgraph.spec.record import Record

Nanoseconds = Annotated[float, Field(gt=0, le=1e12)]


class Costs(Record):
    """What steps of a projection take, in nanoseconds.

    Attributes:
        call: a call of a dense matrix product.
        sweep: a call of a convolution, or one of those by which areas of pairs are computed.
        product: a call of the sparse product, of which half is finding the kernel.
        linear: a multiply-add of a dense matrix.
        kernel: a multiply-add of a convolution whose maps fill registers (`lanes` of the target, two of the source).
        lanes: how many maps of a target are computed at once.
        entry: reading an entry of a sparse matrix.
        sparse: a multiply-add of one.
        move: bringing a number to where samples are the last axis, or back.
    """

    call: Nanoseconds = 4000.0
    sweep: Nanoseconds = 5000.0
    product: Nanoseconds = 10_000.0
    linear: Nanoseconds = 0.019
    kernel: Nanoseconds = 0.011
    lanes: Annotated[int, Field(ge=1, le=1024)] = 16
    entry: Nanoseconds = 0.6
    sparse: Nanoseconds = 0.075
    move: Nanoseconds = 0.4


class ThreadCosts(Record):
    """What steps take on so many threads.

    Attributes:
        threads: of torch.
        costs: with them.
    """

    threads: PositiveInt
    costs: Costs


class Calibration(Record):
    """What was measured on a machine by `calibrate`.

    Attributes:
        format: of the file.
        version: of the format.
        torch: the version that was measured.
        measured: by how many threads.
    """

    format: Literal["nestgraph.costs"] = "nestgraph.costs"
    version: Literal[1] = 1
    torch: Annotated[str, Field(max_length=64)]
    measured: Annotated[tuple[ThreadCosts, ...], Field(min_length=1, max_length=16)]


CALIBRATION: TypeAdapter[Calibration] = TypeAdapter(Calibration)


def read_calibration(path: Path) -> Calibration | None:
    """What was measured, from its file; None where there is none.

    Raises:
        SnapshotError: it cannot be read, or is something else.
    """
    with reported(path, "read"):
        if not path.exists():
            return None
    return read_record(CALIBRATION, read_bounded(path, LIMITS.document_bytes), shown(path))

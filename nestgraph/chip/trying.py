"""A file held to the network before it is there: built and run where there is a compiler, else as its program says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.chip.bounds import bounds, deviations
from nestgraph.chip.building import outputs_of, types_of
from nestgraph.chip.emulating import emulated, numbers_of, read_as_whole
from nestgraph.chip.program import Program
from nestgraph.chip.quantising import Quantised
from nestgraph.chip.samples import expected
from nestgraph.chip.text import Text
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.spec.arrays import AnyArray

TOLERANCE = 1e-5
"""The largest difference of floats that is accepted, relative to the largest output; and beside it some of the
difference that single precision makes to the network itself."""
BESIDE = 1 + 1e-6
"""What rounding of double precision adds to bounds."""


@dataclass(frozen=True, eq=False)
class Trial:
    """What a file is tried with.

    Attributes:
        network: what it shall compute.
        what: how messages begin.
        program: from which it was written.
        text: of it.
        form: how int8 stands for numbers; None for floats.
        by: the compiler; None where there is none.
    """

    network: Network
    what: str
    program: Program
    text: Text
    form: Quantised | None
    by: str | None

    def read(self, samples: Sequence[AnyArray]) -> list[AnyArray]:
        """Samples by port as the file reads them."""
        types = types_of(self.text, self.program)
        found = samples if self.form is None else read_as_whole(self.program, self.form, samples)
        return [array.astype(kind) for array, kind in zip(found, types, strict=True)]

    def given(self, samples: Sequence[AnyArray]) -> list[AnyArray]:
        """What it gives for samples by port, both as it has them; without a compiler, what its program says of that."""
        if self.by is not None:
            return outputs_of(self.text, self.program, samples, self.by)
        if self.form is not None:
            return [array.astype(np.int16) for array in emulated(self.program, self.form, samples)]
        held = self.program.run(samples)
        return [held[value.name].astype(np.float32) for _, value in self.program.outputs]

    def outputs(self, samples: Sequence[AnyArray]) -> list[AnyArray]:
        """What the file gives for samples by port, as numbers, by port."""
        found = self.given(self.read(samples))
        if self.form is None:
            return found
        return numbers_of(self.program, self.form, found)

    def difference(self, samples: Sequence[AnyArray]) -> float | None:
        """The largest difference from the network's outputs, relative to the largest.

        None where they are not finite, or nothing is to be compared as the network itself leaves what single precision
        can hold.

        Raises:
            ExportError: it is more than is accepted: of floats for rounding; of int8 by its bound, or what is given is
                not what its arithmetic says.
        """
        exact = expected(self.network, samples)
        if not _finite(exact):
            return None
        got = [array.reshape(values.shape) for array, values in zip(self.outputs(samples), exact, strict=True)]
        largest = [max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny)) for values in exact]
        apart = [float(np.abs(one - values).max()) for one, values in zip(got, exact, strict=True)]
        allowed = [TOLERANCE * most for most in largest]
        if self.form is not None:
            self._check_whole(self.form, samples, exact, got)
        elif not all(one <= most for one, most in zip(apart, allowed, strict=True)):
            single = expected(self.network, samples, np.float32)
            if not _finite(single):
                return None
            for place, (values, rounded) in enumerate(zip(exact, single, strict=True)):
                allowed[place] += 10 * float(np.abs(rounded - values).max())
                if not apart[place] <= allowed[place]:
                    raise self._refused(place, allowed[place], apart[place])
        return max(one / most for one, most in zip(apart, largest, strict=True))

    def _check_whole(
        self, form: Quantised, samples: Sequence[AnyArray], exact: list[AnyArray], got: list[AnyArray]
    ) -> None:
        """Hold int8 to its arithmetic, whatever the samples, and to its bound, for those by which scales were found."""
        said = numbers_of(self.program, form, emulated(self.program, form, self.read(samples)))
        allowed = zip(deviations(self.program, form), bounds(self.program, form), strict=True)
        for place, (values, array, own, most) in enumerate(zip(exact, got, said, allowed, strict=True)):
            for other, bound in zip((own.reshape(array.shape), values), most, strict=True):
                apart = float(np.abs(array - other).max())
                if not apart <= bound * BESIDE:
                    raise self._refused(place, bound, apart)

    def _refused(self, place: int, allowed: float, apart: float) -> ExportError:
        return ExportError(
            f"{self.what}: expected output {place} within {allowed:.2g} of what it is to be, got a difference of "
            f"{apart:.2g}: nothing was written; please report it, and choose another format meanwhile"
        )


def _finite(arrays: Sequence[AnyArray]) -> bool:
    return all(np.isfinite(array).all() for array in arrays)

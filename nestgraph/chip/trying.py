"""A file held to the network before it is there: built and run where there is a compiler, else as its program says."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nestgraph.chip.building import outputs_of, types_of
from nestgraph.chip.program import Program
from nestgraph.chip.quantising import Quantised, simulated
from nestgraph.chip.samples import expected
from nestgraph.chip.text import Text
from nestgraph.errors import ExportError
from nestgraph.graph import Network
from nestgraph.spec.arrays import AnyArray

TOLERANCE = 1e-5
"""The largest difference of floats that is accepted, relative to the largest output; and beside it some of the
difference that single precision makes to the network itself."""
STEPS = 2
"""Most samples of int8 are within so many steps of what its arithmetic is, as numbers that lie between two are rounded
either way."""


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
        found: list[AnyArray] = []
        for array, (_, value), kind in zip(
            samples, self.program.inputs, types_of(self.text, self.program), strict=True
        ):
            whole = self.form is not None and value.classes is None
            found.append((self.form.scales[value.name].of(array) if self.form and whole else array).astype(kind))
        return found

    def given(self, samples: Sequence[AnyArray]) -> list[AnyArray]:
        """What it gives for samples by port, both as it has them; without a compiler, what its program says of that."""
        if self.by is not None:
            return outputs_of(self.text, self.program, samples, self.by)
        if self.form is None:
            held = self.program.run(samples)
            return [held[value.name].astype(np.float32) for _, value in self.program.outputs]
        numbers: list[AnyArray] = []
        for array, (_, value) in zip(samples, self.program.inputs, strict=True):
            wide = array.astype(np.float64)
            scale = None if value.classes is not None else self.form.scales[value.name]
            numbers.append(wide if scale is None else (wide - scale.zero) * scale.step)
        outputs = simulated(self.program, self.form, numbers)
        scales = [self.form.given(value) for _, value in self.program.outputs]
        return [
            np.clip(np.floor(array / step + zero + 0.5), -(2**15), 2**15 - 1).astype(np.int16)
            for array, (step, zero) in zip(outputs, scales, strict=True)
        ]

    def outputs(self, samples: Sequence[AnyArray]) -> list[AnyArray]:
        """What the file gives for samples by port, as numbers, by port."""
        found = self.given(self.read(samples))
        if self.form is None:
            return found
        scales = [self.form.given(value) for _, value in self.program.outputs]
        return [(array.astype(np.float64) - zero) * step for array, (step, zero) in zip(found, scales, strict=True)]

    def difference(self, samples: Sequence[AnyArray]) -> float | None:
        """The largest difference from the network's outputs, relative to the largest; None where they are not finite.

        Raises:
            ExportError: it is more than is accepted: of floats for rounding, of int8 for its arithmetic.
        """
        exact = expected(self.network, samples)
        if not all(np.isfinite(values).all() for values in exact):
            return None
        got = [array.reshape(values.shape) for array, values in zip(self.outputs(samples), exact, strict=True)]
        self._check(samples, exact, got)
        return max(
            float(np.abs(one - values).max()) / max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny))
            for one, values in zip(got, exact, strict=True)
        )

    def _check(self, samples: Sequence[AnyArray], exact: list[AnyArray], got: list[AnyArray]) -> None:
        if self.form is not None:
            self._check_bytes(samples, got)
            return
        single: list[AnyArray] = []
        for place, (values, array) in enumerate(zip(exact, got, strict=True)):
            allowed = TOLERANCE * max(float(np.abs(values).max()), float(np.finfo(np.float32).tiny))
            apart = float(np.abs(array - values).max())
            if apart > allowed:
                single = single or expected(self.network, samples, np.float32)
                allowed += 10 * float(np.abs(single[place] - values).max())
            if not apart <= allowed:
                raise self._refused(place, allowed, apart)

    def _check_bytes(self, samples: Sequence[AnyArray], got: list[AnyArray]) -> None:
        if self.by is None or self.form is None:
            return
        pairs = zip(simulated(self.program, self.form, samples), got, self.program.outputs, strict=True)
        for place, (values, array, (_, value)) in enumerate(pairs):
            step = max(self.form.given(value)[0], float(np.abs(values).max()) / 127)
            apart = float(np.median(np.abs(array - values.reshape(array.shape)).reshape(len(array), -1).max(axis=1)))
            if not apart <= STEPS * step:
                raise self._refused(place, STEPS * step, apart)

    def _refused(self, place: int, allowed: float, apart: float) -> ExportError:
        return ExportError(
            f"{self.what}: expected output {place} within {allowed:.2g} of what it is to be, got a difference of "
            f"{apart:.2g}: nothing was written; please report it, and choose another format meanwhile"
        )

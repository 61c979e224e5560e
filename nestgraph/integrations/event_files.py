"""TensorBoard event files of a run, written as it goes where someone asks for them.

They hold times and the name of the machine, so unlike the other files of a run they are not the same bytes when it is
done again, and nothing reads them back.
"""

import importlib.util
import os
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from nestgraph.errors import TrainingError
from nestgraph.runs.run import Measurement
from nestgraph.runs.run_files import EVENT_SUFFIX, EVENTS
from nestgraph.spec.arguments import checked

if TYPE_CHECKING:
    from torch.utils.tensorboard.writer import SummaryWriter

Observer = Callable[[Measurement, float | None], None]


class EventFiles:
    """An observer for `synthesize(progress=...)` that writes each measurement for TensorBoard: `tensorboard --logdir`.

    Attributes:
        path: the folder that gets the files.
    """

    @checked(TrainingError)
    def __init__(self, folder: str | os.PathLike[str], then: Observer | None = None) -> None:
        """Nothing is written before the first measurement.

        Args:
            folder: of the run.
            then: another observer, which is told first.

        Raises:
            TrainingError: the package tensorboard is missing.
        """
        if importlib.util.find_spec("tensorboard") is None:
            raise TrainingError(
                "event files for TensorBoard expected the package tensorboard, got none of that name: "
                "pip install 'nestgraph[tensorboard]'"
            )
        self.path, self._then = Path(folder) / EVENTS, then
        self._writer: SummaryWriter | None = None
        self._failed = False

    def __call__(self, row: Measurement, remaining: float | None = None) -> None:
        """Take in a measurement. Files that cannot be written do not end the run."""
        if self._then:
            self._then(row, remaining)
        if self._failed:
            return
        try:
            self._write(row)
        except OSError as error:
            self._failed = True
            reason = error.strerror or str(error)
            warnings.warn(f"{self.path}: cannot be written ({reason}): the run goes on without it", stacklevel=2)

    def _write(self, row: Measurement) -> None:
        """Write one row, at once: a run that is killed and resumed then lacks none."""
        from torch.utils.tensorboard.writer import SummaryWriter  # lazy: reading run folders does without torch

        if self._writer is None:  # what an interrupted run wrote of this step and later ones, it does again
            self._writer = SummaryWriter(str(self.path), purge_step=row.step, filename_suffix=EVENT_SUFFIX)
        for tag, value in scalars(row).items():
            self._writer.add_scalar(tag, value, row.step)
        self._writer.add_text("phase", row.phase, row.step)
        self._writer.flush()

    def close(self) -> None:
        """Close the file, if there is one."""
        if self._writer and not self._failed:
            self._writer.close()


def scalars(row: Measurement) -> dict[str, float]:
    """The numbers of a row by their tags; whether the step was kept is 1 or 0."""
    sizes = {"connections": row.connections, "units": row.units, "parameters": row.parameters, "flops": row.flops}
    return {
        **{f"size/{name}": count for name, count in sizes.items() if count is not None},
        "validation/accuracy": row.accuracy,
        "validation/loss": row.loss,
        "accepted": float(row.accepted),
    }

"""The processes of a run: one that is alone, or several that `torchrun` or a script started, each with a number.

All of them go through the same steps of a run. What only one of them may do, or what each would do otherwise, is asked
of the first, and they agree on numbers, signals and networks here.
"""

import atexit
import gc
import os
import warnings
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from datetime import timedelta
from typing import Any, TypeVar, cast

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

import nestgraph.errors
from nestgraph.data.share import WHOLE, Share
from nestgraph.errors import NestgraphError, ProcessError
from nestgraph.parallel.reduced import reduce_statistics
from nestgraph.runs import interruption
from nestgraph.spec.randomness import derived_seed
from nestgraph.spec.record import as_text

Given = TypeVar("Given")
TIMEOUT = "NESTGRAPH_TIMEOUT"
"""The variable of the environment with the seconds that a process waits for the others; 600 without."""
REMEDY = "look at what the others said, start all again, and `resume` goes on from the last point"


class Ranks:
    """The processes of a run, seen from one of them.

    Attributes:
        share: of each batch that this process has: its number and how many there are.
        launched: whether they were started together, be it one alone: then batches and how they are varied are drawn by
            seeds, and not by torch's global generator, so that all draw the same.
    """

    def __init__(self, share: Share = WHOLE, launched: bool = False, control: Any = None) -> None:
        """Those of torch's process group that is there.

        Args:
            share: see `Ranks`.
            launched: see `Ranks`.
            control: the group on which they agree; by default the one on which they compute.
        """
        self.share, self.launched, self._control = share, launched, control

    @property
    def count(self) -> int:
        """How many there are."""
        return self.share.count

    @property
    def leads(self) -> bool:
        """Whether this is the first, which alone writes and shows anything."""
        return self.share.number == 0

    @property
    def several(self) -> bool:
        """Whether there are others."""
        return self.count > 1

    def device(self, name: str) -> str:
        """The device of this process, where all are to compute on "cuda": each has its own."""
        local = os.environ.get("LOCAL_RANK", "")
        return f"cuda:{local}" if self.launched and name == "cuda" and local.isdecimal() else name

    def own_seed(self, seed: int) -> int:
        """A seed of what each process draws for itself, such as dropout."""
        return derived_seed(seed, "process", self.share.number) if self.launched else seed

    # -- what one says to the others -----------------------------------------------------------------

    def led(self, make: Callable[[], Given]) -> Given:
        """What a function gives in the first process, in all of them; it is called there only.

        Raises:
            NestgraphError: that function raised it.
            ProcessError: it raised anything else, in the other processes.
        """
        if not self.several:
            return make()
        told: list[Any] = [None]
        problem: Exception | None = None
        if self.leads:
            try:
                told = [(make(), (), "")]
            except Exception as error:
                told, problem = [(None, [kind.__name__ for kind in type(error).__mro__], str(error))], error
        mine = told[0]
        self._watched(lambda: distributed.broadcast_object_list(told, src=0, group=self._control))
        if problem is not None:
            raise problem
        value, kinds, text = mine if self.leads else told[0]
        if kinds:
            raise _raised(kinds, text)
        return cast(Given, value)

    def gathered(self, value: Given) -> list[Given]:
        """What each process has, in their order; one's own is the object itself."""
        if not self.several:
            return [value]
        told: list[Any] = [None] * self.count
        self._watched(lambda: distributed.all_gather_object(told, value, group=self._control))
        told[self.share.number] = value
        return told

    # -- numbers -------------------------------------------------------------------------------------

    def sum_up(self, tensors: Iterable[Tensor]) -> None:
        """Add up tensors over all processes, in place, each as all have it at its place in the order."""
        if self.several:
            work: list[Any] = [distributed.all_reduce(tensor, async_op=True) for tensor in tensors]
            self._watched(lambda: [one.wait() for one in work])

    def mean(self, number: float) -> float:
        """The mean of a number over all processes."""
        return sum(self.gathered(number)) / self.count

    def meet(self, number: float) -> float:
        """The sum of a number over all processes, and the place where they hear of signals that came to one of them."""
        if not self.several:
            return number
        told = torch.zeros(1 + len(interruption.NUMBERS), dtype=torch.float64)
        told[0] = number
        if (noted := interruption.noted()) is not None:
            told[1 + interruption.NUMBERS.index(noted)] = 1
        self._watched(lambda: cast(Any, distributed).all_reduce(told, group=self._control))
        for place, signal in enumerate(interruption.NUMBERS):
            if told[1 + place]:
                interruption.agree(signal)
        return float(told[0])

    # -- training ------------------------------------------------------------------------------------

    def wrapped(self, module: nn.Module, whole: bool = True) -> nn.Module:
        """A module that is called in the place of one, so that gradients are means over all processes.

        Batch normalisation in it takes its statistics from all samples.

        Args:
            module: it is trained, and stays the one whose parameters they are.
            whole: whether each parameter has a part in each output.
        """
        if not self.several:
            return module
        reduce_statistics(module)
        trained = [parameter for parameter in module.parameters() if parameter.requires_grad]
        if not trained:
            return module
        with warnings.catch_warnings():  # of an option whose successor sends all buffers around
            warnings.simplefilter("ignore", FutureWarning)
            return self._watched(
                lambda: DistributedDataParallel(
                    module, broadcast_buffers=False, init_sync=False, find_unused_parameters=not whole
                )
            )

    def apart(self, module: nn.Module) -> AbstractContextManager[Any]:
        """A context in which gradients of a wrapped module stay with each process, to be added up later."""
        return module.no_sync() if isinstance(module, DistributedDataParallel) else nullcontext()

    # -- trouble -------------------------------------------------------------------------------------

    @contextmanager
    def together(self) -> Generator[None]:
        """Inside, signals count when all have heard of them, and a process that ends does not leave the others waiting.

        Raises:
            ProcessError: one ended, or did not answer in time.
        """
        if not self.several:
            yield
            return
        with interruption.agreeing(), warnings.catch_warnings():
            warnings.filterwarnings(
                "ignore", "Grad strides do not match"
            )  # of maps in another layout, which are copied
            try:
                yield
            except RuntimeError as error:
                if not _is_of_processes(error):
                    raise
                raise self._lost(error) from error

    def _watched(self, work: Callable[[], Given]) -> Given:
        try:
            return work()
        except RuntimeError as error:
            raise self._lost(error) from error

    def _lost(self, error: RuntimeError) -> ProcessError:
        me = f"process {self.share.number} of {self.count}"
        return ProcessError(f"{me}: expected the others to answer, got {as_text(str(error)):.200}: {REMEDY}")


def _is_of_processes(error: RuntimeError) -> bool:
    """Whether an error of torch says that processes do not reach each other; gloo has no class for that."""
    return isinstance(error, distributed.DistError) or "gloo" in str(error)


ALONE = Ranks()
"""A process that has no others."""


def joined() -> Ranks:
    """The processes that were started with this one by `torchrun` or the like; `ALONE` where none were.

    Where torch's process group is there, it is taken; else it is made, on gloo for the CPU and on NCCL for CUDA.

    Raises:
        ProcessError: the others do not answer, or `TIMEOUT` is no number of seconds.
    """
    started = os.environ.get("RANK", "").isdecimal() and os.environ.get("WORLD_SIZE", "").isdecimal()
    if not distributed.is_available() or not (started or distributed.is_initialized()):
        return ALONE
    if not distributed.is_initialized() and int(os.environ["WORLD_SIZE"]) > 1:
        _meet_the_others()
    if not distributed.is_initialized():
        return Ranks(launched=True)
    share = Share(distributed.get_rank(), distributed.get_world_size())
    control = None if "cpu" in distributed.get_backend_config() else distributed.new_group(backend="gloo")
    return Ranks(share, True, control)


def _meet_the_others() -> None:
    backend, seconds = "cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo", _patience()
    try:
        distributed.init_process_group(backend, timeout=timedelta(seconds=seconds))
    except (RuntimeError, ValueError) as error:
        number, count, place = (os.environ.get(name, "(none)") for name in ("RANK", "WORLD_SIZE", "MASTER_ADDR"))
        expected = f"process {number}: expected {count} processes to meet at MASTER_ADDR {place}"
        raise ProcessError(f"{expected}, got {as_text(str(error)):.200}: start them by torchrun") from error
    atexit.register(_leave)


def _leave() -> None:
    """End the group that `joined` made, whose threads would else end the process in their own way."""
    gc.collect()  # wrapped modules that are no more hold the group
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _patience() -> float:
    """The seconds of `TIMEOUT`.

    Raises:
        ProcessError: it is no number of them.
    """
    given = os.environ.get(TIMEOUT, "600")
    try:
        seconds = float(given)
    except ValueError:
        seconds = 0.0
    if not 0 < seconds < 1e6:
        raise ProcessError(f"{TIMEOUT} expected seconds above 0, got {given:.40}")
    return seconds


def _raised(kinds: Sequence[str], text: str) -> Exception:
    """The error of the first process, in another: of the class that it is of, by the names of its bases."""
    for known in (vars(nestgraph.errors).get(kind) for kind in kinds):
        if isinstance(known, type) and issubclass(known, NestgraphError):
            error = known.__new__(known)
            Exception.__init__(error, text)
            error.agreed = True
            return error
    return ProcessError(f"the first process ended with {kinds[0]}: {as_text(text):.500}")

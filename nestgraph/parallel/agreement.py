"""Whether all processes of a run hold the same network, with the same optimizers, and began with the same."""

import hashlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from nestgraph.errors import ProcessError
from nestgraph.graph.difference import difference
from nestgraph.graph.network import Network
from nestgraph.lowering.workbench import Workbench
from nestgraph.parallel.ranks import Ranks
from nestgraph.snapshot import UNLIMITED
from nestgraph.snapshot.files import from_bytes, to_bytes

REMEDY = "each process must have the same code, libraries and data; `resume` goes on from the last point"


def agree(ranks: Ranks, bench: Workbench, after: str) -> None:
    """Compare what all processes hold: the network, what else its module holds, and the state of the optimizers.

    Args:
        ranks: the processes.
        bench: of this one, with nothing untaken.
        after: what was done last, in words.

    Raises:
        ProcessError: they differ, in all processes alike; it names what was done, the layer and the process.
    """
    if not ranks.several:
        return
    mine = dict(parts(bench))
    whole = hashlib.sha256("".join(mine.values()).encode()).digest()
    if len({*ranks.gathered(whole)}) == 1:
        return
    network = bench.edited
    first = ranks.led(lambda: to_bytes(network, UNLIMITED))
    apart = "" if ranks.leads else _words(from_bytes(first, "the network of process 0", UNLIMITED), network)
    everyone = ranks.gathered((mine, apart))
    wrong = next(number for number, (other, _) in enumerate(everyone) if other != everyone[0][0])
    other, words = everyone[wrong]
    words = words or next(name for name, checksum in everyone[0][0].items() if other.get(name) != checksum)
    expected = f"after {after} all processes to hold one network with one state"
    got = f"another in process {wrong} than in process 0: {words}"
    raise agreed(f"expected {expected}, got {got}: {REMEDY}")


def agreed(words: str) -> ProcessError:
    """An error that is raised in all processes alike."""
    error = ProcessError(words)
    error.agreed = True
    return error


def parts(bench: Workbench) -> Iterator[tuple[str, str]]:
    """Checksums of all that training goes on from, by name."""
    yield "the network", bench.edited.digest
    state = bench.state()
    yield "which parameters train", hashlib.sha256(state.record.model_dump_json().encode()).hexdigest()
    for name, tensor in bench.module.state_dict().items():
        yield name, _checksum(tensor.detach().cpu().numpy())
    for name, array in state.arrays.items():
        yield f"the optimizer's {name}", _checksum(array)


def _checksum(array: Any) -> str:
    return hashlib.sha256(np.ascontiguousarray(array).data).hexdigest()


def _words(first: Network, other: Network) -> str:
    """Where a network differs from that of the first process; nothing where it does not."""
    found = difference(first, other)
    for name in found.layers:
        if found.fate(name) != "unchanged":
            counts = found.by_layer[name]
            apart = [tally.added + tally.removed + tally.changed for tally in (counts.units, counts.connections)]
            notes = "".join(f", {note}" for note in found.notes(name))
            return f"layer {name!r} ({apart[0]:,} units and {apart[1]:,} connections differ{notes})"
    return "its interface" if found.interface else ""

"""What several processes cost: `python -m tests.bench.scale` measures with 2 and 4 of them here, fits and looks ahead.

Each term of docs/scale.md is fitted to some sizes and held against others. Processes are started as the tests start
them; `python -m tests.bench.scale PLACE` is one of them.
"""

import json
import math
import os
import sys
import tempfile
import time
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import torch
from scipy.optimize import nnls
from torch import distributed

from nestgraph.edits import SetMask
from nestgraph.loop.evidence import gather
from nestgraph.loop.factors import SHARE
from nestgraph.lowering.workbench import Workbench
from nestgraph.parallel.agreement import agree, parts
from nestgraph.parallel.ranks import ALONE, joined
from nestgraph.policies import MagnitudePruning
from nestgraph.policies.evidence import Evidence
from nestgraph.seeds import mlp
from nestgraph.snapshot import Proposal
from tests.parallel.launching import ended, together

FITTED, HELD = (2**12, 2**18, 2**22, 2**26), (2**15, 2**20, 2**24)
"""Bytes of the messages that terms are fitted to, and of those that they are held against."""
WIDTHS, HELD_WIDTHS = (300, 1000, 2400), (600, 1700)
"""Neurons of each of two hidden layers, likewise."""
ROWS = 64
LATENCY, BANDWIDTH = 10e-6, 25e9
"""Of the look ahead: seconds of a message between two machines, and bytes of a second."""
FIRST_BUCKET, BUCKET = 2**20, 25 * 2**20
"""Bytes of gradients that DistributedDataParallel reduces at a time."""
CORES = len(os.sched_getaffinity(0))


# -- in each process -------------------------------------------------------------------------------------


def seconds(ranks, work, times):
    """The median time until all have done a piece of work."""
    found = []
    for _ in range(times):
        ranks.meet(0)
        began = time.perf_counter()
        work()
        ranks.meet(0)
        found.append(time.perf_counter() - began)
    return median(found)


def messages(ranks):
    told = {}
    for size in (*FITTED, *HELD):
        tensor, times = torch.zeros(size // 4), 9 if size > 2**23 else 25
        told[f"reduce {size}"] = seconds(ranks, lambda tensor=tensor: ranks.sum_up([tensor]), times)
        told[f"broadcast {size}"] = seconds(ranks, lambda tensor=tensor: distributed.broadcast(tensor, 0), times)
    return told


def edits(ranks, width):
    """A step, evidence, and an edit of 1% of the connections, of a dense perceptron; what of it is no message first."""
    network = mlp((width, width, width, 10), 1.0, 0, batch_norm=False)
    bench = Workbench(network, lambda module: torch.optim.Adam(module.parameters(), 1e-3, fused=True))
    x, y, loss = torch.rand(ROWS, width), torch.randint(10, (ROWS,)), torch.nn.functional.cross_entropy
    own = ranks.share.of(torch.arange(ROWS))

    def step(module):
        bench.optimizer.zero_grad()
        loss(module(x[own]), y[own]).backward()
        bench.optimizer.step()

    def evidence(among):
        gather(bench.edited, [(x[own], y[own])], loss, {"gradients"}, ranks=among)

    def digests():
        dict(parts(bench))

    told = {"connections": network.connection_count, "width": width}
    bench.module.train()
    for name, module, among in (("own ", bench.module, ALONE), ("", ranks.wrapped(bench.module), ranks)):
        step(module)
        told[f"{name}step"] = seconds(ranks, partial(step, module), 15)
        told[f"{name}evidence"] = seconds(ranks, partial(evidence, among), 9)
    bench.drop()
    one = ranks.led(lambda: _plan(bench.edited))
    told["bytes"] = len(one.model_dump_json())
    told["own proposal"] = seconds(ranks, partial(_plan, bench.edited), 3)
    told["own plan"] = seconds(ranks, one.model_dump_json, 9)
    told["plan"] = seconds(ranks, partial(ranks.led, one.model_dump_json), 9)
    told["edit"] = median(seconds(ranks, work, 1) for work in (partial(bench.apply, one.edit), bench.undo) * 3)
    told["own digests"] = seconds(ranks, digests, 5)
    told["digests"] = seconds(ranks, partial(agree, ranks, bench, "an edit"), 5)
    return told


def _plan(network):
    edit = MagnitudePruning(fraction=0.01).propose(network, Evidence(), np.random.default_rng(0))
    assert all(isinstance(each, SetMask) for each in edit.edits)
    return Proposal(policy="magnitude_pruning", scale=1.0, edit=edit)


def measured(place):
    torch.manual_seed(0)
    ranks = joined()
    told = {"messages": messages(ranks)} if ranks.several else {}
    told |= {str(width): edits(ranks, width) for width in (*WIDTHS, *HELD_WIDTHS)}
    if ranks.leads:
        place.write_text(json.dumps(told))


# -- in the one that started them ------------------------------------------------------------------------


def ring(count, size):
    """What a reduction of `size` bytes takes of (seconds of a message, seconds of a byte, waits for a core)."""
    return 2 * (count - 1), 2 * (count - 1) / count * size * crowd(count), 2 * (count - 1) * (count > CORES)


def tree(count, size):
    """What a broadcast takes, likewise."""
    steps = math.ceil(math.log2(count))
    return steps, steps * size * crowd(count), steps * (count > CORES)


def crowd(count):
    """How many processes share a core."""
    return max(1, count / CORES)


def fitted(rows, found):
    """The factors of some columns, none below 0, whose relative errors are least."""
    matrix, found = np.asarray(rows, float), np.asarray(found, float)
    return nnls(matrix / found[:, None], np.ones(len(found)))[0]


def messages_fitted(told):
    """The factors of reductions and broadcasts, and each message that they are held against: measured, expected."""
    factors, held, counts = {}, [], [count for count in told if count > 1]
    for name, form in (("reduce", ring), ("broadcast", tree)):
        pairs = [(count, size) for count in counts for size in FITTED]
        found = [told[count]["messages"][f"{name} {size}"] for count, size in pairs]
        factors[name] = fitted([form(*pair) for pair in pairs], found)
        for count, size in ((count, size) for count in counts for size in HELD):
            expected = float(np.dot(form(count, size), factors[name]))
            held.append((f"{name} {size >> 10:,} KiB", count, told[count]["messages"][f"{name} {size}"], expected))
    return factors, held


def local(told, what, count):
    """Factors of (each time, each connection) of what processes do without a word, while so many share the cores."""
    found = [told[count][str(width)] for width in WIDTHS]
    return fitted([(1, each["connections"]) for each in found], [each[what] for each in found])


def evidence_arrays(width):
    """Bytes of the arrays of gradients of the perceptron: of a matrix its two factors where these are small."""
    for out, read in ((width, width), (width, width), (10, width)):
        factors = SHARE * ROWS * (out + read) < out * read
        yield from (4 * ROWS * out, 4 * ROWS * read) if factors else (4 * out * read,)


def expected(told, factors, count, width):
    """What is expected of one size on several processes, by what is done: (measured, expected)."""
    known = told[count][str(width)]

    def reduce(size):
        return float(np.dot(ring(count, size), factors["reduce"]))

    def broadcast(size):
        return float(np.dot(tree(count, size), factors["broadcast"]))

    def own(what):
        return float(np.dot(local(told, what, count), (1, known["connections"])))

    gradients = 4 * known["connections"]
    buckets = 1 + math.ceil(max(0, gradients - FIRST_BUCKET) / BUCKET)
    return {
        "step": own("own step") + sum(reduce(gradients / buckets) for _ in range(buckets)),
        "evidence": own("own evidence") + sum(map(reduce, evidence_arrays(width))) + 5 * reduce(32),
        "plan": own("own plan") + broadcast(8) + broadcast(known["bytes"]),
        "edit": own("edit"),
        "digests": own("own digests") + 2 * reduce(64),
    }


OWN = ("own step", "own evidence", "own proposal", "own plan", "edit", "own digests")


def ahead(told):
    """Seconds of an edit of 1% and of a reduction of gradients, for sizes and counts that are not to be had here."""
    bytes_of_one = max(each["bytes"] / each["connections"] for each in (told[1][str(width)] for width in WIDTHS))
    print(
        f"{'connections':>13} {'processes':>9} {'gradients':>10} {'plan':>8} {'proposal':>9} {'edit':>8} {'digests':>8}"
    )
    for connections in (10**7, 10**8, 10**9):
        for count in (8, 64, 1024):
            reduced = float(np.dot(ring(count, 4 * connections)[:1], [LATENCY])) + 8 * connections / BANDWIDTH
            steps = math.ceil(math.log2(count))
            sent = steps * (LATENCY + bytes_of_one * connections / BANDWIDTH)
            own = [float(np.dot(local(told, what, 1), (1, connections))) for what in OWN[2:]]
            plan, others = sent + own[1], (own[0], own[2], own[3])
            shown = "".join(f" {value:8.2f}s" for value in others)
            print(f"{connections:13,} {count:9,} {reduced:9.3f}s {plan:7.2f}s{shown}")


def started(count):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "told.json"
        everyone = ended(*together(count, "tests.bench.scale", place), seconds=1800)
        assert not any(code for code, *_ in everyone), everyone
        return json.loads(place.read_text())


def main():
    told = {count: started(count) for count in (1, 2, 4)}
    factors, held = messages_fitted(told)
    for name, (message, byte, wait) in factors.items():
        print(f"{name}: {1e6 * message:.0f} us a message, {1e-9 / byte:.2f} GB/s, waits of {1e6 * wait:.0f} us")
    for count in (2, 4):
        for width in (*WIDTHS, *HELD_WIDTHS):
            known = told[count][str(width)]
            for what, value in expected(told, factors, count, width).items():
                held.append((f"{what}, {known['connections']:,} connections", count, known[what], value))
    print(f"{'what':40} {'processes':>9} {'measured':>10} {'expected':>10} {'ratio':>6}")
    for name, count, found, value in held:
        print(f"{name:40} {count:9} {1e3 * found:7.2f} ms {1e3 * value:7.2f} ms {value / found:6.2f}")
    for what in OWN:
        each, connection = local(told, what, 1)
        print(f"{what}: {1e3 * each:.2f} ms and {1e9 * connection:.1f} ns a connection")
    ahead(told)


if __name__ == "__main__":
    if sys.argv[1:]:
        measured(Path(sys.argv[1]))
    else:
        main()

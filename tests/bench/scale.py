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
from nestgraph.parallel.ranks import joined
from nestgraph.policies import MagnitudePruning
from nestgraph.policies.evidence import Evidence
from nestgraph.seeds import mlp
from nestgraph.snapshot import Proposal
from tests.parallel.launching import ended, together

FITTED, HELD = (2**12, 2**18, 2**22, 2**26), (2**15, 2**20, 2**24)
"""Bytes of the messages that terms are fitted to, and of those that they are held against."""
WIDTHS, HELD_WIDTHS = (300, 1000, 2400), (600, 1700)
"""Neurons of each of two hidden layers, likewise."""
ROWS, PARTS = 64, (1, 2, 4)
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
    """A step, evidence, and an edit of 1% of the connections, of a perceptron that is dense."""
    network = mlp((width, width, width, 10), 1.0, 0)
    bench = Workbench(network, lambda module: torch.optim.Adam(module.parameters(), 1e-3, fused=True))
    x, y, loss = torch.rand(ROWS, width), torch.randint(10, (ROWS,)), torch.nn.functional.cross_entropy
    module = ranks.wrapped(bench.module.train())

    def step(own):
        bench.optimizer.zero_grad()
        loss(module(x[own]), y[own]).backward()
        bench.optimizer.step()

    def evidence(own):
        gather(bench.edited, [(x[own], y[own])], loss, {"gradients"}, ranks=ranks)

    shares = [ranks.share.of(torch.arange(ROWS))] if ranks.several else [torch.arange(ROWS // part) for part in PARTS]
    step(shares[0])
    bench.take_in()
    told = {"connections": network.connection_count, "layers": width * width}
    told["step"] = [seconds(ranks, partial(step, own), 9) for own in shares]
    bench.take_in()
    told["evidence"] = [seconds(ranks, partial(evidence, own), 5) for own in shares]
    one = ranks.led(lambda: _plan(bench.edited))
    told["bytes"] = len(one.model_dump_json())
    told["plan"] = [seconds(ranks, partial(ranks.led, one.model_dump_json), 9)]
    told["edit"] = [median(seconds(ranks, work, 1) for work in (partial(bench.apply, one.edit), bench.undo) * 2)]
    told["digests"] = [seconds(ranks, partial(_digests, ranks, bench), 3)]
    return told


def _digests(ranks, bench):
    if ranks.several:
        agree(ranks, bench, "an edit")
    else:
        dict(parts(bench))


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
    """What a reduction of `size` bytes takes of (seconds of a message, seconds of a byte)."""
    return 2 * (count - 1), 2 * (count - 1) / count * size


def tree(count, size):
    """What a broadcast takes, likewise."""
    return math.ceil(math.log2(count)), math.ceil(math.log2(count)) * size


def fitted(rows, found):
    """The factors of some columns, none below 0, whose relative errors are least."""
    matrix, found = np.asarray(rows, float), np.asarray(found, float)
    return nnls(matrix / found[:, None], np.ones(len(found)))[0]


def messages_fitted(told):
    """The factors of reductions and broadcasts, and each message that they are held against: measured, expected."""
    factors, held = {}, []
    for name, form in (("reduce", ring), ("broadcast", tree)):
        pairs = [(count, size) for count in told if count > 1 for size in FITTED]
        found = [told[count]["messages"][f"{name} {size}"] for count, size in pairs]
        factors[name] = fitted([form(*pair) for pair in pairs], found)
        for count, size in ((count, size) for count in told if count > 1 for size in HELD):
            expected = float(np.dot(form(count, size), factors[name]))
            held.append((f"{name} {size >> 10:,} KiB", count, told[count]["messages"][f"{name} {size}"], expected))
    return factors, held


def local(told, what, part, count):
    """Seconds as a function of connections, of a process that has a part of the rows while `count` share the cores."""
    found = [told[1][str(width)] for width in WIDTHS]
    values = [each[what][min(part, len(each[what]) - 1)] for each in found]
    factors = fitted([(1, each["connections"]) for each in found], values) * max(1, count / CORES)
    return lambda connections: float(np.dot(factors, (1, connections)))


def evidence_bytes(told):
    """Of gradients, by factors where these are small: three matrices of a perceptron."""
    wide = told["layers"]
    rows = 2 * int(wide**0.5) * ROWS
    return 4 * (2 * min(wide, rows) if SHARE * rows < wide else 2 * wide) + 4 * 10 * int(wide**0.5)


def expected(told, factors, count, width):
    """What is expected of one size on several processes, by what is done."""
    known, part = told[count][str(width)], PARTS.index(count)
    reduce = lambda size: float(np.dot(ring(count, size), factors["reduce"]))  # noqa: E731
    broadcast = lambda size: float(np.dot(tree(count, size), factors["broadcast"]))  # noqa: E731
    connections, meet = known["connections"], reduce(32)
    own = {what: local(told, what, part, count)(connections) for what in ("step", "evidence", "edit", "digests")}
    return {
        "step": own["step"] + reduce(4 * connections),
        "evidence": own["evidence"] + reduce(evidence_bytes(known)) + 4 * meet,
        "plan": broadcast(known["bytes"]) + broadcast(8),
        "edit": own["edit"],
        "digests": own["digests"] + 2 * meet,
    }


def started(count):
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "told.json"
        everyone = ended(*together(count, "tests.bench.scale", place), seconds=1800)
        assert not any(code for code, *_ in everyone), everyone
        return json.loads(place.read_text())


def main():
    told = {count: started(count) for count in (1, 2, 4)}
    Path("scale.json").write_text(json.dumps(told))
    factors, held = messages_fitted(told)
    for name, (message, byte) in factors.items():
        print(f"{name}: {1e6 * message:.0f} us a message, {1 / byte / 1e9:.2f} GB/s")
    for count in (2, 4):
        for width in (*WIDTHS, *HELD_WIDTHS):
            known = told[count][str(width)]
            for what, value in expected(told, factors, count, width).items():
                held.append((f"{what}, {known['connections']:,} connections", count, known[what][0], value))
    print(f"{'what':40} {'processes':>9} {'measured':>10} {'expected':>10} {'ratio':>6}")
    for name, count, found, value in held:
        print(f"{name:40} {count:9} {1e3 * found:7.2f} ms {1e3 * value:7.2f} ms {value / found:6.2f}")
    for what in ("step", "evidence", "edit", "digests"):
        per = local(told, what, 0, 1)
        print(
            f"{what}: {1e9 * (per(2e9) - per(1e9)) / 1e9:.1f} ns a connection, {1e3 * per(0):.1f} ms whatever its size"
        )


if __name__ == "__main__":
    if sys.argv[1:]:
        measured(Path(sys.argv[1]))
    else:
        main()

"""Where values lie: each as long as it is needed, at places that those have left which are needed no more."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from nestgraph.chip.program import Program


@dataclass(frozen=True)
class Memory:
    """The places of values in one array.

    Attributes:
        places: by name of a value, the first of its elements.
        count: how many elements the array has.
        lives: by name, the numbers of the steps by which it is written and read last.
    """

    places: Mapping[str, int]
    count: int
    lives: Mapping[str, tuple[int, int]]


def laid_out(program: Program, outside: Collection[str]) -> Memory:
    """Where the values of a program lie that are not outside, as inputs and outputs are.

    The largest come first, each as low as it can; a step whose source ends with it, and which says so, writes there.
    """
    lives = {step.target.name: (number, number) for number, step in enumerate(program.steps)}
    for number, step in enumerate(program.steps):
        lives |= {s.name: (lives[s.name][0], number) for s in step.sources if s.name in lives}
    lives |= {v.name: (lives[v.name][0], len(program.steps)) for _, v in program.outputs if v.name in lives}
    counts = {step.target.name: step.target.count for step in program.steps}
    home: dict[str, str] = {}
    for number, step in enumerate(program.steps):
        source = step.sources[0].name if step.sources else ""
        if step.in_place and source in home and lives[source][1] == number and step.target.name not in outside:
            home[step.target.name] = home[source]
        elif step.target.name not in outside:
            home[step.target.name] = step.target.name
    blocks: dict[str, tuple[int, int, int]] = {}
    for name, owner in home.items():
        first, last = lives[name]
        known = blocks.get(owner, (0, first, last))
        blocks[owner] = max(known[0], counts[name]), min(known[1], first), max(known[2], last)
    places: dict[str, int] = {}
    for owner, (count, first, last) in sorted(blocks.items(), key=lambda item: (-item[1][0], item[1][1])):
        busy = sorted(
            (places[other], places[other] + blocks[other][0])
            for other in places
            if blocks[other][1] <= last and first <= blocks[other][2]
        )
        at = 0
        for start, end in busy:
            if start - at >= count:
                break
            at = max(at, end)
        places[owner] = at
    total = max((places[owner] + blocks[owner][0] for owner in places), default=0)
    return Memory({name: places[owner] for name, owner in home.items()}, total, lives)

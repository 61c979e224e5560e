"""A kind of connections that nestgraph does not have: a list of pairs, in which a target may read several sources.

It is what a package of others would be: a record, its meaning, two emitters, and their registration.
"""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import numpy as np
import torch
from pydantic import Field
from torch.nn import functional

from nestgraph.graph.columns import Links
from nestgraph.graph.projections import register
from nestgraph.graph.projections.meaning import Meaning
from nestgraph.lowering.compact_emitters import TERMS
from nestgraph.lowering.emitters import PROJECTIONS
from nestgraph.lowering.tensors import as_tensor
from nestgraph.lowering.terms import Term
from nestgraph.spec.projection import Projection


class Listed(Projection):
    """Neurons read those neurons that a list pairs them with."""

    kind: Literal["listed"] = "listed"
    strength: Annotated[float, Field(gt=0)] = 1.0


@dataclass(frozen=True, eq=False)
class Pairs(Links):
    """The connections of `Listed`: weight (pairs,), pairs in ascending order of targets, then of sources."""

    what: ClassVar[str] = "a list of pairs (links, 2)"

    def joined(self, part, end, order):
        both = super().joined(part, end, order)
        return both.chosen(np.lexsort((both.ids(1), both.ids(0))))


class ListedMeaning(Meaning[Listed, Pairs]):
    """A neuron adds up the sources that it is paired with, times the strength of the projection."""

    kind = Pairs
    inner = ()
    size = None

    @property
    def shape(self):
        return (len(self.columns.links),)

    @property
    def leads(self):
        return self.source_size is None and self.target_size is None

    def faults(self):
        columns, ends, name = self.columns, self.ends, self.record.name
        for end, layer in ((1, self.record.source), (0, self.record.target)):
            dead = columns.ids(end)[ends[end].find(columns.ids(end)) < 0]
            if len(dead):
                yield "links", (layer, int(dead.min())), f"is paired by {name!r} but does not live"
        if (np.diff(columns.ids(0) * 2**20 + columns.ids(1)) <= 0).any():
            yield "links", name, "expected pairs in ascending order of targets and sources, each once"

    def project(self, source):
        total = np.zeros((len(source), len(self.ends.target)), source.dtype)
        weight = self.weights(source.dtype) * self.record.strength
        np.add.at(total.T, self.columns.at(0, self.ends), (source[:, self.columns.at(1, self.ends)] * weight).T)
        return total

    def read(self, entries):
        return self.columns.total(entries, 1, self.ends)


def gathered(network, projection):
    """(targets, pairs): 1 where a pair leads to a target, times the strength."""
    columns, ends = network.wired(projection.name)
    matrix = np.zeros((len(ends.target), len(columns.links)), np.float32)
    matrix[columns.at(0, ends), np.arange(len(columns.links))] = projection.strength
    return matrix


def emit(emission, projection, source, _bias):
    """Chosen from the source, weighted, and added up for each target."""
    (columns, ends), path = emission.network.wired(projection.name), emission.projections[projection.name]
    read = emission.select(source, f"{path}.sources", columns.at(1, ends), len(ends.source))
    matrix = emission.keep(f"{path}.pairs", as_tensor(gathered(emission.network, projection)))
    weighted = emission.call(torch.mul, read, emission.weight(projection))
    return emission.call(functional.linear, weighted, matrix, None)


def emit_term(emission, projection, source, rows, bias):
    """The same of a network in inference: a matrix, of the rows that are wanted."""
    (columns, ends), path = emission.network.wired(projection.name), emission.projections[projection.name]
    matrix = np.zeros((len(ends.target), len(ends.source)), np.float32)
    np.add.at(matrix, (columns.at(0, ends), columns.at(1, ends)), columns.weight * np.float32(projection.strength))
    kept = emission.keep(f"{path}_weight", as_tensor(matrix[rows]))
    offset = None if bias is None else emission.keep(f"{path}_bias", as_tensor(bias))
    return Term(emission.call(functional.linear, source, kept, offset), rows, bias is not None)


register(Listed, ListedMeaning)
PROJECTIONS["listed"], TERMS["listed"] = emit, emit_term

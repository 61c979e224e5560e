"""Normalisation of each sample: layer, root mean square, group and instance normalisation."""

import operator
from collections.abc import Mapping
from typing import Annotated, ClassVar, Literal, Self

import numpy as np
from pydantic import Field, Strict, model_validator

from nestgraph.spec.arrays import AnyArray
from nestgraph.spec.operations.operation import Facts, Operation
from nestgraph.spec.record import Count, Extent
from nestgraph.spec.unit_column import UnitColumn
from nestgraph.spec.windows import by_unit

GAMMA, BETA = UnitColumn("gamma", 1.0), UnitColumn("beta", 0.0)


class Norm(Operation):
    """gamma * (u - mean) / sqrt(variance + epsilon) + beta, mean and variance of what a sample has there.

    Over units, at each place: layer normalisation (Ba et al. 2016) and, without a centre, root mean square
    normalisation (Zhang, Sennrich 2019). Over both units and places: group normalisation (Wu, He 2018). Over the places
    of each unit: instance normalisation (Ulyanov et al. 2016).

    Units are divided by a recorded count and not by how many live: an absent unit counts as 0. So removing or adding a
    unit that gives 0 before it changes nothing. Where more live than that, the variance may not fall below 0.

    Attributes:
        over: what is normalised together.
        groups: of units, each normalised apart. A unit belongs to group id * groups // count below `count`, and to
            id % groups from there up, so whoever grows a layer chooses the group by the id.
        center: whether the mean is taken off; without, the variance is the mean of squares.
        count: the units that sums over them are divided by, count / groups in each group; 0 over places.
        divisors: the same where groups are divided by different numbers; left out where they are not.
        epsilon: what is added to the variance.
        gamma: whether each unit has a factor.
        beta: whether each unit has a shift.
    """

    kind: Literal["norm"] = "norm"  # pyright: ignore[reportIncompatibleVariableOverride]
    over: Literal["units", "places", "both"] = "units"
    groups: Count = 1
    center: bool = True
    count: Extent = 0
    divisors: Annotated[tuple[Count, ...], Field(max_length=2**16, exclude_if=operator.not_), Strict(False)] = ()
    epsilon: Annotated[float, Field(gt=0)] = 1e-5
    gamma: bool = True
    beta: bool = True

    possible: ClassVar[tuple[UnitColumn, ...]] = (GAMMA, BETA)

    @model_validator(mode="after")
    def _check_count(self) -> Self:
        if self.over == "places" and (self.count or self.groups > 1):
            raise ValueError(
                f"expected groups 1 and count 0 of a norm over places, got groups {self.groups} and count {self.count}"
            )
        if self.over != "places" and (self.count < 1 or self.count % self.groups):
            raise ValueError(
                f"expected a count of units that {self.groups} groups divide, at least {self.groups}, got {self.count}"
            )
        if self.divisors and (self.groups == 1 or len(self.divisors) != self.groups):
            raise ValueError(
                f"expected a divisor of each of several groups, got {len(self.divisors)} for {self.groups}"
            )
        return self

    @property
    def facts(self) -> Facts:
        """See `Operation.facts`."""
        alone = self.over == "places"
        positive = not (self.center or self.gamma or self.beta)
        return Facts(
            reach="unit" if alone else "layer",
            spatial=alone,
            normalises=True,
            keeps_sign=positive,
            adds="beta" if self.beta else None,
        )

    @property
    def columns(self) -> tuple[UnitColumn, ...]:
        """See `Operation.columns`."""
        return (*[GAMMA] * self.gamma, *[BETA] * self.beta)

    @property
    def words(self) -> str:
        """See `Operation.words`."""
        names = {"units": "layer norm", "places": "instance norm", "both": "group norm"}
        name = names[self.over] if self.center else "rms norm" + ("" if self.over == "units" else f" over {self.over}")
        return f"{name} in {self.groups} groups" if self.groups > 1 else name

    def groups_of(self, ids: AnyArray) -> AnyArray:
        """(units,): the group of each of some units (units,) int64."""
        return np.where(ids < self.count, ids * self.groups // max(1, self.count), ids % self.groups)

    def mixed(self, ids: AnyArray) -> AnyArray:
        """See `Operation.mixed`: those of a group."""
        return super().mixed(ids) if self.over == "places" else self.groups_of(ids)

    def divided_by(self, ids: AnyArray) -> AnyArray:
        """(units,): what the sum over each unit's group is divided by."""
        each = self.divisors or (self.count // self.groups,) * self.groups
        return np.array(each, np.int64)[self.groups_of(ids)]

    def absent(self, ids: AnyArray) -> AnyArray:
        """(units,) float64: the share of each unit's group that is absent; below 0 where more live than it counts."""
        living = np.bincount(self.groups_of(ids), minlength=self.groups)
        return 1 - living[self.groups_of(ids)] / self.divided_by(ids)

    def apply(self, x: AnyArray, values: Mapping[str, AnyArray], ids: AnyArray) -> AnyArray:
        """See `Operation.apply`."""
        mean = self._average(x, ids) if self.center else x.dtype.type(0)
        apart = x - mean
        variance = self._average(apart * apart, ids)
        if self.center and self.over != "places":  # the zeros of absent units, too, are apart from the mean
            variance = np.maximum(variance + by_unit(self.absent(ids).astype(x.dtype), x) * mean * mean, 0)
        result = apart / np.sqrt(variance + x.dtype.type(self.epsilon))
        if self.gamma:
            result = result * by_unit(values["gamma"].astype(x.dtype), x)
        return result + by_unit(values["beta"].astype(x.dtype), x) if self.beta else result

    def _average(self, x: AnyArray, ids: AnyArray) -> AnyArray:
        """For each number of x (batch, units, *size), the mean of all that it is normalised with; broadcasts."""
        if self.over != "units" and x.ndim > 2:
            x = x.mean(axis=tuple(range(2, x.ndim)), keepdims=True)
        if self.over == "places":
            return x
        result, groups = np.empty_like(x), self.groups_of(ids)
        for group in np.unique(groups):
            result[:, groups == group] = x[:, groups == group].sum(axis=1, keepdims=True)
        return result / by_unit(self.divided_by(ids).astype(x.dtype), x)

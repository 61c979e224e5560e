"""What is known of a metric by its name, for all who show or compare its values: words, direction, form."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated

from pydantic import Field, StringConstraints

LOSS = "loss"
MetricName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z_][A-Za-z0-9_.]{0,127}$")]
"""Of a metric, maybe after that of one of several outputs and a dot."""

Scores = Annotated[dict[MetricName, float], Field(max_length=64)]
"""What metrics are, by name."""


@dataclass(frozen=True)
class Metric:
    """A metric of a task.

    Attributes:
        name: by which recipes and rows have it.
        words: for people.
        larger: whether more is better.
        bounded: whether its best value is 1, so that differences of it are points.
        percent: whether it is shown in percent.
    """

    name: str
    words: str
    larger: bool = True
    bounded: bool = False
    percent: bool = False

    @property
    def title(self) -> str:
        """The words, to begin a line with."""
        return self.words[:1].upper() + self.words[1:]

    def shown(self, value: float | None) -> str:
        """A value for people: `97.25%`, `0.4831`, `53.12`; a dash where it is not known."""
        if value is None:
            return "\N{EN DASH}"
        return f"{value:.2%}" if self.percent else f"{value:.4f}" if self.bounded else f"{value:.4g}"


METRICS: Mapping[str, Metric] = {
    each.name: each
    for each in (
        Metric("accuracy", "accuracy", bounded=True, percent=True),
        Metric("balanced_accuracy", "balanced accuracy", bounded=True, percent=True),
        Metric("f1", "F1", bounded=True),
        Metric("auroc", "AUROC", bounded=True),
        Metric("perplexity", "perplexity", larger=False),
        Metric("r2", "R\N{SUPERSCRIPT TWO}", bounded=True),
        Metric("mae", "mean absolute error", larger=False),
        Metric("rmse", "root mean squared error", larger=False),
        Metric(LOSS, "loss", larger=False),
    )
}
"""Those of this package, by name."""


def metric(name: str) -> Metric:
    """What is known of a metric: of one of several outputs, such as `age.mae`, that of its last part.

    One that somebody brought along is a number of which more is better, unless its goal says otherwise.
    """
    output, _, last = name.rpartition(".")
    known = METRICS.get(last)
    if known is None:
        return Metric(name, name.replace("_", " "))
    return Metric(name, f"{output} {known.words}".strip(), known.larger, known.bounded, known.percent)


def shown(scores: Mapping[str, float]) -> str:
    """Metrics for people, in one line; an accuracy that is alone needs no name."""
    if list(scores) == ["accuracy"]:
        return metric("accuracy").shown(scores["accuracy"])
    return ", ".join(f"{metric(name).words} {metric(name).shown(value)}" for name, value in scores.items())


@dataclass(frozen=True)
class Goal:
    """The one number that a run gates on, larger is better: the value of a metric, or with a minus its negative.

    Attributes:
        metric: whose value it is.
        sign: 1 or -1.
    """

    metric: Metric
    sign: int

    @classmethod
    def of(cls, words: str) -> "Goal":
        """The goal that a recipe names, such as `accuracy` or `-rmse`."""
        sign = -1 if words.startswith("-") else 1
        return cls(metric(words.removeprefix("-")), sign)

    @property
    def name(self) -> str:
        """The metric's name."""
        return self.metric.name

    def value(self, scores: Mapping[str, float]) -> float:
        """The goal of measured scores."""
        return self.sign * scores[self.name]

    def shown(self, value: float) -> str:
        """A value of the goal for people, as the metric has it."""
        return self.metric.shown(self.sign * value)

    def lowered(self, value: float, tolerance: float) -> float:
        """A value less a tolerance: in points of a metric whose best is 1, else a share of the value."""
        return value - (tolerance if self.metric.bounded else tolerance * abs(value))

"""Records of options, some of which do something only beside others: what would be ignored is refused."""

from collections.abc import Container, Iterator, Mapping
from typing import Annotated, Any, ClassVar, NamedTuple, Self

from pydantic import StringConstraints, ValidationError, model_validator
from pydantic_core import InitErrorDetails, PydanticUndefined

from nestgraph.spec.record import Record

Place = tuple[str | int, ...]
PathText = Annotated[str, StringConstraints(min_length=1, max_length=4096)]
"""The path of a file, whatever its form."""


class Beside(NamedTuple):
    """Values of another option, and what they are called."""

    option: str
    values: Container[Any]
    words: str

    @classmethod
    def of(cls, option: str, *values: str) -> Self:
        """One of some words."""
        return cls(option, values, f"{option} {' or '.join(map(repr, values))}")


class Options(Record):
    """A record that refuses options which would do nothing beside the others, all of them at once.

    An option at its default is not there: a record that was written in full is read back.

    Attributes:
        beside: by option, beside what it does something; all of these must hold.
        needed: by option, beside what it must be there.
    """

    beside: ClassVar[Mapping[str, tuple[Beside, ...]]] = {}
    needed: ClassVar[Mapping[str, Beside]] = {}

    @model_validator(mode="after")
    def _check_places(self) -> Self:
        found: dict[Place, str] = {(option,): words for option, words in self._misplaced()}
        if found:
            raise misplaced(self, found)
        return self

    def _misplaced(self) -> Iterator[tuple[str, str]]:
        for option, rules in self.beside.items():
            wrong = [rule for rule in rules if getattr(self, rule.option) not in rule.values]
            if wrong and getattr(self, option) != usual(type(self), option):
                expected, got = wrong[0].words, getattr(self, wrong[0].option)
                yield option, f"does nothing without {expected}, got it beside {got!r:.40}: leave it out"
        for option, rule in self.needed.items():
            if getattr(self, option) is None and getattr(self, rule.option) in rule.values:
                yield option, f"missing (goes with {rule.words}, where it must be)"


def misplaced(record: Record, problems: Mapping[Place, str]) -> ValidationError:
    """The error of a record that is refused for sentences about places in it."""
    details = [
        InitErrorDetails(type="value_error", ctx={"error": ValueError(words)}, loc=place, input=None)
        for place, words in problems.items()
    ]
    return ValidationError.from_exception_data(type(record).__name__, details)


def usual(record: type[Record], option: str) -> Any:
    """The default of an option; None where it depends on others."""
    default = record.model_fields[option].default
    return None if default is PydanticUndefined else default

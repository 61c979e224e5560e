"""Every error that nestgraph raises on purpose.

A message is a sentence: who, what was expected, what was got, and a remedy. Anything that comes from a
user's file, edit, recipe or data is reported through one of these classes.
"""


class NestgraphError(Exception):
    """The root of all errors that nestgraph raises on purpose.

    Attributes:
        agreed: whether it is raised in all processes of a run alike, so that the first alone needs to say it.
    """

    agreed = False


class RecordError(NestgraphError, ValueError):
    """A record that is made of fields that it does not have, or that do not fit.

    `problem` says what is wrong without the name of the record, for the errors of those who build records.
    """

    def __init__(self, record: str, problem: str) -> None:
        self.record, self.problem = record, problem
        super().__init__(f"{record} expected other fields, got {problem}")

    def __reduce__(self) -> tuple[type["RecordError"], tuple[str, str]]:
        return type(self), (self.record, self.problem)


class StructureError(NestgraphError):
    """Layers, projections and columns that do not fit together (names, kinds, shapes)."""


class VerificationError(NestgraphError):
    """A network that breaks a law: an island, a cycle, a wrong shape, a value that is not finite.

    `violations` holds one record for each broken law, each naming the unit, layer or projection.
    """

    def __init__(self, violations: "tuple[object, ...]") -> None:
        self.violations = violations
        shown = [str(violation) for violation in violations[:8]]
        if len(violations) > len(shown):
            shown.append(f"and {len(violations) - len(shown)} more")
        super().__init__("; ".join(shown))


class EditError(NestgraphError):
    """An edit that cannot be applied to this network."""


class ConflictError(EditError):
    """An edit that changes what the edits of another side changed otherwise.

    `conflicts` holds one record for each layer or projection and what of it both changed, with the units.
    """

    def __init__(self, words: str, conflicts: "tuple[object, ...]") -> None:
        self.words, self.conflicts = words, conflicts
        listed = "; ".join(map(str, conflicts[:8])) + (f"; and {len(conflicts) - 8} more" if len(conflicts) > 8 else "")
        super().__init__(f"{words}: expected what only one side changed, got what both did: {listed}: choose one side")

    def __reduce__(self) -> "tuple[type[ConflictError], tuple[str, tuple[object, ...]]]":
        return type(self), (self.words, self.conflicts)


class SnapshotError(NestgraphError):
    """A snapshot, journal or schema file that cannot be read or written."""


class RecipeError(NestgraphError):
    """A recipe that cannot be read, or whose choices do not fit together."""


class DataError(NestgraphError):
    """A dataset that is unknown, missing, altered or of the wrong shape."""


class LoweringError(NestgraphError):
    """A network that cannot be lowered, or a module that does not belong to the network."""


class InteropError(NestgraphError):
    """A PyTorch module, edge list or other foreign form of a network that cannot be brought in."""


class ExportError(NestgraphError):
    """A network that cannot be exported, or an export whose outputs are not the network's."""


class TrainingError(NestgraphError):
    """Training that broke down: a loss that is not finite, a device that is not there."""


class ProcessError(NestgraphError):
    """Processes that train one network together and do not hold the same, or lost each other."""


class RenderError(NestgraphError):
    """A diagram that cannot be drawn here."""

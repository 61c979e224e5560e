"""Recipes of runs that another version did: what this one refuses in them is left aside, so that they can be read."""

from typing import Any, cast

from pydantic import ValidationError

Path = tuple[int | str, ...]


def leave_aside(document: dict[str, Any], error: ValidationError) -> tuple[set[str], set[tuple[str, int]]]:
    """Take the options that a recipe was refused for out of its JSON; policies are left for the caller to set apart.

    Returns:
        The sections from which something was taken; the section and number of each policy that was refused.
    """
    sections, policies = set[str](), set[tuple[str, int]]()
    for each in cast("list[dict[str, Any]]", error.errors(include_url=False, include_context=False)):
        path: Path = each["loc"]
        if path[1:2] == ("policies",):
            policies |= {(str(path[0]), number) for number in path[2:3] if isinstance(number, int)}
        elif each["type"] != "missing" and _taken(document, path):
            sections.add(str(path[0]))
    return sections, policies


def _taken(document: dict[str, Any], path: Path) -> bool:
    """Remove the innermost option on a path, whose parts may also be tags of unions; whether there was one."""
    owner: dict[str, Any] | None = None
    name, here = "", cast(Any, document)
    for part in path:
        if isinstance(here, dict) and part in here:
            owner, name = cast("dict[str, Any]", here), str(part)
            here = owner[name]
        elif isinstance(here, list) and isinstance(part, int) and part < len(cast("list[Any]", here)):
            here = cast("list[Any]", here)[part]
    return owner is not None and owner.pop(name, None) is not None

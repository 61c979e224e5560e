"""Sweeps: studies as data. One recipe, variations of it, and several seeds of each."""

import json
from copy import deepcopy
from importlib import resources
from itertools import count, islice
from pathlib import Path
from typing import Annotated, Any, Self, cast

from pydantic import Field, JsonValue, StringConstraints, TypeAdapter, ValidationError, model_validator

from nestgraph.errors import RecipeError, SnapshotError
from nestgraph.recipes.recipe import RECIPE, Recipe, Slug, load_recipe, recipe_names
from nestgraph.snapshot import options_json, problems_of, read_options
from nestgraph.snapshot.disk import PathLike
from nestgraph.spec.arguments import checked
from nestgraph.spec.limits import MAX_WHOLE
from nestgraph.spec.record import Record, Text
from nestgraph.studies.sweep_table import Settings

_FOLDER = resources.files("nestgraph.studies").joinpath("sweeps")
OneSeed = Annotated[int, Field(ge=0, lt=MAX_WHOLE)]


class Variation(Record):
    """What is different in some runs of a sweep.

    Attributes:
        name: also the folder of its runs.
        set: new values by the dotted place of a recipe's field, such as `growth.policies.1.alpha`; in TOML such a key
            is quoted. A value replaces all that was there, be it a number, a list or a whole table.
    """

    name: Slug
    set: Settings = Field(default_factory=dict[str, JsonValue])


class Sweep(Record):
    """A study: the variations of a recipe that are compared, over the same seeds.

    Attributes:
        recipe: the name of the recipe that is varied, or its file, relative to the sweep's own.
        set: what all variations set; their own settings come later and win.
    """

    name: Slug
    description: Text = ""
    recipe: Annotated[str, StringConstraints(min_length=1, max_length=4096)]
    seeds: Annotated[tuple[OneSeed, ...], Field(min_length=1, max_length=100)] = (0, 1, 2)
    set: Settings = Field(default_factory=dict[str, JsonValue])
    variations: Annotated[tuple[Variation, ...], Field(min_length=1, max_length=256)]

    @model_validator(mode="after")
    def _check_distinct(self) -> Self:
        identities: list[object] = [*(each.name for each in self.variations), *self.seeds]
        twice = [identity for identity in identities if identities.count(identity) > 1]
        if twice:
            raise ValueError(f"expected variations and seeds that differ, got {twice[0]} twice")
        return self

    def recipes(self) -> dict[str, Recipe]:
        """The recipe of each variation, by its name.

        Raises:
            RecipeError: the recipe cannot be read, or a variation of it is not valid.
        """
        recipe, found = load_recipe(self.recipe), dict[str, Recipe]()
        for variation in self.variations:
            common = {place: value for place, value in self.set.items() if place not in variation.set}
            settings = {"set": {**common, **variation.set}}
            found[variation.name] = varied(recipe, variation.model_copy(update=settings))
        return found

    def with_seeds(self, number: int) -> "Sweep":
        """The sweep with so many seeds: the first of its own, then the numbers that follow the largest."""
        more = islice(count(max(self.seeds) + 1), number)
        return self.model_copy(update={"seeds": (*self.seeds, *more)[:number]})


_SWEEP: TypeAdapter[Sweep] = TypeAdapter(Sweep)


def varied(recipe: Recipe, variation: Variation) -> Recipe:
    """The recipe with a variation's settings, which are applied in their order and checked at the end.

    Raises:
        RecipeError: there is no such place in the recipe, or what comes of it is not a valid recipe.
    """
    document = recipe.model_dump(mode="json")
    try:
        for place, value in variation.set.items():
            _put(document, place, deepcopy(value))
        return RECIPE.validate_json(json.dumps(document))
    except ValidationError as error:
        raise RecipeError(f"variation {variation.name!r}: {problems_of(error, Recipe)}") from None
    except (ValueError, RecursionError) as error:
        raise RecipeError(f"variation {variation.name!r}: {error}") from None


def _put(document: Any, place: str, value: JsonValue) -> None:
    """Replace what is at a dotted place of nested tables and lists.

    Raises:
        ValueError: a step before the last leads nowhere, or a list has no such index.
    """
    *way, last = place.split(".")
    for step in way:
        key = _key(document, step, place)
        if isinstance(key, str) and key not in document:
            raise ValueError(f"{place[:80]!r}: expected a field of the recipe, got none called {step[:40]!r}")
        document = document[key]
    document[_key(document, last, place)] = value


def _key(document: Any, step: str, place: str) -> int | str:
    """A step of a dotted place as the key of a table or the index of a list."""
    if isinstance(document, dict):
        return step
    if not isinstance(document, list):
        got = json.dumps(document)[:40]
        raise ValueError(f"{place[:80]!r}: expected a table or list before {step[:40]!r}, got {got}")
    indices = {str(number): number for number in range(len(cast(list[Any], document)))}
    if step not in indices:
        raise ValueError(f"{place[:80]!r}: expected an index below {len(indices)}, got {step[:40]!r}")
    return indices[step]


def sweep_names() -> tuple[str, ...]:
    """The names of the sweeps inside the package."""
    return tuple(sorted(entry.name.removesuffix(".toml") for entry in _FOLDER.iterdir()))


@checked(RecipeError)
def load_sweep(name_or_path: PathLike) -> Sweep:
    """A sweep of the package by name, or one from a TOML or JSON file. All its recipes are valid.

    Raises:
        RecipeError: there is none, or it or the recipe of a variation is not valid; the message names the field.
    """
    file = f"{name_or_path}.toml"
    if name_or_path in sweep_names():
        return _parsed(_FOLDER.joinpath(file).read_text("utf-8"), Path(file))
    path = Path(name_or_path)
    if path.suffix not in (".toml", ".json"):
        known = ", ".join(sweep_names())
        raise RecipeError(f"expected a sweep's name ({known}) or a .toml or .json file, got {str(name_or_path)!r}")
    try:
        text = read_options(path)
    except (SnapshotError, ValueError) as error:
        raise RecipeError(str(error)) from None
    return _parsed(text, path)


def _parsed(text: str, path: Path) -> Sweep:
    """The sweep in a text; `path` is its file, whose suffix tells TOML from JSON and whose folder has the recipe."""
    try:
        sweep = _SWEEP.validate_json(options_json(text, path))
        if sweep.recipe not in recipe_names():
            sweep = sweep.model_copy(update={"recipe": str(path.parent / sweep.recipe)})
        sweep.recipes()
    except ValidationError as error:
        raise RecipeError(f"{path}: {problems_of(error, Sweep)}") from None
    except RecipeError as error:
        raise RecipeError(f"{path}: {error}") from None
    except ValueError as error:
        raise RecipeError(f"{path}: {error}") from None
    return sweep

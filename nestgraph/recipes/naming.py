"""Names in a recipe's policies: each is that of a projection of the seed network, or of one that a run may add."""

from collections.abc import Iterator, Sequence
from difflib import get_close_matches

from nestgraph.errors import RecipeError
from nestgraph.graph.network import Network
from nestgraph.policies import Policy, SkipGrowth, possible_skips
from nestgraph.policies.policy import plastic_projections
from nestgraph.recipes.recipe import Recipe
from nestgraph.snapshot import in_one_sentence

SHOWN = 12
"""How many candidates a message names."""


def check_names(recipe: Recipe, network: Network) -> None:
    """Refuse a recipe whose policies name projections that there are none of, before anything is trained.

    Args:
        recipe: all choices of a run.
        network: its seed.

    Raises:
        RecipeError: names every such name and what might be meant.
    """
    known = [projection.name for projection in plastic_projections(network)]
    if recipe.growth and any(isinstance(policy, SkipGrowth) for policy in recipe.growth.policies):
        known += [projection.name for projection in possible_skips(network)]
    phases = {"growth": recipe.growth.policies if recipe.growth else (), "pruning": recipe.pruning.policies}
    problems = [
        problem
        for phase, policies in phases.items()
        for place, policy in enumerate(policies)
        for problem in _unknown(policy, f"{phase}.policies[{place}].projections", known)
    ]
    if problems:
        raise RecipeError(f"{recipe.name}: {in_one_sentence(problems)}")


def names_projections(recipe: Recipe) -> bool:
    """Whether any policy is for some projections only."""
    growth = recipe.growth.policies if recipe.growth else ()
    return any(getattr(policy, "projections", None) for policy in (*growth, *recipe.pruning.policies))


def _unknown(policy: Policy, place: str, known: Sequence[str]) -> Iterator[str]:
    names: tuple[str, ...] = getattr(policy, "projections", None) or ()
    for name in names:
        if name not in known:
            meant = get_close_matches(name, known, 3)
            others = [each for each in known if each not in meant]
            shown = [*meant, *others][:SHOWN]
            more = f" and {len(known) - len(shown):,} more" if len(known) > len(shown) else ""
            expected = f"trained projections of the seed ({', '.join(shown)}{more})"
            yield f"{place}: expected {expected}, got {name!r}" + (f": is {meant[0]!r} meant?" if meant else "")

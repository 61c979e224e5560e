"""Policies by name: in this process, of installed packages, and nothing that data say of places."""

import json
import sys
import warnings
from typing import ClassVar, Literal

import pytest

import nestgraph as ng
from nestgraph.edits import Batch
from nestgraph.errors import RecipeError
from nestgraph.policies import MagnitudePruning, Policy
from nestgraph.policies.registry import POLICIES, UnknownPolicy
from nestgraph.recipes.own_kinds import register
from nestgraph.recipes.recipe import RECIPE, GrowthOptions, Recipe, load_recipe, parse_recipe, recorded_recipe
from nestgraph.snapshot import schemas

MODULE = """
from typing import ClassVar, Literal
from nestgraph.edits import Batch
from nestgraph.policies import MagnitudePruning, Policy

{before}
class Tickets(Policy):
    needs: ClassVar = frozenset()
    kind: Literal["{kind}"] = "{kind}"
    rewind: int = 3
    names: tuple[str, ...] = ("a",)

    def propose(self, network, evidence, rng, scale=1.0):
        return Batch(edits=(), title="no tickets")

number = 3
"""


class Mine(Policy):
    """Finds nothing to do."""

    needs: ClassVar = frozenset()
    kind: Literal["mine"] = "mine"
    places: tuple[str, ...] = ("a", "b")

    def propose(self, *_, **__):
        return Batch(edits=(), title="nothing")


@pytest.fixture(autouse=True)
def _clean(monkeypatch):
    monkeypatch.setattr(POLICIES, "registered", {})
    monkeypatch.setattr(POLICIES, "packages", {})
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith("own_"):
            del sys.modules[name]


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install packages, as pip leaves them."""

    def install(name, entry, kind="tickets", before="", version="1.2"):
        folder = tmp_path / name
        info = folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (folder / f"own_{name}.py").write_text(MODULE.format(kind=kind, before=before))
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(f"[nestgraph.policies]\n{entry}\n")
        monkeypatch.syspath_prepend(folder)

    return install


def document(*policies, section="pruning"):
    written = load_recipe("digits").document
    written[section]["policies"] = list(policies)
    return json.dumps(written)


def read(*policies, section="pruning"):
    return getattr(parse_recipe(document(*policies, section=section), "r.json"), section).policies


# -- in this process ---------------------------------------------------------------------------------------


def test_a_registered_class_is_used_by_its_kind():
    with pytest.raises(RecipeError, match=r"policies\[0\]: expected a kind of policy.*got 'mine'"):
        read({"kind": "mine"})
    assert register(Mine) is Mine
    assert ng.register is register
    for section in ("growth", "pruning"):
        (policy,) = read({"kind": "mine", "places": ["c"]}, section=section)
        assert policy == Mine(places=("c",))
    recipe = parse_recipe(document({"kind": "mine"}), "r.json")
    assert RECIPE.validate_json(recipe.text) == recipe
    with pytest.raises(RecipeError, match=r"pruning\.policies\[0\]\.colour"):
        read({"kind": "mine", "colour": 3})


def test_instances_need_no_name():
    growth = GrowthOptions(policies=(Mine(),), size_limit=10)
    recipe = Recipe(**{**dict(load_recipe("digits")), "growth": growth})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert json.loads(recipe.model_dump_json())["growth"]["policies"] == [{"kind": "mine", "places": ["a", "b"]}]
    with pytest.raises(ng.NestgraphError, match="magnitude_pruning"):
        GrowthOptions(policies=(MagnitudePruning(fraction=0.1),), size_limit=10)


def test_a_class_that_is_defined_again_takes_its_place():
    def cell(fraction):
        class Again(Mine):
            kind: Literal["again"] = "again"
            share: float = fraction

        return register(Again)

    cell(0.1)
    second = cell(0.2)
    assert POLICIES.find("again") is second

    class Other(Mine):
        kind: Literal["again"] = "again"

    with pytest.raises(RecipeError, match=r"expected a kind of its own, got 'again', which is that of .*Again"):
        register(Other)


def test_classes_that_are_no_policies():
    class BuiltIn(Mine):
        kind: Literal["rigl"] = "rigl"

    class Idle(Policy):
        needs: ClassVar = frozenset()
        kind: Literal["idle"] = "idle"

    for given, words in ((BuiltIn, "built in"), (Policy, "a field such as kind"), (3, "got 3"), (Idle, "propose")):
        with pytest.raises(RecipeError, match=words):
            register(given)


# -- of packages -------------------------------------------------------------------------------------------


def test_a_package_offers_a_policy_by_its_kind(installed):
    installed("tickets", "tickets = own_tickets:Tickets")
    (policy,) = read({"kind": "tickets", "rewind": 5, "names": ["b"]})
    assert (type(policy).__name__, policy.rewind, policy.names) == ("Tickets", 5, ("b",))
    assert POLICIES.packages_of([policy, Mine()]) == {"tickets": {"name": "tickets", "version": "1.2"}}
    register(type("Tickets", (Mine,), {"__annotations__": {"kind": Literal["tickets"]}, "kind": "tickets"}))
    assert POLICIES.find("tickets").model_fields.keys() == Mine.model_fields.keys(), (
        "what this process says comes first"
    )


def test_names_of_this_package_win(installed):
    installed("tickets", "magnitude_pruning = own_tickets:Tickets\nrigl = os:system", kind="magnitude_pruning")
    (policy,) = read({"kind": "magnitude_pruning", "fraction": 0.1})
    assert policy == MagnitudePruning(fraction=0.1)
    assert "own_tickets" not in sys.modules


def test_one_name_in_two_packages_names_both(installed):
    installed("tickets", "tickets = own_tickets:Tickets")
    installed("lottery", "tickets = own_lottery:Tickets", version="7")
    with pytest.raises(RecipeError, match=r"one package that offers .*'tickets', got lottery 7 and tickets 1\.2"):
        read({"kind": "tickets"})
    assert {"own_tickets", "own_lottery"}.isdisjoint(sys.modules)


@pytest.mark.parametrize(
    ("entry", "before", "words"),
    [
        ("tickets = own_tickets:number", "", r"package tickets 1\.2 offers 'tickets', which is no policy: .*got 3"),
        ("tickets = own_tickets:Policy", "", "which is no policy: .*a field such as kind"),
        (
            "tickets = own_tickets:MagnitudePruning",
            "",
            "of that kind, got one of kind 'magnitude_pruning'",
        ),
        ("tickets = own_tickets:Gone", "", "cannot be loaded .*AttributeError"),
        ("tickets = own_gone:Tickets", "", "cannot be loaded .*ModuleNotFoundError"),
        (
            "tickets = own_tickets:Tickets",
            "raise SystemError('two\\nlines')",
            "cannot .*SystemError: two lines",
        ),
    ],
)
def test_what_a_package_offers_wrongly(installed, entry, before, words):
    installed("tickets", entry, before=before)
    with pytest.raises(RecipeError, match=words) as caught:
        read({"kind": "tickets"})
    assert "\n" not in str(caught.value)
    (kept,) = recorded_recipe(document({"kind": "tickets", "rewind": 3}), "r.json").pruning.policies
    assert isinstance(kept, UnknownPolicy)
    assert list(POLICIES.offered()) == []


@pytest.mark.parametrize("kind", ["os:system", "../x", "own_tickets", "own_tickets:Tickets", "", "Tickets", "tickets "])
def test_nothing_is_looked_up_by_a_place_that_data_name(installed, kind):
    installed("tickets", "tickets = own_tickets:Tickets")
    with pytest.raises(RecipeError, match="expected a kind of policy"):
        read({"kind": kind})
    (kept,) = recorded_recipe(document({"kind": kind}), "r.json").pruning.policies
    assert isinstance(kept, UnknownPolicy)
    assert "own_tickets" not in sys.modules


# -- reading what was recorded -----------------------------------------------------------------------------


def test_a_record_is_kept_word_for_word_where_its_package_is_gone():
    said = {"kind": "gone", "alpha": [1, {"b": 0.1}], "": None, "fraction": 1e-300}
    recipe = recorded_recipe(document(said), "recipe.json")
    assert recipe.document["pruning"]["policies"] == [said]
    assert recorded_recipe(recipe.text, "recipe.json") == recipe


def test_options_that_a_package_refuses_now_are_kept(installed):
    installed("tickets", "tickets = own_tickets:Tickets")
    recipe = recorded_recipe(document({"kind": "tickets", "gone": 1}, {"kind": "tickets"}), "recipe.json")
    assert "gone" in recipe.left_aside
    first, second = recipe.pruning.policies
    assert (type(first), type(second).__name__) == (UnknownPolicy, "Tickets")
    assert recipe.document["pruning"]["policies"][0] == {"kind": "tickets", "gone": 1}


# -- the schema --------------------------------------------------------------------------------------------


def recipe_schema():
    return schemas({"recipe": Recipe})["recipe"]


def test_the_schema_of_recipes_has_what_is_registered_and_installed(installed):
    before = recipe_schema()
    register(Mine)
    installed("tickets", "tickets = own_tickets:Tickets\nbroken = own_gone:Tickets")
    after = recipe_schema()
    for section in ("GrowthOptions", "PruningOptions"):
        old, new = (each["$defs"][section]["properties"]["policies"]["items"]["oneOf"] for each in (before, after))
        assert new[: len(old)] == old
        assert [each["title"] for each in new[len(old) :]] == ["Mine", "Tickets"]
        assert new[-1]["properties"]["rewind"] == {"default": 3, "title": "Rewind", "type": "integer"}

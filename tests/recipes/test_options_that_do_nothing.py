"""Options that would be ignored and names of nothing: refused where a recipe is read, before anything is trained."""

import json
from typing import get_args

import numpy as np
import pytest
from pydantic import TypeAdapter, ValidationError

from nestgraph.data.image_folder import FolderOptions
from nestgraph.data.options import DataOptions
from nestgraph.errors import RecipeError
from nestgraph.loop.synthesis import synthesize
from nestgraph.policies import GrowthPolicy, HeadGrowth, MagnitudePruning, PruningPolicy, SkipGrowth, possible_skips
from nestgraph.policies.policy import plastic_projections
from nestgraph.recipes.naming import check_names
from nestgraph.recipes.pruning_options import PruningOptions
from nestgraph.recipes.recipe import SeedOptions, TrainingOptions, parse_recipe
from nestgraph.seeds import cnn, mlp
from nestgraph.spec.options import usual
from nestgraph.studies.running import run_sweep
from nestgraph.studies.sweep import Sweep, Variation
from tests.policies.attention import over_two
from tests.policies.evidence import evidence_for
from tests.recipes.test_recipe import TEXT

GROWING, PRUNING = (get_args(get_args(union)[0]) for union in (GrowthPolicy, PruningPolicy))
POLICIES = sorted({*GROWING, *PRUNING}, key=lambda policy: policy.__name__)
SECTIONS = {
    DataOptions: {"name": "digits"},
    FolderOptions: {},
    SeedOptions: {"kind": "lenet_5"},
    TrainingOptions: {},
    PruningOptions: {"policies": (MagnitudePruning(),)},
}
VALUES = {
    "final_rate": 0.5,
    "warm_up": 0.1,
    "steps": (0.2,),
    "step_rate": 0.5,
    "momentum": 0.5,
    "retry_rate": 0.5,
    "tolerance": 0.5,
    "back_off": "worst",
    "proposals": "side_by_side",
    "rate": 3.0,
    "score": "lamp",
    "path": "x",
    "digest": "0" * 64,
    "validation": "last",
    "augmentation": {},
    "size": 9,
    "resize": 9,
    "workers": 2,
    "holdout": 0.3,
    "check": False,
    "skip_files": 2,
    "memory_mb": 2,
    "widths": (4, 3),
    "maps": (3,),
    "neurons": (3,),
    "width": 2.0,
    "density": 0.5,
    "target": 0.5,
    "batch_norm": False,
}
"""An unusual value of each option that needs others."""

OTHERS = {
    "check": [True, False],
    "retries": [0, 1, 16],
    "widths": [None, (4, 3)],
    "target_accuracy": [None, 0.5],
    "target": [None, 0.5],
    "policies": [(MagnitudePruning(),), (MagnitudePruning(), MagnitudePruning(fraction=0.2))],
}


def cases():
    for record in (*SECTIONS, *POLICIES):
        for option, rules in record.beside.items():
            for rule in rules:
                choices = OTHERS.get(rule.option) or get_args(record.model_fields[rule.option].annotation)
                yield from ((record, option, rule, other) for other in choices)


@pytest.mark.parametrize(("record", "option", "rule", "other"), [*cases()], ids=lambda part: str(part)[:30])
def test_an_option_is_taken_where_it_does_something_and_refused_elsewhere(record, option, rule, other):
    given = {**SECTIONS.get(record, {})}
    company = [each for each in record.beside[option] if each is not rule and isinstance(each.values, tuple)]
    given |= {each.option: each.values[0] for each in company} | {rule.option: other}
    given |= {name: VALUES[name] for name, need in record.needed.items() if given.get(need.option) in need.values}
    record(**given)
    if other in rule.values:
        assert getattr(record(**{**given, option: VALUES[option]}), option) != usual(record, option)
        return
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(record).validate_python({**given, option: VALUES[option]})
    assert option in {error["loc"][0] for error in refused.value.errors()}
    assert f"does nothing without {rule.words}, got it beside {other!r:.40}" in str(refused.value)


@pytest.mark.parametrize("record", SECTIONS, ids=lambda record: record.__name__)
def test_what_must_be_there_is_named_where_it_is_missing(record):
    for option, need in record.needed.items():
        with pytest.raises(ValidationError, match=rf"{option}\n.*missing \(goes with {need.option} "):
            TypeAdapter(record).validate_python({**SECTIONS[record], need.option: need.values[0]})


TEXTS = {
    "fraction": 0.2, "quantile": 0.2, "scope": "global", "units": 3, "beta": 0.5, "alpha": 2.0, "limit": 1,
    "threshold": 0.9, "granularity": "map", "connections": 2, "candidates": 1, "density": 0.9, "rate": 3.0,
    "score": "lamp", "measure": "activity", "weight": "random", "rule": "rank_one",
    "add": "slots", "width": 3,
}  # fmt: skip
"""An unusual value of each option of a policy."""


LARGE = {"AreaPruning": {"quantile": 0.3}, "NeuronGrowth": {"units": 3}, "UnitPruning": {"fraction": 0.5},
         "ImportancePruning": {"fraction": 0.4}}  # fmt: skip
"""What makes a policy's steps so large on small networks that its options tell."""


def proposals(policy):
    """What a policy proposes for several networks, as text."""
    networks = mlp((8, 9, 8, 3), 0.8, 1), cnn((4, 5), (8, 7), 0.8, 1, size=8, classes=3, channels=2)
    for network in (over_two()[0],) if isinstance(policy, HeadGrowth) else networks:
        for seed in (0, 1):
            evidence = evidence_for(network, np.random.default_rng(seed))
            yield policy.propose(network, evidence, np.random.default_rng(seed)).model_dump_json()


@pytest.mark.parametrize(
    ("policy", "option"),
    [(each, name) for each in POLICIES for name in each.model_fields if name not in ("kind", "projections")],
)
def test_every_option_of_every_policy_changes_what_is_proposed(policy, option):
    company = {**LARGE.get(policy.__name__, {})}
    company.pop(option, None)
    company |= {rule.option: rule.values[0] for rule in policy.beside.get(option, ())}
    value = "gradient" if (policy, option) == (SkipGrowth, "weight") else TEXTS[option]
    before, after = policy(**company), policy(**company, **{option: value})
    assert [*proposals(before)] != [*proposals(after)]


def test_options_with_which_a_policy_never_prunes_are_refused_in_a_recipe():
    wrong = [{"kind": kind, "fraction": 1.0} for kind in ("magnitude_pruning", "snip", "random_pruning")]
    with pytest.raises(RecipeError) as refused:
        recipe_of(pruning=[*wrong, {"kind": "unit_pruning", "threshold": 0.0, "fraction": 1.0}])
    places = [f"pruning.policies[{place}].fraction: expected less than 1" for place in range(3)]
    for words in (*places, "pruning.policies[3].threshold: expected greater than 0"):
        assert words in str(refused.value)
    assert str(refused.value).count("; ") == 3


# -- names -------------------------------------------------------------------------------------------------


def recipe_of(growth=({"kind": "connection_growth"},), pruning=({"kind": "magnitude_pruning"},)):
    document = parse_recipe(TEXT, "r.toml").model_dump(mode="json")
    document["growth"]["policies"], document["pruning"]["policies"] = [*growth], [*pruning]
    return parse_recipe(json.dumps(document), "r.json")


NAMED = [(side, each) for side, all_ in (("growth", GROWING), ("pruning", PRUNING)) for each in all_]
NAMED = [(side, each) for side, each in NAMED if "projections" in each.model_fields]


@pytest.mark.parametrize(("side", "policy"), NAMED)
def test_names_of_nothing_are_told_with_what_may_be_meant(side, policy):
    kind = policy.model_fields["kind"].default
    network = recipe_of().seed_network.build(0)
    for names in (["input_to_fc1"], ["fc1_to_output", "input_to_fc1"]):
        check_names(recipe_of(**{side: [{"kind": kind, "projections": names}]}), network)
    for names in (["input_to_fc_1"], ["fc1_to_output", "input_to_fc_1"]):
        with pytest.raises(RecipeError) as refused:
            check_names(recipe_of(**{side: [{"kind": kind}, {"kind": kind, "projections": names}]}), network)
        assert str(refused.value) == (
            f"small: {side}.policies[1].projections: expected trained projections of the seed (input_to_fc1, "
            "fc1_to_output), got 'input_to_fc_1': is 'input_to_fc1' meant?"
        )
    for names in ([], ["input_to_fc1", "input_to_fc1"]):
        with pytest.raises(RecipeError, match=r"projections: (Tuple should have at least 1|expected distinct)"):
            recipe_of(**{side: [{"kind": kind, "projections": names}]})


def test_all_names_of_nothing_are_told_at_once():
    recipe = recipe_of([{"kind": "rigl", "projections": ["a", "b"]}], [{"kind": "snip", "projections": ["c"]}])
    with pytest.raises(RecipeError) as refused:
        check_names(recipe, recipe.seed_network.build(0))
    assert [words.rpartition("got ")[2] for words in str(refused.value).split("; ")] == ["'a'", "'b'", "'c'"]


def test_projections_that_growth_may_add_can_be_named():
    network = recipe_of().seed_network.build(0)
    (skip,) = possible_skips(network)
    pruning = [{"kind": "magnitude_pruning", "projections": [skip.name]}]
    check_names(recipe_of([{"kind": SkipGrowth().kind}], pruning), network)
    with pytest.raises(RecipeError, match=f"got '{skip.name}'"):
        check_names(recipe_of(pruning=pruning), network)


def test_of_many_candidates_the_nearest_are_shown():
    network = mlp((4, *[2] * 20, 3), 1.0, 0)
    assert len(plastic_projections(network)) == 21
    recipe = recipe_of(pruning=[{"kind": "snip", "projections": ["fc17_fc18"]}])
    with pytest.raises(RecipeError, match=r"seed \(fc17_to_fc18, .* and 9 more\), got 'fc17_fc18': is 'fc17_to"):
        check_names(recipe, network)


def test_nothing_is_written_or_trained_for_a_name_of_nothing(tmp_path):
    wrong = recipe_of(pruning=[{"kind": "snip", "projections": ["fc1_output"]}])
    with pytest.raises(RecipeError, match=r"pruning.policies\[0\].projections: .* is 'fc1_to_output' meant"):
        synthesize(wrong, tmp_path / "run")
    (tmp_path / "r.json").write_text(recipe_of().model_dump_json())
    policies = [{"kind": "snip", "projections": ["fc1_output"]}]
    variations = (Variation(name="right"), Variation(name="wrong", set={"pruning.policies": policies}))
    sweep = Sweep(name="s", recipe=str(tmp_path / "r.json"), seeds=(0,), variations=variations)
    with pytest.raises(RecipeError, match="is 'fc1_to_output' meant"):
        run_sweep(sweep, tmp_path / "sweep")
    assert {path.name for path in tmp_path.iterdir()} == {"r.json"}

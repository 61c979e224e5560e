"""The estimators keep scikit-learn's rules, and stay within their budget; they leave nothing behind."""

import os
import pickle
import random

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.compose import ColumnTransformer
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, StandardScaler
from sklearn.utils.estimator_checks import check_estimator

from nestgraph.errors import NestgraphError
from nestgraph.graph import violations
from nestgraph.sklearn import NestClassifier, NestRegressor
from tests.laws import quick

BRIEF = {"epochs": 8, "step_epochs": 1, "random_state": 0}
NOT_GIVEN = {
    "check_sample_weight_equivalence_on_dense_data": "mini-batches of weighted samples are not those of repeated ones"
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", [NestClassifier, NestRegressor])
def test_every_rule_of_estimators_is_kept(kind):
    found = check_estimator(kind(random_state=0), on_skip=None, on_fail=None, expected_failed_checks=NOT_GIVEN)
    states = {each["check_name"]: each["status"] for each in found}
    assert [name for name, state in states.items() if state == "failed"] == []
    assert {name for name, state in states.items() if state != "passed"} <= {*NOT_GIVEN, "check_array_api_input"}
    assert len(states) > 40


def blobs(classes=3, count=60, features=4, seed=0):
    """Classes around centres of their own."""
    rng = np.random.default_rng(seed)
    codes = rng.permutation(np.arange(count) % classes)
    return rng.standard_normal((count, features)) + 3 * rng.standard_normal((classes, features))[codes], codes


def curve(count=60, features=4, targets=None, seed=0):
    """Numbers that follow from others, one or several."""
    rng = np.random.default_rng(seed)
    inputs = rng.standard_normal((count, features))
    told = np.tanh(inputs @ rng.standard_normal((features, targets or 1))) * 5 + 3
    return inputs, told if targets else told[:, 0]


@quick(4)
@given(st.integers(20, 200), st.integers(2, 4), st.lists(st.integers(2, 12), max_size=2), st.integers(0, 99))
def test_a_network_keeps_to_its_budget(connections, outputs, hidden, seed):
    for made, (inputs, told) in (
        (NestClassifier, blobs(outputs, seed=seed)),
        (NestRegressor, curve(targets=outputs, seed=seed)),
    ):
        model = made(connections, hidden=hidden, **{**BRIEF, "random_state": seed}).fit(inputs, told)
        network = model.network_
        assert network.connection_count <= connections
        assert violations(network.replace()) == ()
        assert [row.accepted for row in model.run_.measurements if row.phase == "prune"].count(False) == 0
        assert not any("gamma" in network.layer(name).column_names for name in network.layer_names)
        predicted = model.predict(inputs)
        assert predicted.shape == told.shape
        alone = np.concatenate([model.predict(row[None]) for row in inputs[:5]])
        np.testing.assert_allclose(alone.astype(float), predicted[:5].astype(float), rtol=0, atol=1e-9)


def states():
    return random.getstate(), str(np.random.get_state()), torch.get_rng_state().tolist(), torch.get_num_threads()


def test_generators_threads_and_disk_stay_as_they_are(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = states()
    NestClassifier(40, **BRIEF).fit(*blobs())
    assert states() == before
    assert os.listdir(tmp_path) == []


def test_one_number_is_drawn_from_the_random_state():
    given, twin = np.random.RandomState(5), np.random.RandomState(5)
    first = NestRegressor(40, **{**BRIEF, "random_state": given}).fit(*curve())
    number = twin.randint(np.iinfo(np.int32).max)
    assert str(given.get_state()) == str(twin.get_state())
    assert first.run_.recipe == NestRegressor(40, **BRIEF).fit(*curve()).run_.recipe
    again, other = (NestRegressor(40, **{**BRIEF, "random_state": seed}).fit(*curve()) for seed in (5, 6))
    assert again.network_.digest == first.network_.digest != other.network_.digest
    assert number != 5


def test_pickles_hold_snapshots_and_no_module():
    inputs, codes = blobs()
    model = NestClassifier(40, **BRIEF).fit(inputs, codes)
    data = pickle.dumps(model)
    assert not {name.split(".")[0] for name in named(data)} & {"torch", "builtins.eval", "networkx"}
    assert b'"format":"nestgraph.network"' in data.replace(b" ", b"")
    read = pickle.loads(data)
    assert read.network_.digest == model.network_.digest
    assert {name: n.digest for name, n in read.run_.stages.items()} == {
        name: n.digest for name, n in model.run_.stages.items()
    }
    assert (read.predict_proba(inputs) == model.predict_proba(inputs)).all()
    assert (clone(read).fit(inputs, codes).predict_proba(inputs) == model.predict_proba(inputs)).all()


def named(data):
    """The modules that a pickle names."""
    import pickletools

    words = [argument for _, argument, _ in pickletools.genops(data) if isinstance(argument, str)]
    return {word for word in words if word.replace(".", "").replace("_", "").isalnum()}


def test_weights_count():
    """What weighs nothing is as if it were not there, and only ratios of weights count."""
    inputs, codes = blobs()
    weights = np.where(np.arange(len(codes)) % 4 == 0, 0.0, 1.0 + np.arange(len(codes)) % 3)
    some = weights > 0
    model = NestClassifier(40, **BRIEF)
    digests = {
        clone(model).fit(*given).network_.digest
        for given in (
            (inputs, codes, weights),
            (inputs, codes, 8 * weights),
            (inputs[some], codes[some], weights[some]),
        )
    }
    assert len(digests) == 1
    assert clone(model).fit(inputs[some], codes[some]).network_.digest not in digests


def test_the_unit_of_a_target_changes_nothing():
    inputs, told = curve()
    plain, larger = (NestRegressor(40, **BRIEF).fit(inputs, factor * told) for factor in (1, 64))
    assert plain.network_.digest == larger.network_.digest
    assert (64 * plain.predict(inputs) == larger.predict(inputs)).all()
    assert larger.run_.measurements[-1].scores["mae"] > 20 * plain.run_.measurements[-1].scores["mae"]


@pytest.mark.parametrize("classes", [2, 3])
def test_probabilities_odds_and_classes_agree(classes):
    inputs, codes = blobs(classes)
    names = np.array(["ash", "birch", "cedar"], dtype=object)
    model = NestClassifier(60, **BRIEF).fit(inputs, names[codes])
    assert model.classes_.tolist() == names[:classes].tolist()
    odds, shares = model.decision_function(inputs), model.predict_proba(inputs)
    np.testing.assert_allclose(shares.sum(1), 1)
    if classes == 2:
        np.testing.assert_allclose(np.log(shares[:, 1] / shares[:, 0]), odds, atol=1e-6)
    else:
        assert (odds.argmax(1) == shares.argmax(1)).all()
    assert (model.predict(inputs) == model.classes_[shares.argmax(1)]).all()


def test_decisions_are_made_by_a_share_of_the_samples_where_asked():
    inputs, codes = blobs(count=100)
    model = NestClassifier(40, validation_fraction=0.2, **BRIEF)
    assert (
        model.fit(inputs, codes).network_.digest
        != clone(model).set_params(validation_fraction=0.0).fit(inputs, codes).network_.digest
    )


@pytest.mark.parametrize("jobs", [None, pytest.param(2, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [NestClassifier, NestRegressor])
def test_a_grid_over_a_pipeline_with_a_column_transformer(kind, jobs):
    pandas = pytest.importorskip("pandas")
    inputs, told = blobs(2) if kind is NestClassifier else curve()
    frame = pandas.DataFrame(inputs, columns=list("abcd")).assign(tree=np.array(["ash", "birch"])[told.astype(int) % 2])
    prepared = ColumnTransformer([("numbers", StandardScaler(), list("abcd")), ("words", OneHotEncoder(), ["tree"])])
    pipeline = make_pipeline(prepared, kind(**BRIEF))
    grid = GridSearchCV(pipeline, {f"{kind.__name__.lower()}__connections": [20, 40]}, cv=2, n_jobs=jobs)
    grid.fit(frame, told)
    assert grid.best_estimator_[-1].network_.connection_count <= 40
    assert np.isfinite(grid.cv_results_["mean_test_score"]).all()


def test_it_is_cross_validated_and_calibrated():
    inputs, codes = blobs()
    model = NestClassifier(40, **BRIEF)
    assert np.isfinite(cross_val_score(model, inputs, codes, cv=2)).all()
    shares = CalibratedClassifierCV(model, cv=2).fit(inputs, codes).predict_proba(inputs)
    np.testing.assert_allclose(shares.sum(1), 1)


@pytest.mark.parametrize(
    ("made", "told", "sentence"),
    [
        (NestClassifier(40), lambda inputs: np.zeros(len(inputs)), "at least 2 classes, got 1 class"),
        (NestClassifier(0), lambda inputs: np.arange(len(inputs)) % 2, "got 0 for one that needs 2: raise connections"),
        (NestClassifier(2), lambda inputs: np.arange(len(inputs)) % 5, "got 2 for one that needs 6: raise connections"),
        (NestRegressor(40), lambda inputs: np.zeros(len(inputs)), "targets that differ"),
        (NestRegressor(40), lambda inputs: np.full(len(inputs), np.inf), "infinity"),
        (NestRegressor(40, batch_size=1), lambda inputs: inputs[:, 0], "batch_size"),
    ],
)
def test_wrong_input_is_one_sentence(made, told, sentence):
    inputs, _ = curve(count=20)
    with pytest.raises((ValueError, NestgraphError), match=sentence):
        made.set_params(epochs=1, step_epochs=1).fit(inputs, told(inputs))

"""The trainer: it learns, repeats to the bit, keeps what is pruned at 0, and refuses in sentences."""

import numpy as np
import pytest
import torch

from nestgraph.data import batches
from nestgraph.data.distortion import AffineDistortion
from nestgraph.edits import SetOperations, SetValues, prune_connections, remove_units
from nestgraph.errors import DataError, TrainingError
from nestgraph.graph import Structure
from nestgraph.graph.reference import forward, preactivation
from nestgraph.loop.trainer import Trainer, cpu_threads
from nestgraph.lowering import slots
from nestgraph.lowering.workbench import Workbench
from nestgraph.recipes.recipe import TrainingOptions
from nestgraph.seeds import lenet_5, mlp
from tests.loop.tasks import accuracy_of, but_one, conv_network, dense_network, images_for, loss_of, toy, toy_trainer

DATA = toy()
NETWORKS = {
    "dense": dense_network("leaky_relu", batch_norm=True),
    "without normalisation": dense_network(),
    "maps": conv_network(batch_norm=True, dropout=0.2),
}


def fitted(network, trainer=None, epochs=2, index=0):
    trainer = trainer or toy_trainer(DATA)
    return trainer.fit(trainer.bench(network), epochs, "test", index).network


@pytest.mark.parametrize("optimizer", ["sgd", "adam", "adamw"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_training_lowers_the_loss(kind, optimizer):
    network = NETWORKS[kind]
    trainer = toy_trainer(DATA, optimizer=optimizer, learning_rate=0.02)
    trained = fitted(network, trainer, epochs=15)
    before, after = (trainer.measure(each, "validation") for each in (network, trained))
    assert after.loss < 0.8 * before.loss
    assert after.scores["accuracy"] > max(0.5, before.scores["accuracy"])


def test_training_repeats_to_the_bit_and_its_random_numbers_have_names():
    network = NETWORKS["maps"]
    first = fitted(network)
    assert fitted(network, toy_trainer(DATA)) == first
    assert fitted(network, index=1) != first
    assert fitted(network, toy_trainer(DATA, seed=1)) != first


@pytest.mark.parametrize("distortion", [None, AffineDistortion(translate=0.2)], ids=["plain", "distorted"])
def test_the_global_generators_stay_as_they_are(distortion):
    trainer = Trainer(DATA, TrainingOptions(batch_size=20), distortion)
    state, numpy_state = torch.get_rng_state(), np.random.get_state()[1].copy()
    trained = [fitted(NETWORKS["maps"], trainer) for _ in range(2)]
    list(trainer.batches(NETWORKS["maps"], None, "test", 0))
    assert torch.equal(torch.get_rng_state(), state)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_state)
    assert trained[0] == trained[1]
    assert (trained[0] == fitted(NETWORKS["maps"])) == (distortion is None)


def test_the_rate_falls_along_half_a_cosine_from_stage_to_stage():
    trainer = toy_trainer(DATA, learning_rate=0.1, final_rate=0.5)
    bench, rates = trainer.bench(NETWORKS["dense"]), []
    bench.optimizer.register_step_post_hook(lambda optimizer, *_: rates.append(optimizer.param_groups[0]["lr"]))
    for index in range(2):
        trainer.fit(bench, 4, "test", index)
    progress = np.arange(12) / 12  # three batches an epoch
    expected = 0.1 * (0.5 + 0.5 * (1 + np.cos(np.pi * progress)) / 2)
    np.testing.assert_allclose(rates, [*expected, *expected])


@pytest.mark.parametrize(
    ("count", "size", "expected"), [(60, 20, [20] * 3), (61, 60, [31, 30]), (7, 60, [7]), (61, 3, [3] * 19 + [2] * 2)]
)
def test_batches_are_of_one_size_and_hold_each_sample_once(count, size, expected):
    data = toy(count)
    trainer = toy_trainer(data, batch_size=size)
    batches = list(trainer.batches(NETWORKS["dense"], None, "test", 0))
    assert [len(labels) for _, labels in batches] == expected
    seen = np.concatenate([inputs.numpy() for inputs, _ in batches])
    assert sorted(map(bytes, seen)) == sorted(map(bytes, data.train.inputs.reshape(count, -1)))
    fitted(NETWORKS["dense"], trainer, epochs=1)  # batch normalisation refuses batches of one


def test_batches_are_lazy_and_as_many_as_asked_for():
    trainer = toy_trainer(DATA)
    assert len(list(trainer.batches(NETWORKS["maps"], 2, "test", 0))) == 2
    images, _ = next(iter(trainer.batches(NETWORKS["maps"], None, "test", 0)))
    assert images.shape == (20, 1, 6, 6)


# -- measuring -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETWORKS)
@pytest.mark.parametrize("batch", [4096, 10])
def test_measured_is_what_the_reference_says(kind, batch, monkeypatch):
    monkeypatch.setattr(batches, "MEASURING_BATCH", batch)
    trainer, network = toy_trainer(DATA), fitted(NETWORKS[kind])
    for split in ("train", "validation", "test"):
        score, part = trainer.measure(network, split), getattr(DATA, split)
        assert score.scores["accuracy"] == but_one(accuracy_of(network, part), part)
        assert score.loss == pytest.approx(loss_of(network, part), rel=1e-4)


def test_a_module_in_training_measures_like_its_network():
    trainer, network = toy_trainer(DATA), NETWORKS["maps"]
    bench = trainer.bench(network)
    trained = trainer.fit(bench, 2, "test", 0).network
    assert trainer.measure(trained, "test", bench.module) == trainer.measure(trained, "test")


def test_recalibration_measures_the_statistics_anew_on_undistorted_images():
    trainer = Trainer(
        DATA, TrainingOptions(batch_size=len(DATA.train), recalibration_batches=1), AffineDistortion(degrees=90.0)
    )
    for network, layers in ((dense_network(batch_norm=True), ("fc1", "fc2")), (NETWORKS["maps"], ("conv",))):
        trained = fitted(network, trainer)
        outputs = forward(trained, images_for(trained, DATA.train.inputs))
        for name in layers:
            sums, statistics = preactivation(trained, name, outputs), trained.unit_columns(name).values
            axes = (0, *range(2, sums.ndim))
            np.testing.assert_allclose(statistics["mean"], sums.mean(axes), atol=0.02)
            np.testing.assert_allclose(statistics["variance"], sums.var(axes), rtol=0.05)


# -- edits between trainings -----------------------------------------------------------------------------


def dormant_weights(network):
    columns = [network.connection_columns(name) for name in network.projection_names]
    return np.concatenate([c.weight[~c.mask] for c in columns])


def test_pruned_weights_stay_zero_through_trainings_and_edits():
    trainer, network = toy_trainer(DATA, momentum=0.9, weight_decay=0.1), dense_network(batch_norm=True, density=1.0)
    bench = trainer.bench(network)
    trainer.fit(bench, 2, "test", 0)
    entries = {
        name: np.arange(0, network.connection_columns(name).mask.size, 7) for name in ("input_to_fc1", "fc1_to_fc2")
    }
    for index in range(1, 4):
        if index == 1:
            bench.apply(prune_connections(bench.network, entries))
        network = trainer.fit(bench, 2, "test", index).network
        for name, gone in entries.items():
            assert not network.connection_columns(name).mask.flat[gone].any()
        assert len(dormant_weights(network)) >= sum(map(len, entries.values()))
        assert not dormant_weights(network).any()
        assert trainer.measure(network, "test", bench.module).loss == pytest.approx(
            loss_of(network, DATA.test), rel=1e-4
        )


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_an_edit_of_nothing_changes_nothing(optimizer):
    results = []
    for edited in (False, True):
        trainer = toy_trainer(DATA, optimizer=optimizer)
        bench = trainer.bench(NETWORKS["dense"])
        trainer.fit(bench, 2, "test", 0)
        if edited:
            bench.apply(SetValues())
        results.append(trainer.fit(bench, 2, "test", 1).network)
    assert results[0] == results[1]


def test_a_training_is_an_edit_also_where_it_changes_nothing():
    trainer = toy_trainer(DATA)
    bench = trainer.bench(NETWORKS["dense"])
    for epochs in (1, 0):
        applied = trainer.fit(bench, epochs, "test", 0)
        assert applied.edit.apply(applied.before).network == applied.network == bench.network
    assert [edit.kind for edit in bench.history] == ["set_values"] * 2
    assert bench.history[1] == SetValues()


def test_the_optimizer_s_state_follows_the_units_there_and_back():
    trainer, network = toy_trainer(DATA), dense_network(density=1.0)
    bench = trainer.bench(network)
    trainer.fit(bench, 1, "test", 0)
    before = _momentum(bench)
    bench.apply(remove_units(bench.network, "fc1", [2]))
    after = _momentum(bench)
    kept = [0, 1, 3, 4, 5]
    assert torch.equal(after["input_to_fc1", "weight"], before["input_to_fc1", "weight"][kept])
    assert torch.equal(after["fc1_to_fc2", "weight"], before["fc1_to_fc2", "weight"][:, kept])
    assert torch.equal(after["fc2", "bias"], before["fc2", "bias"])
    trainer.fit(bench, 1, "test", 1)
    for _ in range(2):
        bench.undo()
    assert all(torch.equal(value, before[key]) for key, value in _momentum(bench).items())


def _momentum(bench):
    keys = ((slot.owner, slot.column, slot.tensor(bench.module)) for slot in slots(bench.network))
    return {(owner, name): bench.optimizer.state[held]["momentum_buffer"].clone() for owner, name, held in keys}


# -- refusals --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", NETWORKS)
def test_training_that_diverges_says_so(kind):
    trainer = toy_trainer(DATA, learning_rate=1e6)
    with pytest.raises(TrainingError, match=r"training \(test 0, epoch \d+\) expected finite numbers, got") as caught:
        fitted(NETWORKS[kind], trainer, epochs=40)
    assert "lower training.learning_rate" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_last_step_that_diverges_is_noticed():
    trainer = toy_trainer(toy(20))  # one batch
    bench = trainer.bench(NETWORKS["dense"])
    bench.optimizer.register_step_post_hook(lambda *_: next(bench.module.parameters()).data.fill_(np.inf))
    with pytest.raises(TrainingError, match="last step"):
        trainer.fit(bench, 1, "test", 0)
    bench.drop()
    assert bench.network == NETWORKS["dense"]
    assert not bench.optimizer.state


def two_outputs():
    network = dense_network()
    second = network.layer("fc2").model_copy(update={"output": True})
    return network.of(Structure([*(network.layer(n) for n in network.layer_names if n != "fc2"), second],
        network.projections_by_name.values(),
        {n: network.unit_columns(n) for n in network.layer_names},
        {n: network.connection_columns(n) for n in network.projection_names}))  # fmt: skip


MISFITS = {
    "too many pixels": (mlp((49, 4, 3)), "reads images of"),
    "maps of another size": (lenet_5(0.1, 0.2), "reads images of"),
    "too few classes": (mlp((36, 4, 2)), "3 output neurons"),
    "too many classes": (mlp((36, 4, 5)), "3 output neurons"),
    "two outputs": (two_outputs(), "3 output neurons"),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_network_that_does_not_fit_the_data_is_refused(name):
    network, expected = MISFITS[name]
    trainer = toy_trainer(DATA)
    bench = Workbench(network, lambda module: torch.optim.SGD(module.parameters(), lr=0.1))
    attempts = (
        lambda: trainer.bench(network),
        lambda: trainer.measure(network, "test"),
        lambda: trainer.fit(bench, 1, "train", 0),
        lambda: trainer.samples(network, "test"),
        lambda: list(trainer.batches(network, 1, "train", 0)),
    )
    for attempt in attempts:
        with pytest.raises(DataError, match=expected) as caught:
            attempt()
        assert "'toy'" in str(caught.value)


@pytest.mark.parametrize("device", ["abacus", "cuda:99", *([] if torch.cuda.is_available() else ["cuda"])])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(TrainingError, match="use device='cpu'"):
        Trainer(DATA, TrainingOptions(), device=device)


def test_threads_are_set_inside_only():
    before = torch.get_num_threads()
    for count, inside in ((before + 1, before + 1), (None, before)):
        with cpu_threads(count):
            assert torch.get_num_threads() == inside
        assert torch.get_num_threads() == before


def test_label_smoothing_is_of_the_training_loss_only():
    plain, smooth = toy_trainer(DATA), toy_trainer(DATA, label_smoothing=0.2)
    outputs, labels = torch.randn(5, 3, generator=torch.Generator().manual_seed(0)), torch.tensor([0, 1, 2, 0, 1])
    uniform = -torch.log_softmax(outputs, 1).mean()
    assert float(smooth.task.loss(outputs, labels)) == pytest.approx(
        float(0.8 * plain.task.loss(outputs, labels) + 0.2 * uniform)
    )
    network = NETWORKS["dense"]
    assert smooth.measure(network, "test") == plain.measure(network, "test")


def test_activations_can_change_between_trainings():
    trainer, network = toy_trainer(DATA), NETWORKS["dense"]
    bench = trainer.bench(network)
    trainer.fit(bench, 1, "test", 0)
    bench.apply(SetOperations(layer="fc1", operations=network.layer("fc1").operations[:1], bias=False))
    assert trainer.fit(bench, 1, "test", 1).network.layer("fc1").operations == network.layer("fc1").operations[:1]


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_both_devices_train_in_one_process():
    for device in ("cpu", "cuda", "cpu"):
        trainer = Trainer(DATA, TrainingOptions(batch_size=20), device=device)
        network = fitted(NETWORKS["dense"], trainer, epochs=5)
        assert trainer.device.type == device
        assert trainer.measure(network, "test").goal == but_one(accuracy_of(network, DATA.test), DATA.test)

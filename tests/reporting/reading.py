"""The data of a page read back as its script reads it, without the script."""

import base64
import json
import re
import zlib

import numpy as np

from nestgraph.graph.columns import Links


def embedded(text):
    """What the page carries as JSON."""
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text, re.DOTALL)[1])


def array(data, name):
    """One of the page's arrays."""
    dtype, offset, count = data["index"][name]
    return np.frombuffer(zlib.decompress(base64.b64decode(data["packed"])), dtype, count, offset)


def carried(data, projection, moment):
    """{(target id, source id, place): weight} of a projection at a moment."""
    record = next(entry for entry in data["projections"] if entry["name"] == projection)
    layers = {entry["name"]: [unit for unit, *_ in entry["units"]] for entry in data["layers"]}
    targets, sources = layers[record["target"]], layers[record["source"]]
    keys = np.cumsum(array(data, f"keys/{projection}").astype(np.int64))
    codes = array(data, f"codes/{projection}").reshape(len(data["moments"]), -1)[moment].astype(int)
    scale, inner = array(data, f"scale/{projection}")[moment], int(np.prod(record["inner"]))
    found = {}
    for key, code in zip(keys.tolist(), codes.tolist(), strict=True):
        if code:
            edge, place = divmod(key, inner)
            level = (code - 128) / 127
            found[targets[edge // len(sources)], sources[edge % len(sources)], place] = (
                np.sign(level) * level**2 * scale
            )
    return found


def connections(network, projection):
    """The same of a network, exactly."""
    record, columns = network.projection(projection), network.connection_columns(projection)
    targets, sources = network.units(record.target).tolist(), network.units(record.source).tolist()
    found = {}
    for index in np.argwhere(columns.mask):
        if isinstance(columns, Links):
            source, target = columns.links[index[0]].tolist()
            shape, rest = columns.mask.shape[1:], tuple(index[1:])
        else:
            target, source = targets[index[0]], sources[index[1]]
            shape, rest = columns.mask.shape[2:], tuple(index[2:])
        place = int(np.ravel_multi_index(rest, shape)) if shape else 0
        found[target, source, place] = float(columns.weight[tuple(index)])
    return found

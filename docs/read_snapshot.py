"""Reads a snapshot with NumPy alone, as format.md tells: `layers, projections = read(Path("net.json"))`."""

import base64
import hashlib
import json
from math import prod

import numpy as np

TYPES = {"ids": "<i8", "links": "<i8", "live": "u1", "area": "u1", "I64": "<i8", "F32": "<f4", "U8": "u1"}
TYPES |= dict.fromkeys(("weights", "bias", "places", "slope", "gamma", "beta", "mean", "variance"), "<f4")


def unpacked(key, value):
    """An array of a document. Booleans stay packed, eight to a byte."""
    if isinstance(value, list):
        return np.packbits(value) if key in ("live", "area") else np.array(value, TYPES[key])
    array = np.frombuffer(base64.b64decode(value["data"]), TYPES[key])
    return array if key in ("live", "area") else array.reshape(value["shape"])


def tensors_of(path):
    """The tensors of a sidecar, which is a safetensors file: the length of a table in 8 bytes, the table, the data."""
    data = path.read_bytes()
    start = 8 + int.from_bytes(data[:8], "little")
    for name, entry in json.loads(data[8:start]).items():
        if name != "__metadata__":
            begin, end = (start + offset for offset in entry["data_offsets"])
            yield name, np.frombuffer(data[begin:end], TYPES[entry["dtype"]]).reshape(entry["shape"])


def read(path):
    """Two tables by name of (record, arrays), with weights and mask in full. Fails where the digest is another."""
    lines = path.read_text("utf-8").splitlines()
    document, sha = json.loads("".join(lines)), hashlib.sha256(b"nestgraph network 1")
    assert (document["format"], document["version"]) == ("nestgraph.network", 2)
    tensors = dict(tensors_of(path.with_name(document["digest"] + ".safetensors")) if document["sidecar"] else ())
    tables = {"layer": {}, "projection": {}}
    for kind, table in tables.items():
        for line in [line for line in lines if line.startswith(f'{{"{kind}":')]:  # each record has a line
            entry, end = json.loads(line.rstrip(",")), json.JSONDecoder().raw_decode(line, len(kind) + 4)[1]
            place = f"{kind}s.{entry[kind]['name']}."
            arrays = {k: unpacked(k, v) for k, v in (entry | entry.get("values", {})).items() if k in TYPES}
            arrays |= {name[len(place) :]: tensor for name, tensor in tensors.items() if name.startswith(place)}
            table[entry[kind]["name"]] = (line[len(kind) + 4 : end].encode(), entry, arrays)
        for name, (text, entry, arrays) in sorted(table.items()):
            parts = [arrays[key] for key in ("ids", *sorted(arrays.keys() - {"ids"})) if kind == "layer"]
            if kind == "projection":
                shape, size = entry["shape"], prod(entry["shape"])
                live, full = arrays.pop("live", np.packbits(np.ones(size, bool))), np.zeros(size, "f4")
                mask = np.unpackbits(live, count=size) == 1
                area = np.array(entry.get("area_shape", []), "<i8").tobytes() + bytes(arrays.get("area", b""))
                parts = [np.array(shape, "<i8"), live, arrays["weights"], area, arrays.get("links", b"")]
                full[mask] = arrays["weights"]
                arrays |= {"mask": mask.reshape(shape), "weights": full.reshape(shape)}
            for part in map(bytes, (text, *parts)):
                sha.update(len(part).to_bytes(8, "little") + part)
            table[name] = (entry[kind], arrays)
    if "interface" in document:
        begin = len('"interface":') + (head := lines[0]).index('"interface":')
        part = head[begin : json.JSONDecoder().raw_decode(head, begin)[1]].encode()
        sha.update(len(part).to_bytes(8, "little") + part)
    assert sha.hexdigest() == document["digest"], "the file was altered"
    return tables["layer"], tables["projection"]

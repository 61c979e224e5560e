"""A writer and an evaluator of networks that know docs/format.md and nothing of nestgraph: Python and NumPy alone.

A network is two lists of dictionaries, layers and projections. A layer holds its `record`, `next_id`, `ids` and, by
column, `values`; a projection its `record`, `weight` and `mask` in full, and maybe `area` and `links`. Records are
dictionaries. Each section names the part of the page that it follows.
"""

import base64
import hashlib
import json
import math
from decimal import Decimal

import numpy as np

# -- "Records": fields in order, and the value at which a field is left out ----------------------------------------

SWEEP = ("kernel", "stride", "padding", "dilation", "transposed", "output_padding")
PLAIN = {"transposed": False, "output_padding": []}
ENDS = ("source", "target", "name", "kind")
LATER = ("opaque", "unitwise", "note", "frozen", "places", "classes")
RECORDS = {
    "layer": ("name", "kind", "size", "features", "operations", "bias", "output", "label", *LATER),
    "batch_norm": ("kind", "epsilon", "momentum", "batches"),
    "activation": ("kind", "function", "slope", "low", "high", "exponent", "value", "sharpness"),
    "parametric_relu": ("kind",),
    "pooling": ("kind", "function", "kernel", "stride", "padding", "ceil_mode", "count_padding"),
    "adaptive_pooling": ("kind", "function", "size"),
    "pick": ("kind", "place"),
    "upsampling": ("kind", "mode", "size", "align_corners", "scale"),
    "softmax": ("kind", "causal"),
    "series": ("kind", "before", "after"),
    "pad": ("kind", "before", "after", "mode", "value"),
    "local_response_norm": ("kind", "size", "alpha", "beta", "k"),
    "norm": ("kind", "over", "groups", "center", "count", "divisors", "epsilon", "gamma", "beta"),
    "dropout": ("kind", "probability", "maps", "alpha"),
    "dense": (*ENDS, "frozen", "like"),
    "conv": (*ENDS, *SWEEP, "frozen", "like"),
    "lookup": (*ENDS, "frozen"),
    "one_to_one": (*ENDS, *SWEEP, "trained", "frozen", "placed", "gate"),
    "argument": (*ENDS, "place"),
    "match": (*ENDS, "side"),
    "mix": ENDS,
    "input port": ("layer", "axis", "shape", "free", "integers"),
    "output port": ("layer", "axis", "shape", "label"),
}
LEFT_OUT = {
    "layer": {"opaque": None, "unitwise": False, "note": "", "frozen": [], "places": False, "classes": None},
    "batch_norm": {"batches": 0},
    "activation": {"low": None, "high": None, "exponent": None, "value": None, "sharpness": None},
    "pooling": {"ceil_mode": False, "count_padding": True},
    "upsampling": {"scale": None},
    "softmax": {"causal": False},
    "series": {"before": 0, "after": 0},
    "norm": {"divisors": []},
    "dropout": {"maps": False, "alpha": False},
    "dense": {"frozen": False, "like": None},
    "conv": PLAIN | {"frozen": False, "like": None},
    "lookup": {"frozen": False},
    "one_to_one": PLAIN | {"frozen": False, "placed": False, "gate": False},
    "input port": {"axis": 1, "shape": None, "free": [], "integers": None},
    "output port": {"axis": 1, "shape": None, "label": ""},
}


# -- "Spelling" ----------------------------------------------------------------------------------------------------


def number(value, single=False):
    """A float in its shortest digits: from 1e-5 to below 1e16 without an exponent, else with a signed one."""
    shortest = Decimal(str(np.float32(value)) if single else repr(float(value)))
    sign, digits, exponent = shortest.as_tuple()
    text = "".join(map(str, digits)).rstrip("0")
    first = len(digits) + exponent - 1
    minus = "-" if sign else ""
    if not text:
        return f"{minus}0.0"
    if first < -5 or first >= 16:
        return f"{minus}{text[0]}{'.' if text[1:] else ''}{text[1:]}e{first:+d}"
    if first < 0:
        return f"{minus}0.{'0' * (-first - 1)}{text}"
    text = text.ljust(first + 1, "0")
    return f"{minus}{text[: first + 1]}.{text[first + 1 :] or '0'}"


class Spelled(str):
    """Text that is JSON already."""


def spelled(value):
    if isinstance(value, Spelled):
        return value
    if isinstance(value, float):
        return number(value)
    if isinstance(value, str):
        return '"' + value.replace("\\", "\\\\").replace('"', '\\"') + '"'
    if isinstance(value, list | tuple):
        return "[" + ",".join(map(spelled, value)) + "]"
    if isinstance(value, dict):
        return Spelled("{" + ",".join(f"{spelled(key)}:{spelled(item)}" for key, item in value.items()) + "}")
    words = {"None": "null", "True": "true", "False": "false"}
    return words.get(str(value), str(value))


def record(kind, values):
    known = {name: list(value) if isinstance(value, tuple) else value for name, value in values.items()}
    own = LEFT_OUT.get(kind, {})
    return {name: known[name] for name in RECORDS[kind] if not (name in own and known[name] == own[name])}


def layer_record(values):
    chain = [record(one["kind"], one) for one in values["operations"]]
    return spelled(record("layer", {**values, "operations": chain}))


def projection_record(values):
    return spelled(record(values["kind"], values))


def interface_record(values):
    inputs = [record("input port", port) for port in values["inputs"]]
    outputs = [record("output port", port) for port in values["outputs"]]
    plain = [list(port) for port in (*inputs, *outputs)] == [["layer"], ["layer"]] and len(inputs) == 1
    return None if plain else spelled({"inputs": inputs, "outputs": outputs})


def array(values, kind):
    """A list where one-dimensional and short, else base64 of its bytes."""
    values = np.ascontiguousarray(values, {"float32": "<f4", "int64": "<i8", "bool": bool}[kind])
    if values.ndim == 1 and len(values) <= 32:
        return Spelled(
            "[" + ",".join(number(v, True) if kind == "float32" else spelled(v.item()) for v in values) + "]"
        )
    data = base64.b64encode(bits(values) if kind == "bool" else values.tobytes()).decode()
    return Spelled(f'{{"dtype":"{kind}","shape":{spelled(values.shape)},"data":"{data}"}}')


def bits(values):
    return np.packbits(values.reshape(-1)).tobytes()


# -- "Order", "The digest" and the document --------------------------------------------------------------------------


def ordered(layers, projections):
    """Layers: again and again the first by name whose sources are all taken. Projections by target and name."""
    names, left = [], {layer["record"]["name"] for layer in layers}
    while left:
        fed = {p["record"]["target"] for p in projections if p["record"]["source"] in left}
        names.append(min(left - fed))
        left.remove(names[-1])
    by_name = {layer["record"]["name"]: layer for layer in layers}
    key = lambda p: (names.index(p["record"]["target"]), p["record"]["name"])  # noqa: E731
    return [by_name[name] for name in names], sorted(projections, key=key)


def columns_of(values):
    found = ["bias"] if values["bias"] and values["kind"] != "input" else []
    found += ["places"] * values["places"]
    always = {"batch_norm": ["gamma", "beta", "mean", "variance"], "parametric_relu": ["slope"]}
    for operation in values["operations"]:
        found += always.get(operation["kind"], [])
        found += [name for name in ("gamma", "beta") if operation["kind"] == "norm" and operation[name]]
        found += ["ends"] if operation["kind"] == "series" and operation["before"] + operation["after"] else []
    return found


def digest(layers, projections, interface):
    state = hashlib.sha256(b"nestgraph network 1")

    def absorb(*parts):
        for part in parts:
            state.update(len(part).to_bytes(8, "little") + part)

    for layer in sorted(layers, key=lambda one: one["record"]["name"]):
        absorb(layer_record(layer["record"]).encode(), np.asarray(layer["ids"], "<i8").tobytes())
        absorb(*(np.asarray(layer["values"][name], "<f4").tobytes() for name in sorted(layer["values"])))
    for one in sorted(projections, key=lambda one: one["record"]["name"]):
        mask, area, links = one["mask"], one.get("area"), one.get("links")
        absorb(projection_record(one["record"]).encode(), np.array(mask.shape, "<i8").tobytes(), bits(mask))
        absorb(one["weight"][mask].astype("<f4").tobytes())
        absorb(b"" if area is None else np.array(area.shape, "<i8").tobytes() + bits(area))
        absorb(b"" if links is None else links.astype("<i8").tobytes())
    if interface is not None:
        absorb(interface.encode())
    return state.hexdigest()


def written(layers, projections, interface=None):
    """The bytes of a document that is complete."""
    ports = None if interface is None else interface_record(interface)
    layers, projections = ordered(layers, projections)
    lines = []
    for layer in layers:
        values = (f'"{name}":{array(layer["values"][name], "float32")}' for name in columns_of(layer["record"]))
        entry = {"layer": layer_record(layer["record"]), "next_id": layer["next_id"]}
        lines.append(
            spelled(entry | {"ids": array(layer["ids"], "int64"), "values": Spelled("{" + ",".join(values) + "}")})
        )
    more = []
    for one in projections:
        mask, area, links = one["mask"], one.get("area"), one.get("links")
        entry = {"projection": projection_record(one["record"]), "shape": mask.shape}
        entry |= {} if mask.all() else {"live": array(mask.reshape(-1), "bool")}
        entry |= {"weights": array(one["weight"][mask], "float32")}
        entry |= {} if area is None else {"area_shape": area.shape, "area": array(area.reshape(-1), "bool")}
        entry |= {} if links is None else {"links": array(links, "int64")}
        more.append(spelled(entry))
    known = digest(layers, projections, ports)
    head = f'{{"format":"nestgraph.network","version":2,"digest":"{known}","sidecar":false'
    head += "" if ports is None else f',"interface":{ports}'
    body = "".join(
        f',\n"{name}":[\n' + ",\n".join(part) + "\n]" for name, part in (("layers", lines), ("projections", more))
    )
    return f"{head}{body}}}\n".encode()


# -- "What a network means" ------------------------------------------------------------------------------------------


def evaluate(layers, projections, inputs):
    """{layer: (units, *size)} of one sample, by input layer (features, *size), in float64."""
    layers, projections = ordered(layers, projections)
    units = {layer["record"]["name"]: list(layer["ids"]) for layer in layers}
    outputs = {}
    for layer in layers:
        name, own = layer["record"]["name"], layer["record"]
        if own["kind"] == "input":
            outputs[name] = np.asarray(inputs[name], float)[units[name]]
            continue
        total = summed(layer, [p for p in projections if p["record"]["target"] == name], outputs, units)
        for operation in own["operations"]:
            total = applied(operation, layer, total)
        outputs[name] = total
    return outputs


def summed(layer, into, outputs, units):
    """What a layer's operations begin with: (units, *size)."""
    own, size = layer["record"], tuple(layer["record"]["size"] or ())
    matches, mixes = ([p for p in into if p["record"]["kind"] == kind] for kind in ("match", "mix"))
    plain = [p for p in into if p["record"]["kind"] not in ("match", "mix")]
    gates, terms = ([p for p in plain if p["record"].get("gate", False) == is_gate] for is_gate in (True, False))
    inner = summed_size(size, terms, mixes, outputs)
    total = np.zeros((len(layer["ids"]), *inner))
    if matches:
        total += compared(matches, outputs, units, total.shape)
    for projection in terms:
        total += term(projection, outputs[projection["record"]["source"]], units, inner)
    if own["bias"]:
        total += spread(layer["values"]["bias"], total)
    if own["places"]:
        total += np.asarray(layer["values"]["places"], float)
    for projection in mixes:
        total = mixed(projection, outputs[projection["record"]["source"]], units, total, size)
    for projection in gates:
        total = total * term(projection, outputs[projection["record"]["source"]], units, size)
    return total


def spread(values, like):
    return np.asarray(values, float).reshape(-1, *[1] * (like.ndim - 1))


def summed_size(size, terms, mixes, outputs):
    """The size of a layer's sum: its own, but where heads mix other places, a column each, into these."""
    for projection in mixes:
        columns = outputs[projection["record"]["source"]].shape[2]
        given = (outputs[term["record"]["source"]].shape[1:] for term in terms)
        return next((one for one in (*given, size) if math.prod(one) == columns), (columns,))
    return size


def compared(matches, outputs, units, shape):
    """(heads, rows, columns): at each slot of a head what its queries add up to, times what its keys do."""
    sides = {"query": {}, "key": {}}
    for projection in matches:
        own, weight = projection["record"], np.where(projection["mask"], projection["weight"], 0).astype(float)
        for link, (unit, head, slot) in enumerate(projection["links"]):
            read = outputs[own["source"]][units[own["source"]].index(unit)].reshape(-1)
            known = sides[own["side"]].setdefault((units[own["target"]].index(head), slot), 0)
            sides[own["side"]][units[own["target"]].index(head), slot] = known + weight[link] * read
    total = np.zeros(shape)
    for head, slot in sides["query"].keys() & sides["key"].keys():
        total[head] += np.outer(sides["query"][head, slot], sides["key"][head, slot])
    return total


def mixed(projection, heads, units, total, size):
    """What heads make of a sum: at each row the columns of its unit, each times the head's output there."""
    own, result = projection["record"], np.zeros((len(total), *size))
    for head, unit in projection["links"]:
        place = units[own["target"]].index(unit)
        weights = heads[units[own["source"]].index(head)]
        result[place] = (weights * total[place].reshape(-1)).sum(1).reshape(size)
    return result


def softmax(operation, x):
    rows, columns = x.shape[-2:] if x.ndim > 1 else (1, x.shape[-1])
    seen = np.tri(rows, columns, dtype=bool) if operation["causal"] else np.ones((rows, columns), bool)
    powers = np.where(seen.reshape(x.shape[-2:]), np.exp(x - x.max(axis=-1, keepdims=True)), 0)
    return powers / powers.sum(axis=-1, keepdims=True)


def term(projection, source, units, size):
    """What a projection adds to its target's sum, or multiplies it by: one number, or map, a target unit."""
    own, weight = projection["record"], np.where(projection["mask"], projection["weight"], 0).astype(float)
    targets = units[own["target"]]
    if own["kind"] == "dense":
        return np.array([(row * source).sum() for row in weight])
    if own["kind"] == "lookup":
        return sum((weight[:, place][:, ids.astype(int)] for place, ids in enumerate(source)), np.zeros(()))
    if own["kind"] == "conv":
        total, area = np.zeros((len(targets), *size)), projection.get("area")
        for out, into in np.ndindex(*weight.shape[:2]):
            swept = sweep(source[into], weight[out, into], own, size)
            if area is not None:
                swept = swept * area[out, into if area.shape[1] > 1 else 0]
            total[out] += swept
        return total
    total = np.full((len(targets), *size), 1.0 if own["gate"] else 0.0)
    for link, (one, other) in enumerate(projection["links"]):
        read = source[units[own["source"]].index(one)]
        value = weight[link] * read if own["kernel"] is None else sweep(read, weight[link], own, size)
        total[targets.index(other)] = value if value.ndim == len(size) else np.broadcast_to(value.reshape(-1)[0], size)
    return total


def sweep(image, kernel, own, size):
    """Each position's sum of products, without flipping the kernel, zeros around the map; or the other way round."""
    if own["transposed"]:
        result = np.zeros(size)
        for both in np.ndindex(*image.shape, *kernel.shape):
            place, entry = both[: image.ndim], both[image.ndim :]
            axes = zip(place, entry, own["stride"], own["dilation"], own["padding"], strict=True)
            at = tuple(q * step + y * dilate - pad for q, y, step, dilate, pad in axes)
            if all(0 <= one < extent for one, extent in zip(at, size, strict=True)):
                result[at] += image[place] * kernel[entry]
        return result
    image = np.pad(image, [(extent, extent) for extent in own["padding"]])
    axes = list(zip(image.shape, kernel.shape, own["stride"], own["dilation"], strict=True))
    reaches = [dilate * (count - 1) + 1 for _, count, _, dilate in axes]
    steps = [(extent - reach) // step + 1 for (extent, _, step, _), reach in zip(axes, reaches, strict=True)]
    result = np.zeros(steps)
    for position in np.ndindex(*steps):
        starts = [at * step for at, (_, _, step, _) in zip(position, axes, strict=True)]
        ends = zip(starts, reaches, own["dilation"], strict=True)
        read = tuple(slice(start, start + reach, dilate) for start, reach, dilate in ends)
        result[position] = (image[read] * kernel).sum()
    return result


POINTWISE = {
    "relu": lambda x: max(x, 0.0),
    "tanh": math.tanh,
    "sigmoid": lambda x: 1 / (1 + math.exp(-x)) if x > -700 else 0.0,
    "relu6": lambda x: min(max(x, 0.0), 6.0),
    "hard_sigmoid": lambda x: min(max(x + 3, 0.0), 6.0) / 6,
    "gelu": lambda x: x * (1 + math.erf(x / math.sqrt(2))) / 2,
    "gelu_tanh": lambda x: x * (1 + math.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))) / 2,
}
SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772
POINTWISE |= {
    "silu": lambda x: x * POINTWISE["sigmoid"](x),
    "hard_swish": lambda x: x * POINTWISE["hard_sigmoid"](x),
    "selu": lambda x: SCALE * (x if x >= 0 else ALPHA * math.expm1(x)),
    "softplus": lambda x: math.log1p(math.exp(x)),
    "softsign": lambda x: x / (1 + abs(x)),
    "mish": lambda x: x * math.tanh(POINTWISE["softplus"](x)),
    "log_sigmoid": lambda x: -POINTWISE["softplus"](-x),
    "tanh_shrink": lambda x: x - math.tanh(x),
    "abs": abs,
    "sign": lambda x: float(x > 0) - float(x < 0),
    "exp": math.exp,
    "log": math.log,
    "sqrt": math.sqrt,
    "rsqrt": lambda x: 1 / math.sqrt(x),
    "reciprocal": lambda x: 1 / x,
    "sin": math.sin,
    "cos": math.cos,
    "erf": math.erf,
    "square": lambda x: x * x,
    "exp2": lambda x: 2.0**x,
    "expm1": math.expm1,
    "log1p": math.log1p,
    "log2": math.log2,
    "log10": math.log10,
    "erfc": math.erfc,
    "sinc": lambda x: math.sin(math.pi * x) / (math.pi * x) if x else 1.0,
    "tan": math.tan,
    "sinh": math.sinh,
    "cosh": math.cosh,
    "asin": math.asin,
    "acos": math.acos,
    "atan": math.atan,
    "asinh": math.asinh,
    "acosh": math.acosh,
    "atanh": math.atanh,
    "floor": math.floor,
    "ceil": math.ceil,
    "round": round,
    "trunc": math.trunc,
    "frac": lambda x: x - math.trunc(x),
}


def applied(operation, layer, x):
    kind = operation["kind"]
    if kind == "batch_norm":
        gamma, beta, mean, variance = (spread(layer["values"][n], x) for n in ("gamma", "beta", "mean", "variance"))
        return gamma * (x - mean) / np.sqrt(variance + operation["epsilon"]) + beta
    if kind == "activation":
        slope, low, high = (operation[name] for name in ("slope", "low", "high"))
        exponent, other, sharp = operation["exponent"], operation["value"], operation["sharpness"] or 1.0
        low, high = -math.inf if low is None else low, math.inf if high is None else high
        least = max(low, 0.0)
        known = POINTWISE | {
            "leaky_relu": lambda value: value if value >= 0 else slope * value,
            "elu": lambda value: value if value >= 0 else slope * math.expm1(value),
            "clamp": lambda value: min(max(value, low), high),
            "celu": lambda value: value if value >= 0 else slope * math.expm1(value / slope),
            "hard_shrink": lambda value: 0.0 if abs(value) <= high else value,
            "soft_shrink": lambda value: value - min(max(value, -high), high),
            "threshold": lambda value: value if value > low else other,
            "power": lambda value: value**exponent,
            "softplus": lambda value: value if value > high else POINTWISE["softplus"](value * sharp) / sharp,
            "logit": lambda value: (lambda p: math.log(p / (1 - p)))(min(max(value, least), 1 - least)),
        }
        return np.vectorize(known[operation["function"]], [float])(x)
    if kind == "parametric_relu":
        return np.where(x >= 0, x, spread(layer["values"]["slope"], x) * x)
    if kind == "local_response_norm":
        ids, size = list(layer["ids"]), operation["size"]
        result = np.empty_like(x)
        for place, unit in enumerate(ids):
            near = [x[ids.index(i)] ** 2 for i in range(unit - size // 2, unit + (size - 1) // 2 + 1) if i in ids]
            result[place] = x[place] / (operation["k"] + operation["alpha"] * sum(near) / size) ** operation["beta"]
        return result
    if kind == "norm":
        return normalised(operation, layer, x)
    if kind == "dropout":
        return x
    if kind == "softmax":
        return softmax(operation, x)
    if kind == "series":
        return np.stack([lined_up(operation, layer, place, image) for place, image in enumerate(x)])
    return np.stack([RESIZED[kind](operation, image) for image in x])


def normalised(operation, layer, x):
    """Each group of units, or each unit, on its own: sums over its units, divided by what is recorded."""
    count, groups, result = operation["count"], operation["groups"], np.empty_like(x)
    group = [i * groups // count if i < count else i % groups for i in layer["ids"]]
    each = list(operation["divisors"]) or [count // groups] * groups
    sets = [[place for place, mine in enumerate(group) if mine == which] for which in range(groups)]
    divisors = each
    if operation["over"] == "places":
        sets, divisors = [[place] for place in range(len(x))], [1] * len(x)
    for places, divisor in zip(sets, divisors, strict=True):
        if places:
            result[places] = one_normalised(operation, x[places], divisor)
    for name, function in (("gamma", np.multiply), ("beta", np.add)):
        if operation[name]:
            result = function(result, spread(layer["values"][name], x))
    return result


def one_normalised(operation, x, divisor):
    axes = (0,) if operation["over"] == "units" else tuple(range(x.ndim))
    divisor = divisor * math.prod(x.shape[1:]) if operation["over"] != "units" else divisor
    size = math.prod(x.shape[axis] for axis in axes)
    mean = x.sum(axes, keepdims=True) / divisor if operation["center"] else 0.0
    zeros = (divisor - size) * mean**2 if operation["center"] else 0.0
    variance = np.maximum((((x - mean) ** 2).sum(axes, keepdims=True) + zeros) / divisor, 0)
    return (x - mean) / np.sqrt(variance + operation["epsilon"])


def pooled(operation, image):
    """Windows by rows and columns; what lies in a window beyond the map is never the maximum, and maybe counts as 0."""
    counts, whole = [], operation["count_padding"]
    for extent, window, step, pad in zip(
        image.shape, operation["kernel"], operation["stride"], operation["padding"], strict=True
    ):
        room = extent + 2 * pad - window
        count = (-(-room // step) if operation["ceil_mode"] else room // step) + 1
        counts.append(count - (operation["ceil_mode"] and (count - 1) * step >= extent + pad))
    result = np.empty(counts)
    for place in np.ndindex(*counts):
        inside, divisor = [], 1
        for i, extent, window, step, pad in zip(
            place, image.shape, operation["kernel"], operation["stride"], operation["padding"], strict=True
        ):
            start, end = i * step - pad, min(i * step - pad + window, extent + pad)
            inside.append(slice(max(start, 0), min(end, extent)))
            divisor *= (end - start) if whole else min(end, extent) - max(start, 0)
        part = image[tuple(inside)]
        result[place] = part.max() if operation["function"] == "max" else part.sum() / divisor
    return result


def pooled_adaptively(operation, image):
    result = np.empty(operation["size"])
    for place in np.ndindex(*operation["size"]):
        ends = zip(place, image.shape, operation["size"], strict=True)
        part = image[tuple(slice(i * e // n, -(-(i + 1) * e // n)) for i, e, n in ends)]
        result[place] = part.max() if operation["function"] == "max" else part.mean()
    return result


def picked(operation, image):
    return image[tuple(operation["place"])].reshape([1] * image.ndim)


def framed(operation, image):
    for axis, (before, after) in enumerate(zip(operation["before"], operation["after"], strict=True)):
        rows, mode = [*np.moveaxis(image, axis, 0)], operation["mode"]
        extent, added = len(rows), np.full_like(rows[0], operation["value"])
        at = {
            "constant": lambda i, rows=rows, extent=extent, added=added: rows[i] if 0 <= i < extent else added,
            "reflect": lambda i, rows=rows, extent=extent: rows[
                -i if i < 0 else 2 * (extent - 1) - i if i >= extent else i
            ],
            "replicate": lambda i, rows=rows, extent=extent: rows[min(max(i, 0), extent - 1)],
            "circular": lambda i, rows=rows, extent=extent: rows[i % extent],
        }[mode]
        image = np.stack([at(i) for i in range(-before, extent + after)], axis)
    return image


def lined_up(operation, layer, place, image):
    before = operation["before"]
    ends = list(np.asarray(layer["values"]["ends"], float)[place]) if before + operation["after"] else []
    return np.array([*ends[:before], *image.ravel(), *ends[before:]])


def upsampled(operation, image):
    sizes = operation["size"]
    for axis in range(image.ndim):
        extent, count, scale = image.shape[axis], sizes[axis], (operation["scale"] or (None,) * image.ndim)[axis]
        if operation["mode"] == "nearest":
            step = np.float32(extent) / np.float32(count) if scale is None else np.float32(1 / scale)
            places = [min(int(np.float32(i) * step), extent - 1) for i in range(count)]
            image = np.take(image, places, axis)
            continue
        if operation["align_corners"]:
            places = [i * ((extent - 1) / max(count - 1, 1)) for i in range(count)]
        else:
            step = extent / count if scale is None else 1 / scale
            places = [max((i + 0.5) * step - 0.5, 0.0) for i in range(count)]
        low = [int(place) for place in places]
        share = np.array([place - int(place) for place in places])
        share = share.reshape([-1 if other == axis else 1 for other in range(image.ndim)])
        high = np.take(image, [min(place + 1, extent - 1) for place in low], axis)
        image = np.take(image, low, axis) * (1 - share) + high * share
    return image


RESIZED = {
    "pooling": pooled,
    "adaptive_pooling": pooled_adaptively,
    "upsampling": upsampled,
    "pick": picked,
    "pad": framed,
}


def read(data):
    """The network of a complete document, as this module holds networks, and its interface."""
    document = json.loads(data)
    layers = [
        {
            "record": defaulted(entry["layer"], "layer"),
            "next_id": entry["next_id"],
            "ids": list(unpacked(entry["ids"], "int64")),
        }
        | {"values": {name: unpacked(values, "float32") for name, values in entry["values"].items()}}
        for entry in document["layers"]
    ]
    for layer in layers:
        chain = layer["record"]["operations"]
        layer["record"]["operations"] = [defaulted(one, one["kind"]) for one in chain]
    projections = []
    for entry in document["projections"]:
        shape, own = tuple(entry["shape"]), entry["projection"]
        mask = unpacked(entry["live"], "bool").reshape(shape) if "live" in entry else np.ones(shape, bool)
        weight = np.zeros(shape, np.float32)
        weight[mask] = unpacked(entry["weights"], "float32")
        one = {"record": defaulted(own, own["kind"])}
        one |= {"weight": weight, "mask": mask}
        one |= {"area": unpacked(entry["area"], "bool").reshape(entry["area_shape"])} if "area" in entry else {}
        one |= {"links": unpacked(entry["links"], "int64")} if "links" in entry else {}
        projections.append(one)
    return layers, projections, document.get("interface")


def defaulted(values, kind):
    return {name: values[name] if name in values else LEFT_OUT[kind][name] for name in RECORDS[kind]}


def unpacked(value, kind):
    if isinstance(value, list):
        return np.array(value, kind)
    raw, shape = base64.b64decode(value["data"]), value["shape"]
    if kind == "bool":
        return np.unpackbits(np.frombuffer(raw, np.uint8), count=math.prod(shape)).astype(bool).reshape(shape)
    return np.frombuffer(raw, {"float32": "<f4", "int64": "<i8"}[kind]).reshape(shape)

"""Small verified networks of every form, and inputs for them.

Structure is drawn, so that failures shrink; numbers come from a generator whose seed is drawn.
"""

import os
from functools import cache, partial
from typing import get_args

import numpy as np
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from nestgraph.edits import Batch
from nestgraph.edits.islands import island_edits
from nestgraph.graph import Grid, Links, Network, Structure, UnitColumns, Whole
from nestgraph.graph.columns import Slotted
from nestgraph.graph.geometry import output_size
from nestgraph.graph.projections import meaning_of
from nestgraph.spec import (
    Activation,
    AdaptivePooling,
    Argument,
    BatchNorm,
    Conv,
    Dense,
    Dropout,
    InputPort,
    Interface,
    Layer,
    LocalResponseNorm,
    Lookup,
    Match,
    Mix,
    Norm,
    OneToOne,
    OutputPort,
    Pad,
    ParametricReLU,
    Pick,
    Pooling,
    Series,
    Softmax,
    Upsampling,
)
from nestgraph.spec.operations import ActivationFunction
from tests.strategies.bodies import Apart, Mixing

FUNCTIONS: tuple[ActivationFunction, ...] = (*get_args(ActivationFunction)[:10], "celu", "atan")
"""The others: tests/lowering/test_operations.py."""
SEEDS = st.integers(0, 2**32 - 1)
THOROUGH = bool(os.environ.get("THOROUGH") or os.environ.get("EXAMPLES"))
POOL = 40
"""Networks of each family, from which a quick run chooses."""
RESIZINGS = (Pooling, Pooling, AdaptivePooling, Upsampling, Pick, Series, Pad)
sampled_from = cache(st.sampled_from)
"""Hypothesis looks at each new strategy; these are drawn from thousands of times."""


class Sketch:
    """A structure under construction: each `add` draws what is left open and fills the columns."""

    def __init__(self, draw, rng):
        self.draw, self.rng = draw, rng
        self.structure = Structure((), (), {}, {})

    def input(self, name, features, size=None):
        """An input layer; some of its features may be missing."""
        ids = self.rng.permutation(features)[: self.draw(st.integers(1, features))]
        ids = np.sort(ids) if self.draw(st.booleans()) else ids
        self.layer(Layer(name=name, kind="input", features=features, size=size), ids)

    def ids(self, name, classes, size=None):
        """An input of ids of classes."""
        self.layer(Layer(name=name, kind="input", features=1, size=size, classes=classes), np.arange(1))

    def hidden(self, name, count, size=None, output=False, pool=True, ids=None, places=True):
        """A layer of neurons, or of maps where a size is given, with a drawn chain of operations.

        Those may change the size or leave it, as `pool` says, or do so by one of the kinds that it lists.
        """
        operations = self.draw(chains(size, pool))
        bias = not any(isinstance(op, BatchNorm) for op in operations) or self.draw(st.booleans())
        drawn = self.rng.permutation(2 * count)[:count] if self.draw(st.booleans()) else np.arange(count)
        kind = "neurons" if size is None else "feature_maps"
        fields = {"operations": operations, "bias": bias, "output": output}
        fields["places"] = places and size is not None and self.draw(st.integers(0, 3)) == 0
        self.layer(Layer(name=name, kind=kind, size=size, **fields), drawn if ids is None else ids)

    def layer(self, record, ids):
        units = UnitColumns.of(ids, columns_for(record, len(ids), self.rng))
        self.structure = self.structure.replace(layers={record.name: record}, units={record.name: units})

    def project(self, projection, links=None):
        """A projection in which every target unit keeps a connection, possibly with areas."""
        if isinstance(projection, Argument):
            columns = Whole.of(np.zeros(0))
        elif links is not None:
            links = np.asarray(links)[np.argsort(np.asarray(links)[:, 1])]
            placed = isinstance(projection, OneToOne) and projection.placed
            inner = self.structure.layer(projection.target).size if placed else projection.window or ()
            drawn = projection.learns or placed
            weight = self.rng.standard_normal((len(links), *inner)) if drawn else np.ones(len(links))
            columns = Links.of(weight, links=links)
        else:
            shape = meaning_of(self.structure, projection).shape
            columns = sparse(shape, self.draw(sampled_from((0.3, 0.7, 1.0))), self.rng)
            if isinstance(projection, Conv):
                if self.draw(st.booleans()):
                    columns = grouped(columns, self.rng)
                size = self.structure.layer(projection.target).size
                area = self.draw(areas(shape, size, self.rng))
                columns = Grid.of(columns.weight, columns.mask, area)
        name = projection.name
        self.structure = self.structure.replace(projections={name: projection}, connections={name: columns})

    def read_all(self, projection):
        """Let each source of a dense projection or convolution be read."""
        columns, ends = self.structure.wired(projection)
        missing = np.flatnonzero(~columns.touched(columns.edges, 1, ends))
        weight, mask = columns.weight.copy(), columns.mask.copy()
        places = self.rng.integers(0, len(weight), len(missing)), missing
        weight[places], mask[places] = self.rng.standard_normal(weight[places].shape), True
        self.structure = self.structure.replace(connections={projection: columns.with_weight(weight, mask)})

    def link(self, projection, target_ids=None):
        """A one-to-one projection from all units of the source to the target's ids, in order."""
        ids = self.structure.units(projection.target) if target_ids is None else target_ids
        self.project(projection, np.stack([self.structure.units(projection.source), ids], 1))

    def opaque(self, name, sources, output=False, unitwise=False):
        """A layer whose body reads others, with as many units as the first of them, or unit by unit with its units."""
        first = self.structure.layer(sources[0])
        size = output_size(first)
        kind = "neurons" if size is None else "feature_maps"
        record = Layer(
            name=name,
            kind=kind,
            size=size,
            operations=self.draw(chains(size, resize=False)),
            bias=False,
            output=output,
            opaque="softmax: no kind covers it",
            unitwise=unitwise,
        )
        ids = self.structure.units(sources[0])
        self.layer(record, ids if unitwise else np.arange(len(ids)))
        for place, source in enumerate(sources):
            self.project(Argument(source=source, target=name, name=f"{name}_{place}", place=place))

    def finish(self):
        """The structure, in which no unit is an island."""
        layers = {name: layer for name, layer in self.structure.layers_by_name.items() if layer.opaque is not None}
        bodies = {name: Apart() if layer.unitwise else Mixing() for name, layer in layers.items()}
        structure = self.structure.with_bodies(bodies)
        structure = Batch(edits=island_edits(structure)).change(structure)[0]
        return structure.with_bodies({name: body for name, body in bodies.items() if structure.has_layer(name)})


def columns_for(layer, count, rng):
    """Random columns of a layer; variances are positive."""
    values = {name: rng.standard_normal(layer.column_shape(name, count)) for name in layer.column_names}
    if "variance" in values:
        values["variance"] = rng.uniform(0.3, 2.0, count)
    return {name: column.astype(np.float32) for name, column in values.items()}


def sparse(shape, density, rng):
    """Random weights under a random mask that leaves a connection to every first index."""
    mask = rng.random(shape) < density
    rows = mask.reshape(shape[0], -1)
    rows[np.arange(shape[0]), rng.integers(0, rows.shape[1], shape[0])] = True
    return Grid.of(np.where(mask, rng.standard_normal(shape), 0).astype(np.float32), mask)


def grouped(columns, rng):
    """The connections within random groups of maps; a target that is left alone keeps what it has."""
    out, into = columns.mask.shape[:2]
    count = int(rng.integers(2, 4))
    within = np.equal.outer(rng.integers(0, count, out), rng.integers(0, count, into))
    mask = columns.mask & within.reshape(out, into, *(1,) * (columns.mask.ndim - 2))
    mask = np.where(mask.any(axis=tuple(range(1, mask.ndim)), keepdims=True), mask, columns.mask)
    return Grid.of(np.where(mask, columns.weight, 0), mask)


def areas(shape, size, rng):
    """None, an area per pair of maps, or one per output map; some could be spelled shorter."""
    per_pair, per_map = (*shape[:2], *size), (shape[0], 1, *size)
    made = {
        "everywhere": lambda: None,
        "by pair": lambda: rng.random(per_pair) < 0.6,
        "by map": lambda: rng.random(per_map) < 0.6,
        "by map, spelled by pair": lambda: np.repeat(rng.random(per_map) < 0.6, shape[1], 1),
        "everywhere, spelled by map": lambda: np.ones(per_map, bool),
    }
    return st.sampled_from(tuple(made)).map(lambda how: made[how]())


@cache
@st.composite
def chains(draw, size=None, resize=True):
    """Operations of a layer of neurons, or of maps where a size is given.

    Those of maps may change the size where `resize` says so, and do where it lists the kinds of which one does.
    """
    chain = []
    if draw(st.booleans()):
        chain.append(BatchNorm(epsilon=draw(sampled_from((1e-5, 1e-3)))))
    if draw(st.booleans()):
        chain.append(Activation(function=draw(sampled_from(FUNCTIONS)), slope=draw(sampled_from((0.01, -0.2)))))
    elif draw(st.integers(0, 3)) == 0:
        chain.append(ParametricReLU())
    if size is not None and draw(st.integers(0, 3)) == 0:
        alpha, k = draw(sampled_from((0.1, 2.0))), draw(sampled_from((1.0, 2.0)))
        chain.append(LocalResponseNorm(size=draw(st.integers(1, 4)), alpha=alpha, k=k))
    if size is not None and resize and min(size) >= 2 and (resize is not True or draw(st.booleans())):
        chain.append(draw(resizings(len(size), RESIZINGS if resize is True else resize)))
    if draw(st.integers(0, 3)) == 0:
        affine = not any(isinstance(op, BatchNorm) for op in chain)
        chain.insert(draw(st.integers(0, len(chain))), draw(norms(size, affine)))
    if draw(st.integers(0, 3)) == 0:
        chain.insert(draw(st.integers(0, len(chain))), Dropout(probability=0.3))
    return tuple(chain)


@st.composite
def norms(draw, size=None, affine=True):
    """A normalisation of a sample; it counts on more, as many or fewer units than live."""
    over, center = draw(sampled_from(("units", "both", *["places"] * bool(size)))), draw(st.booleans())
    groups = draw(st.integers(1, 3)) if over != "places" else 1
    return Norm(
        over=over,
        groups=groups,
        center=center,
        count=groups * draw(st.integers(1, 4)) if over != "places" else 0,
        divisors=draw(st.lists(st.integers(1, 4), min_size=groups, max_size=groups)) if groups == 3 else (),
        epsilon=draw(sampled_from((1e-2, 1.0))),
        gamma=affine and draw(st.booleans()),
        beta=affine and draw(st.booleans()),
    )


@st.composite
def resizings(draw, axes=2, kinds=RESIZINGS):
    """A pooling or upsampling of maps of at least two places along each of their axes."""

    def extents(least, most):
        return tuple(draw(st.integers(least, most)) for _ in range(axes))

    kind = draw(sampled_from(kinds))
    if kind is Pick:
        return Pick(place=extents(-2, 1))
    if kind is Pad:
        mode = draw(sampled_from(("constant", "reflect", "replicate", "circular")))
        constant = mode == "constant"
        value = draw(sampled_from((0.0, 0.0, -1.5))) if constant else 0.0
        return Pad(before=extents(-1 if constant else 0, 1), after=extents(0, 1), mode=mode, value=value)
    if kind is Series:
        return Series(before=draw(st.integers(0, 2)), after=draw(st.integers(0, 2)))
    if kind is Upsampling:
        mode, corners = draw(sampled_from((("nearest", False), ("bilinear", False), ("bilinear", True))))
        return Upsampling(mode=mode, size=extents(1, 4 if axes < 3 else 3), align_corners=corners)
    function = draw(sampled_from(("max", "average")))
    if kind is AdaptivePooling:
        return AdaptivePooling(function=function, size=extents(1, 3))
    kernel = (*extents(1, 2)[1:], 2)
    return Pooling(
        function=function,
        kernel=kernel,
        stride=extents(1, 2),
        padding=(*(extent // 2 for extent in kernel[:-1]), draw(st.integers(0, 1))),
        ceil_mode=draw(st.booleans()),
        count_padding=draw(st.booleans()),
    )


def _dense(draw, sketch):
    names = ["x"]
    sketch.input("x", draw(st.integers(1, 4)))
    if draw(st.booleans()):
        sketch.input("z", draw(st.integers(1, 2)))
        names.append("z")
    for name in [f"h{place}" for place in range(draw(st.integers(0, 2)))] + ["y"]:
        sketch.hidden(name, draw(st.integers(1, 4)), output=name == "y")
        sketch.project(Dense(source=names[-1], target=name))
        for other in names[:-1]:
            if draw(st.booleans()):
                sketch.project(Dense(source=other, target=name))
        names.append(name)


@cache
@st.composite
def sizes(draw, least=2, most=4):
    """The size of maps: mostly of images, else of series and of volumes, which are kept small."""
    axes = draw(sampled_from((2, 2, 1, 3)))
    return tuple(draw(st.integers(least, most if axes < 3 else max(least, most - 1))) for _ in range(axes))


def same(size):
    """A kernel of three places along each axis that gives maps of the size it reads."""
    return {"kernel": (3,) * len(size), "padding": (1,) * len(size)}


def _conv_record(draw, source, target, size):
    """A convolution that fits maps of a size, and the size it gives."""
    while True:
        kernel = tuple(draw(st.integers(1, 3)) for _ in size)
        stride = (draw(st.integers(1, 2)), *(1 for _ in size[1:]))
        dilation = (*(1 for _ in size[1:]), draw(st.integers(1, 2)))
        padding = (*(draw(st.integers(0, 1)) for _ in size[1:]), draw(st.integers(0, 2)))
        sweep = {"kernel": kernel, "stride": stride, "padding": padding, "dilation": dilation}
        if draw(st.integers(0, 3)) == 0:
            more = (draw(st.integers(0, stride[0] - 1)), *(0 for _ in size[1:]))
            sweep |= {"transposed": True, "output_padding": more}
        record = Conv(source=source, target=target, **sweep)
        swept = record.swept_size(size)
        if min(swept) >= 1:
            return record, swept


def _conv(draw, sketch):
    size = draw(sizes(3, 5))
    sketch.input("x", draw(st.integers(1, 3)), size)
    source = "x"
    maps_out = draw(st.booleans())
    names = [f"c{place}" for place in range(draw(st.integers(1, 2)))]
    for name in names:
        record, swept = _conv_record(draw, source, name, output_size(sketch.structure.layer(source)))
        sketch.hidden(name, draw(st.integers(1, 3)), swept, output=maps_out and name == names[-1])
        sketch.project(record)
        source = name
    if not maps_out:
        for name in ("h", "y") if draw(st.booleans()) else ("y",):
            sketch.hidden(name, draw(st.integers(1, 3)), output=name == "y")
            sketch.project(Dense(source=source, target=name))
            source = name


def _resized(draw, sketch, kinds):
    """Maps whose size an operation changes, read by others or at once by neurons."""
    size = draw(sizes())
    sketch.input("x", draw(st.integers(1, 3)), size)
    sketch.hidden("a", draw(st.integers(1, 3)), size, pool=kinds)
    sketch.project(Conv(source="x", target="a", **same(size)))
    source = "a"
    if draw(st.booleans()):
        record, swept = _conv_record(draw, "a", "b", output_size(sketch.structure.layer("a")))
        sketch.hidden("b", draw(st.integers(1, 3)), swept)
        sketch.project(record)
        source = "b"
    sketch.hidden("y", draw(st.integers(1, 3)), output=True)
    sketch.project(Dense(source=source, target="y"))


def _skip(draw, sketch):
    """x -> a; b = a and f(a) summed; d = depthwise b (maps only); e = [a, d] concatenated; -> y."""
    maps = draw(st.booleans())
    size = draw(sizes()) if maps else None
    kind, how = (Conv, same(size)) if maps else (Dense, {})
    sketch.input("x", draw(st.integers(1, 3)), size)
    width = draw(st.integers(1, 3))
    sketch.hidden("a", width, size, pool=False)
    sketch.hidden("b", width, size, pool=False)
    sketch.project(kind(source="x", target="a", **how))
    sketch.project(kind(source="a", target="b", **how))
    sketch.link(OneToOne(source="a", target="b", name="skip", trained=draw(st.booleans())))
    last = "b"
    if maps and draw(st.booleans()):
        sketch.hidden("d", width, size, pool=False)
        how |= {"transposed": draw(st.booleans())}
        sketch.link(OneToOne(source="b", target="d", name="depthwise", trained=True, **how))
        last = "d"
    if draw(st.booleans()):
        sketch.hidden("e", 2 * width, size)
        ids = sketch.structure.units("e")
        sketch.link(OneToOne(source="a", target="e", name="left"), ids[:width])
        sketch.link(OneToOne(source=last, target="e", name="right"), ids[width:])
        last = "e"
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source=last, target="y"))


def _grid(draw, sketch):
    """A stem layer `a` of maps or neurons, and what layers and projections like it are made of."""
    size = draw(sizes(2, 3)) if draw(st.booleans()) else None
    sketch.input("x", draw(st.integers(1, 3)), size)
    width = draw(st.integers(2, 3))
    kind, how = (Conv, same(size)) if size else (Dense, {})
    sketch.hidden("a", width, size, pool=False)
    sketch.project(kind(source="x", target="a", **how))
    return size, width, kind, how


def _residual(draw, sketch):
    """Blocks that add what they make of a stream to the stream: plain or, of maps, with a depthwise kernel inside."""
    size, width, kind, how = _grid(draw, sketch)
    stream = "a"
    for block in range(draw(st.integers(1, 2))):
        inner, last, out = f"inner{block}", f"inner{block}", f"sum{block}"
        sketch.hidden(inner, draw(st.integers(1, 3)), size, pool=False)
        sketch.project(kind(source=stream, target=inner, **how))
        if size and draw(st.booleans()):
            last = f"deep{block}"
            sketch.hidden(last, len(sketch.structure.units(inner)), size, pool=False)
            sketch.link(OneToOne(source=inner, target=last, trained=True, transposed=draw(st.booleans()), **how))
        sketch.hidden(out, width, size, pool=False)
        sketch.project(kind(source=last, target=out, **how))
        sketch.link(OneToOne(source=stream, target=out, trained=draw(st.booleans())))
        stream = out
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source=stream, target="y"))


def _concatenating(draw, sketch):
    """Blocks that pass on what they read beside what they make of it."""
    size, width, kind, how = _grid(draw, sketch)
    stream = "a"
    for block in range(draw(st.integers(1, 2))):
        made, out = f"made{block}", f"both{block}"
        sketch.hidden(made, draw(st.integers(1, 2)), size, pool=False)
        sketch.project(kind(source=stream, target=made, **how))
        sketch.hidden(out, width + len(sketch.structure.units(made)), size, pool=False)
        ids = sketch.structure.units(out)
        sketch.link(OneToOne(source=stream, target=out), ids[:width])
        sketch.link(OneToOne(source=made, target=out), ids[width:])
        stream, width = out, len(ids)
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source=stream, target="y"))


def _gate_source(draw, sketch, size, count, form):
    """A layer `g` of `count` units that can gate `a`: of its size, or of single values as neurons or as maps."""
    if form == "same":
        kind, how = (Conv, same(size)) if size else (Dense, {})
        sketch.hidden("g", count, size, pool=False)
        sketch.project(kind(source="a", target="g", **how))
    elif form == "neurons":
        sketch.hidden("g", count)
        sketch.project(Dense(source="a", target="g"))
    else:
        sketch.hidden("g", count, (1,) * (len(size) if size else draw(st.integers(1, 3))), pool=False)
        if size:
            sketch.project(Conv(source="a", target="g", kernel=size))
        else:
            sketch.hidden("q", count)
            sketch.project(Dense(source="a", target="q"))
            sketch.link(OneToOne(source="q", target="g"))


def _gated(draw, sketch):
    """Squeeze and excitation: `m` is `a`, and more, times `g`, which may be flattened; an output may be gated, too."""
    size, width, kind, how = _grid(draw, sketch)
    form, count = draw(sampled_from(("same", "neurons", "single"))), draw(st.integers(1, width))
    _gate_source(draw, sketch, size, count, form)
    sketch.hidden("m", width, size, pool=False)
    sketch.link(OneToOne(source="a", target="m", trained=draw(st.booleans())))
    if draw(st.booleans()):
        sketch.project(kind(source="a", target="m", name="more", **how))
    gated = sketch.structure.units("m")[:count]
    sketch.link(OneToOne(source="g", target="m", gate=True, trained=draw(st.booleans())), gated)
    if draw(st.booleans()):
        sketch.link(OneToOne(source="a", target="m", name="own", gate=True))
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source="m", target="y"))
    if form == "single" and draw(st.booleans()):
        sketch.hidden("flat", count)
        sketch.link(OneToOne(source="g", target="flat"))
        sketch.project(Dense(source="flat", target="y"))
    if form != "same" and draw(st.integers(0, 3)) == 0:
        links = np.stack([sketch.structure.units("g")[:1], sketch.structure.units("y")[:1]], 1)
        sketch.project(OneToOne(source="g", target="y", gate=True), links)


def _rotated(draw, sketch):
    """Units turned by angles of their places with the other one of their pair; a unit may be scaled by place alone."""
    size = draw(sizes())
    sketch.input("x", draw(st.integers(1, 3)), size)
    pairs, alone = draw(st.integers(1, 2)), draw(st.integers(0, 1))
    sketch.hidden("a", 2 * pairs + alone, size, pool=False)
    sketch.project(Conv(source="x", target="a", **same(size)))
    sketch.hidden("r", 2 * pairs + alone, size, pool=False)
    _turned(sketch, "a", "r", alone, draw(st.booleans()))
    last = "r"
    if draw(st.booleans()):
        sketch.hidden("b", len(sketch.structure.units("r")), size, pool=False)
        sketch.link(OneToOne(source="r", target="b"))
        sketch.link(OneToOne(source="a", target="b", name="beside", placed=True, trained=draw(st.booleans())))
        last = "b"
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source=last, target="y"))


def _turned(sketch, source, target, alone=0, trained=False):
    """A layer whose units read their own and the other one of their pair, but the last few their own alone."""
    given, turned = (sketch.structure.units(layer) for layer in (source, target))
    count = len(given) - alone
    sketch.link(OneToOne(source=source, target=target, name=f"{target}_own", placed=True, trained=trained))
    other = np.stack([given[:count].reshape(-1, 2)[:, ::-1].reshape(-1), turned[:count]], 1)
    sketch.project(OneToOne(source=source, target=target, name=f"{target}_other", placed=True), other)


def _opaque(draw, sketch):
    """`o` is a body of `a` and maybe more; something reads it, maybe beside a skip, and the output may be opaque."""
    size, width, kind, how = _grid(draw, sketch)
    sketch.hidden("b", draw(st.integers(1, 3)), size, pool=False)
    sketch.project(kind(source="x", target="b", **how))
    sketch.opaque("o", ["a", *draw(st.lists(sampled_from(("a", "b", "x")), max_size=2))])
    sketch.hidden("s", width, size, pool=False)
    sketch.project(kind(source="o", target="s", **how))
    if draw(st.booleans()):
        sketch.link(OneToOne(source=draw(sampled_from(("a", "o"))), target="s", name="skip"))
    sketch.hidden("h", draw(st.integers(1, 3)))
    sketch.project(Dense(source="s", target="h"))
    last = draw(st.booleans())
    sketch.hidden("y", draw(st.integers(1, 2)), output=not last)
    sketch.project(Dense(source="h", target="y"))
    sketch.project(Dense(source="b", target="y"))
    if last:
        sketch.opaque("z", ["y"], output=True)


def _embedded(draw, sketch):
    """Ids are looked up, of a row or an image or alone; beside it another table may be read, and a skip leads past."""
    size = draw(sizes()) if draw(st.booleans()) else None
    kind, how = (Conv, same(size)) if size else (Dense, {})
    sketch.ids("x", draw(st.integers(1, 5)), size)
    width = draw(st.integers(1, 3))
    sketch.hidden("a", width, size, pool=False)
    sketch.project(Lookup(source="x", target="a"))
    sketch.hidden("b", width, size, pool=False)
    sketch.project(kind(source="a", target="b", **how))
    if draw(st.booleans()):
        sketch.project(Lookup(source="x", target="b"))
    if draw(st.booleans()):
        sketch.link(OneToOne(source="a", target="b", name="skip"))
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source="b", target="y"))


def _tied(draw, sketch):
    """A table is read at both ends: `a` looks ids up, and `y` weighs its classes by `a`, or by `b` behind it."""
    size = draw(sizes(least=1, most=3)) if draw(st.booleans()) else None
    kind, how = (Conv, same(size)) if size else (Dense, {})
    classes, width = draw(st.integers(1, 5)), draw(st.integers(1, 3))
    sketch.ids("x", classes, size)
    sketch.hidden("a", width, size, pool=False)
    near = "a"
    if draw(st.integers(0, 3)):
        near = "b"
        sketch.hidden("b", width, size, pool=False, ids=sketch.rng.permutation(sketch.structure.units("a")))
        sketch.project(kind(source="a", target="b", **how))
        sketch.read_all("a_to_b")
        if draw(st.booleans()):
            ids = sketch.structure.units("a" if draw(st.booleans()) else "b")  # of the same id, or in a row
            sketch.link(OneToOne(source="a", target="b", name="skip"), ids)
    kept = sketch.rng.permutation(classes)[: draw(st.integers(1, classes))]
    mask = np.zeros((width, 1, classes), bool)
    mask[:, 0, kept] = sketch.rng.random((width, len(kept))) < draw(sampled_from((0.3, 0.7, 1.0)))
    mask[np.arange(width), 0, sketch.rng.choice(kept, width)] = True
    mask[sketch.rng.integers(0, width, len(kept)), 0, kept] = True
    table = Grid.of(np.where(mask, sketch.rng.standard_normal(mask.shape), 0), mask)
    form = {"kind": "feature_maps" if size else "neurons", "size": size, "bias": draw(st.booleans())}
    squashed = (Activation(function="tanh"),) * draw(st.integers(0, 1))
    sketch.layer(Layer(name="y", output=True, operations=squashed, **form), kept)
    frozen = draw(st.integers(0, 4)) == 0
    leader = Lookup(source="x", target="a", frozen=frozen)
    once = {"kernel": (1,) * len(size)} if size else {}
    follower = kind(source=near, target="y", like=leader.name, frozen=frozen, **once)
    places = sketch.structure.unit_columns("a").positions(sketch.structure.units(near))
    turned = (
        part[places, 0][:, kept].T.reshape(len(kept), width, *(1,) * len(size or ())) for part in (table.weight, mask)
    )
    both = {leader.name: table, follower.name: Grid.of(*turned)}
    records = {each.name: each for each in (leader, follower)}
    sketch.structure = sketch.structure.replace(projections=records, connections=both)
    if draw(st.booleans()):
        sketch.project(kind(source="a", target="y", name="past", **how))


def _unitwise(draw, sketch):
    """`o` and maybe `p` behind it work unit by unit, on `a` and maybe `b`; a skip may lead past them."""
    size, width, kind, how = _grid(draw, sketch)
    sketch.hidden("b", width, size, pool=False, ids=sketch.structure.units("a"))
    sketch.project(kind(source="x", target="b", **how))
    sketch.opaque("o", ["a", *draw(st.lists(sampled_from(("a", "b")), max_size=2))], unitwise=True)
    last = "o"
    if draw(st.booleans()):
        sketch.opaque("p", draw(sampled_from((("o",), ("o", "a")))), unitwise=True)
        last = "p"
    sketch.hidden("s", width, size, pool=False)
    sketch.project(kind(source=last, target="s", **how))
    if draw(st.booleans()):
        sketch.link(OneToOne(source=draw(sampled_from(("a", last))), target="s", name="skip"))
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source="s", target="y"))
    sketch.project(Dense(source="b", target="y"))


def _heads(draw, sketch):
    """Attention: heads of `s` compare q with k and mix what m sums up; grouped, ragged, causal, across inputs."""
    near = draw(sizes(1, 3))
    sketch.input("x", draw(st.integers(1, 3)), near)
    sketch.hidden("a", draw(st.integers(1, 3)), near, pool=False)
    sketch.project(Conv(source="x", target="a", **same(near)))
    other, far = "a", near
    if draw(st.booleans()):
        other, far = "z", (draw(st.integers(1, 4)),)
        sketch.input("z", draw(st.integers(1, 2)), far)
    groups, members = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    slots, width = ([draw(st.integers(1, 2)) for _ in range(groups)] for _ in range(2))
    place = (int(np.prod(near)), int(np.prod(far)))
    chain = (*[Activation(function="tanh")] * draw(st.integers(0, 1)), Softmax(causal=draw(st.booleans())))
    record = Layer(name="s", kind="feature_maps", size=place, operations=chain, bias=draw(st.booleans()))
    sketch.layer(record, sketch.rng.permutation(9)[: groups * members])
    heads = np.reshape(sketch.structure.units("s"), (groups, members)).tolist()
    wanted = {
        "q": [(head, slot) for group in range(groups) for head in heads[group] for slot in range(slots[group])],
        "k": [(group, slot) for group in range(groups) for slot in range(slots[group])],
        "v": [(group, one) for group in range(groups) for one in range(width[group])],
    }
    for name, units in wanted.items():
        sketch.hidden(name, len(units), near if name == "q" else far, pool=False)
        source, size = ("a", near) if name == "q" else (other, far)
        sketch.project(Conv(source=source, target=name, **same(size)))
    compared = {"q": "q", "k": "k"}
    for name in compared:
        if draw(st.integers(0, 2)) == 0:
            compared[name] = f"{name}_turned"
            sketch.hidden(compared[name], len(wanted[name]), near if name == "q" else far, pool=False)
            _turned(sketch, name, compared[name], len(wanted[name]) % 2)
    units = {name: sketch.structure.units(compared.get(name, name)).tolist() for name in wanted}
    queries = [(unit, *slot) for unit, slot in zip(units["q"], wanted["q"], strict=True)]
    keys = [
        (unit, head, slot) for unit, (group, slot) in zip(units["k"], wanted["k"], strict=True) for head in heads[group]
    ]
    if slots[0] > 1 and draw(st.booleans()):  # two units stand at two slots of a head, and meet others there
        head, free = heads[0][0], 3
        queries.append((next(unit for unit, *at in queries if at == [head, 0]), head, free))
        keys.append((next(unit for unit, *at in keys if at == [head, 1]), head, free))
    for side, links in (("query", queries), ("key", keys)):
        match = Match(source=compared[side[0]], target="s", side=side)
        columns = Slotted.of(np.full(len(links), 0.5 if side == "query" else 1.0), links=links).ordered()
        sketch.structure = sketch.structure.replace(projections={match.name: match}, connections={match.name: columns})
    carried = [(unit, head) for unit, (group, _) in zip(units["v"], wanted["v"], strict=True) for head in heads[group]]
    sketch.hidden("m", len(carried), near, pool=False, places=False)
    mixed = sketch.structure.units("m").tolist()
    sketch.project(Mix(source="s", target="m"), [(head, out) for (_, head), out in zip(carried, mixed, strict=True)])
    sketch.project(
        OneToOne(source="v", target="m"), [(unit, out) for (unit, _), out in zip(carried, mixed, strict=True)]
    )
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source="m", target="y"))
    sketch.project(Dense(source="a", target="y"))


def _turned_heads(draw, sketch):
    """Attention whose queries and keys are turned in pairs within heads, maybe grouped, with slots that are not."""
    size, (groups, members) = draw(sizes(1, 2)), (draw(st.integers(1, 2)), draw(st.integers(1, 2)))
    pairs, alone, halves = draw(st.integers(1, 2)), draw(st.integers(0, 1)), draw(st.booleans())

    def maps(name, count):
        sketch.layer(Layer(name=name, kind="feature_maps", size=size), sketch.rng.permutation(2 * count)[:count])

    sketch.input("x", draw(st.integers(1, 3)), size)
    places, heads, width = int(np.prod(size)), groups * members, 2 * pairs + alone
    record = Layer(name="s", kind="feature_maps", size=(places, places), operations=(Softmax(),), bias=False)
    sketch.layer(record, sketch.rng.permutation(2 * heads)[:heads])
    owners = {"query": sketch.structure.units("s").reshape(-1, 1)}
    owners["key"] = owners["query"].reshape(groups, members)
    order = [place + half * pairs if halves else 2 * place + half for place in range(pairs) for half in range(2)]
    order += range(2 * pairs, width)
    for side, having in owners.items():
        name, turned = side[0], f"{side[0]}_turned"
        for layer in (name, turned):
            maps(layer, width * len(having))
        sketch.project(Conv(source="x", target=name, **same(size)))
        given, made = (sketch.structure.units(layer).reshape(-1, width) for layer in (name, turned))
        own = np.stack([given.reshape(-1), made.reshape(-1)], 1)
        sketch.project(OneToOne(source=name, target=turned, name=f"{turned}_own", placed=True), own)
        swapped = given[:, : 2 * pairs].reshape(-1, 2)[:, ::-1].reshape(-1)
        other = np.stack([swapped, made[:, : 2 * pairs].reshape(-1)], 1)
        sketch.project(OneToOne(source=name, target=turned, name=f"{turned}_other", placed=True), other)
        links = [
            (unit, head, slot)
            for units, group in zip(made.tolist(), having.tolist(), strict=True)
            for head in group
            for unit, slot in zip(units, order, strict=True)
        ]
        match = Match(source=turned, target="s", side=side)
        columns = Slotted.of(np.full(len(links), 0.5 if side == "query" else 1.0), links=links).ordered()
        sketch.structure = sketch.structure.replace(projections={match.name: match}, connections={match.name: columns})
    maps("v", groups)
    sketch.project(Conv(source="x", target="v", **same(size)))
    maps("m", heads)
    mixed = sketch.structure.units("m")
    sketch.project(Mix(source="s", target="m"), np.stack([owners["query"][:, 0], mixed], 1))
    values = np.repeat(sketch.structure.units("v"), members)
    sketch.project(OneToOne(source="v", target="m"), np.stack([values, mixed], 1))
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source="m", target="y"))


def _blocks(draw, sketch):
    """A stream `a`, to which attention adds and maybe a feed-forward part, both of what a normalisation gives."""
    size, width, count = draw(sizes(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 2))
    sketch.input("x", draw(st.integers(1, 2)), size)
    once = {"kernel": (1,) * len(size)}

    def stream(name, operations=(), bias=True):
        record = Layer(name=name, kind="feature_maps", size=size, operations=operations, bias=bias)
        sketch.layer(record, sketch.rng.permutation(2 * width)[:width])

    def added(name, before, read):
        stream(name)
        sketch.link(OneToOne(source=before, target=name))
        if draw(st.booleans()):
            sketch.project(Conv(source=read, target=name, **once))
        else:
            sketch.hidden(f"{name}_out", width, size, pool=False)
            sketch.project(Conv(source=read, target=f"{name}_out", **once))
            sketch.link(OneToOne(source=f"{name}_out", target=name, trained=draw(st.booleans())))

    stream("a")
    sketch.project(Conv(source="x", target="a", **once))
    stream("n", (draw(norms(size)),), bias=False)
    sketch.link(OneToOne(source="a", target="n"))
    for name in "qkv":
        sketch.hidden(name, count, size, pool=False)
        sketch.project(Conv(source="n", target=name, **once))
    places = int(np.prod(size))
    heads = Layer(name="s", kind="feature_maps", size=(places, places), operations=(Softmax(),), bias=False)
    sketch.layer(heads, np.arange(count))
    for side in ("query", "key"):
        match = Match(source=side[0], target="s", side=side)
        links = [(unit, head, 0) for head, unit in enumerate(sketch.structure.units(side[0]).tolist())]
        columns = Slotted.of(np.full(count, 0.5 if side == "query" else 1.0), links=links).ordered()
        sketch.structure = sketch.structure.replace(projections={match.name: match}, connections={match.name: columns})
    sketch.hidden("m", count, size, pool=False, places=False)
    sketch.link(Mix(source="s", target="m"))
    sketch.link(OneToOne(source="v", target="m"))
    added("r", "a", "m")
    if draw(st.booleans()):
        sketch.hidden("f", draw(st.integers(1, 3)), size, pool=False)
        sketch.project(Conv(source="r", target="f", **once))
        added("t", "r", "f")
    sketch.hidden("y", draw(st.integers(1, 2)), output=True)
    sketch.project(Dense(source="t" if sketch.structure.has_layer("t") else "r", target="y"))


FAMILIES = {
    "dense": _dense,
    "conv": _conv,
    "pooled": partial(_resized, kinds=(Pooling, AdaptivePooling)),
    "padded": partial(_resized, kinds=(Pad,)),
    "resized": partial(_resized, kinds=(Upsampling, Pick, Series)),
    "skip": _skip,
    "residual": _residual,
    "concatenating": _concatenating,
    "gated": _gated,
    "embedded": _embedded,
    "tied": _tied,
    "opaque": _opaque,
    "unitwise": _unitwise,
    "heads": _heads,
    "rotated": _rotated,
    "turned heads": _turned_heads,
    "blocks": _blocks,
}
HEADS = ("heads", "rotated", "turned heads", "blocks")
EVERY = tuple(family for family in FAMILIES if family != "turned heads")  # heads are turned among others, too


def networks(families=EVERY):
    """Verified networks: dense with shortcuts and two inputs, convolutional with areas, residual and so on.

    Some have an interface of their own, and an input that nothing reads. To draw one takes longer than most laws, so in
    a quick run all tests of a process choose from the same ones of each family.
    """
    return drawn(families) if THOROUGH else st.deferred(lambda: _some(families))


@cache
def _some(families):
    return st.one_of(*(st.sampled_from(pool(family)) for family in families))


@cache
def pool(family):
    """Networks of a family, the same in each process."""
    found = []

    @settings(
        max_examples=POOL,
        derandomize=True,
        database=None,
        deadline=None,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
    )
    @given(drawn((family,)))
    def draw(network):
        found.append(network)

    draw()
    return tuple(found)


@st.composite
def drawn(draw, families):
    """Networks that are drawn anew, so that failures shrink."""
    sketch = Sketch(draw, np.random.default_rng(draw(SEEDS)))
    FAMILIES[draw(sampled_from(families))](draw, sketch)
    if draw(st.integers(0, 3)) == 0:
        size = draw(sampled_from((None, (2, 3), (2,), (1, 2, 2))))
        sketch.layer(Layer(name="w", kind="input", features=draw(st.integers(1, 3)), size=size), [])
    structure = sketch.finish()
    return Network.of(structure.with_interface(draw(interfaces(structure))))


@st.composite
def interfaces(draw, network):
    """None, or an interface that a network can have: any order, other shapes, free extents, outputs given twice."""
    if draw(st.booleans()):
        return None
    inputs = [draw(input_ports(network, name)) for name in draw(st.permutations(network.input_names))]
    again = draw(st.lists(sampled_from(network.output_names), max_size=2))
    outputs = []
    for name in draw(st.permutations([*network.output_names, *again])):
        own = (len(network.units(name)), *(output_size(network.layer(name)) or ()))
        fields = {"axis": draw(_axes(own)), "shape": draw(_shapes(own)), "label": draw(sampled_from(("", "first")))}
        outputs.append(OutputPort(layer=name, **fields))
    return Interface(inputs=inputs, outputs=outputs)


@st.composite
def input_ports(draw, network, name):
    """A port of an input layer: of another shape, or with free extents where it has maps; of integers for bodies."""
    layer = network.layer(name)
    size = layer.size or ()
    shape = draw(_shapes((layer.features, *size)))
    free = tuple(draw(st.booleans()) for _ in size) if shape is None else ()
    if layer.classes is not None:
        bare = draw(st.booleans())
        free = tuple(draw(st.booleans()) for _ in size) if bare else ()
        return InputPort(layer=name, shape=tuple(size) if bare else None, free=free, integers=(0, layer.classes - 1))
    integers = all(isinstance(projection, Argument) for projection in network.outgoing(name)) and draw(st.booleans())
    axis = draw(_axes((layer.features, *size)))
    return InputPort(layer=name, axis=axis, shape=shape, free=free, integers=(0, 3) if integers else None)


def _axes(own):
    """An axis where units may stand, but none at which a sample looks like one whose units stand first."""
    return sampled_from((1, 1, *(at + 1 for at in range(1, len(own)) if (*own[1 : at + 1], own[0]) != own[: at + 1])))


def _shapes(own):
    """None, or another shape of as many values."""
    flat = int(np.prod(own))
    return sampled_from((None, None, (flat,), (1, flat), (flat, 1, 1)))


def inputs_for(network, batch, rng):
    """Standard normal samples (batch, features, *size) by input layer, or ids of classes; float32."""
    records = [network.layer(name) for name in network.input_names]
    return {layer.name: _drawn(layer, (batch, layer.features, *(layer.size or ())), rng) for layer in records}


def _drawn(layer, shape, rng):
    drawn = rng.standard_normal(shape) if layer.classes is None else rng.integers(0, layer.classes, shape)
    return drawn.astype(np.float32)

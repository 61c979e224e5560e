"""Verbs that bring models in and out: import and export."""

import json
import re
import sys
from contextlib import redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from nestgraph.cli.options import Json, Overwrite, Snapshot
from nestgraph.cli.output import facts, suggest

if TYPE_CHECKING:
    from nestgraph.chip.telling import Told
    from nestgraph.graph import Network

IMPORT_EXAMPLE = "nestgraph import models:lenet --weights lenet.safetensors --input 1,28,28 --out net.json"
EXPORT_EXAMPLE = "nestgraph export net.json net.onnx"
MODEL = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_][\w.]*")
SHAPE = re.compile(r"[1-9][0-9]{0,8}(,[1-9][0-9]{0,8})*")
EXPORTED = (".onnx", ".py", ".safetensors", ".c")

Names = Annotated[str | None, typer.Option(metavar="A,B,...", help="Of an edge list, in their order.")]


def import_model(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="PACKAGE.MODULE:CALLABLE, or an edge list (.csv) or NEAT genome (.json)."),
    ],
    out: Annotated[Path, typer.Option(metavar="FILE", help="The snapshot to write.")],
    weights: Annotated[
        Path | None, typer.Option(metavar="FILE", help="A safetensors file with the state dict of the module.")
    ] = None,
    shapes: Annotated[
        list[str] | None,
        typer.Option("--input", metavar="SHAPE", help="Shape of a sample, such as 1,28,28; once for each input."),
    ] = None,
    axes: Annotated[
        list[int] | None,
        typer.Option("--axis", metavar="N", min=0, help="Where units of each input stand, from 1; 0: found out."),
    ] = None,
    arguments: Annotated[
        list[str] | None,
        typer.Option("--arg", metavar="NAME=VALUE", help="An argument of the callable: JSON, or else text."),
    ] = None,
    nodes: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Of an edge list: a CSV file of name, bias, activation.")
    ] = None,
    input_nodes: Names = None,
    output_nodes: Names = None,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Make a network of a PyTorch model or an edge list.

    MODEL as PACKAGE.MODULE:CALLABLE runs that code, from an installed package or the current folder: name only what
    you trust. The callable, a class or function, gives the torch.nn.Module. Files are only read: edge lists are CSV
    files of source, target, weight; a NEAT genome is JSON that neat-python exported.

    The answer lists the layers, which of them can be edited, and what keeps the others.
    """
    from dataclasses import asdict

    import nestgraph as ng
    from nestgraph.interop.report import import_report

    if MODEL.fullmatch(model):
        _refuse("PACKAGE.MODULE:CALLABLE", nodes=nodes, input_nodes=input_nodes, output_nodes=output_nodes)
        network = _from_module(model, weights, _shapes(shapes or []), axes or [], _arguments(arguments or []))
    else:
        _refuse("a file", weights=weights, input=shapes, axis=axes, arg=arguments)
        network = _from_file(Path(model), nodes, input_nodes, output_nodes)
    ng.save(network, out, overwrite=overwrite)
    report = import_report(network)
    content = {"snapshot": str(out), "digest": network.digest, "layers": [asdict(row) for row in report.rows]}
    facts(content, f"{out}: {network!r}\n{report}", as_json)
    suggest("summary", out)


def _refuse(model: str, **options: object) -> None:
    """Refuse options that do not go with a kind of MODEL."""
    wrong = next((name.replace("_", "-") for name, value in options.items() if value), None)
    if wrong is not None:
        raise typer.BadParameter(f"expected no --{wrong} with {model}, got one", param_hint=f"--{wrong}")


def _from_module(
    model: str, weights: Path | None, shapes: list[list[int]], axes: list[int], arguments: dict[str, Any]
) -> "Network":
    if not shapes:
        raise typer.BadParameter("expected the shape of each input, such as 1,28,28, got none", param_hint="--input")
    from nestgraph.interop.importing import import_module
    from nestgraph.interop.loading import built_module, example_inputs, load_weights

    with redirect_stdout(sys.stderr):  # facts stay alone on stdout, whatever the model's code prints
        module = built_module(model, arguments)
        if weights is not None:
            load_weights(module, weights)
        return import_module(module, example_inputs(shapes), axes=[axis or None for axis in axes])


def _from_file(path: Path, nodes: Path | None, inputs: str | None, outputs: str | None) -> "Network":
    from nestgraph.interop.edge_list import from_edges
    from nestgraph.interop.neat import from_neat

    if path.suffix.lower() == ".json":
        _refuse("a NEAT genome", nodes=nodes, input_nodes=inputs, output_nodes=outputs)
        return from_neat(path)
    if path.suffix.lower() != ".csv":
        expected = "PACKAGE.MODULE:CALLABLE, a .csv or a .json file"
        raise typer.BadParameter(f"expected {expected}, got {str(path)!r}", param_hint="MODEL")
    return from_edges(path, nodes, inputs=_split(inputs), outputs=_split(outputs))


def _split(names: str | None) -> list[str] | None:
    return None if names is None else [name.strip() for name in names.split(",")]


def _shapes(texts: list[str]) -> list[list[int]]:
    wrong = next((text for text in texts if not SHAPE.fullmatch(text)), None)
    if wrong is not None:
        raise typer.BadParameter(f"expected a shape such as 1,28,28, got {wrong!r}", param_hint="--input")
    return [[int(extent) for extent in text.split(",")] for text in texts]


def _arguments(texts: list[str]) -> dict[str, Any]:
    """Keyword arguments from `name=value`."""
    found: dict[str, Any] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier() or name in found:
            raise typer.BadParameter(f"expected NAME=VALUE, each name once, got {text!r}", param_hint="--arg")
        try:
            found[name] = json.loads(value)
        except ValueError:
            found[name] = value
    return found


def export_model(
    snapshot: Snapshot,
    file: Annotated[
        Path, typer.Argument(metavar="FILE", help="Where to: .onnx, .py, .safetensors or .c; any with --format.")
    ],
    form: Annotated[
        Literal["model-explorer", "graphml", "node-link"] | None,
        typer.Option("--format", help="Its layers for another viewer instead."),
    ] = None,
    units: Annotated[bool, typer.Option("--units", help="Its units, not its layers; graphml and node-link.")] = False,
    columns: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="columns.json of the run; by default what lies beside the snapshot."),
    ] = None,
    prepared: Annotated[bool, typer.Option("--prepared", help="Take prepared numbers, whatever lies beside.")] = False,
    int8: Annotated[
        bool, typer.Option("--int8", help="Of .c and .onnx: whole numbers of 8 bits; scales come from --data.")
    ] = False,
    data: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            help="Of .c and --int8: a dataset (see `nestgraph data`) to find scales by and try it on.",
        ),
    ] = None,
    loss: Annotated[
        float, typer.Option(help="With --data: the most points that it may lose on the test split.", min=0)
    ] = 0.5,
    seed: Annotated[int, typer.Option(help="With --data: which split of the dataset is drawn.", min=0)] = 0,
    target: Annotated[
        str | None,
        typer.Option(metavar="BOARD", help="Of .c: uno, nano33, pico, stm32f4 or esp32; says whether it fits."),
    ] = None,
    example: Annotated[
        bool, typer.Option("--example", help="Of .c: also a program that runs it on a test vector and prints.")
    ] = False,
    arduino: Annotated[
        bool, typer.Option("--arduino", help="Of .c: an Arduino library instead, a folder with such an example.")
    ] = False,
    overwrite: Overwrite = False,
    as_json: Json = False,
) -> None:
    """Write a network in a form that runs without nestgraph.

    The form follows the name: an ONNX model, Python source with its weights beside it, the weights alone, or C for
    small chips with its header. What does nothing is left out, and nothing is kept whose outputs are not those of the
    network. With --int8 ONNX and C have whole numbers, of prepared inputs, and say how far they can be off.

    Where the columns of a table go with the network, as `nestgraph predict` finds them, ONNX and Python take raw rows.

    With --format it is a graph for viewers: Model Explorer's JSON, with overlays in files beside it, GraphML, or
    node-link JSON.
    """
    import nestgraph as ng

    if form is not None:
        from nestgraph.render.interchange import write_interchange

        paths = write_interchange(ng.load(snapshot), file, form, "units" if units else "layers", overwrite)
        facts({"files": [str(path) for path in paths]}, "\n".join(map(str, paths)), as_json)
        suggest("summary", snapshot)
        return
    if units:
        raise typer.BadParameter("expected it with --format graphml or node-link", param_hint="--units")
    if file.suffix.lower() not in EXPORTED:
        raise typer.BadParameter(f"expected {', '.join(EXPORTED)}, got {str(file)!r}", param_hint="FILE")
    if prepared and columns is not None:
        raise typer.BadParameter("expected no --columns with it, got some", param_hint="--prepared")
    network = ng.load(snapshot)
    if file.suffix.lower() == ".c":
        if columns is not None:
            raise typer.BadParameter("expected it with .onnx or .py, got .c", param_hint="--columns")
        _export_c(network, snapshot, file, (int8, data, seed, loss, target, overwrite, example, arduino), as_json)
        return
    _refuse_of_c(file, target is not None or example or arduino)
    if int8 or data is not None:
        _export_int8(network, snapshot, file, (int8, data, seed, loss, columns, overwrite), as_json)
        return
    _export_other(network, snapshot, file, (columns, prepared, overwrite), as_json)


def _refuse_of_c(file: Path, others: bool) -> None:
    if others:
        raise typer.BadParameter(f"expected it with a file of .c, got {file.suffix}", param_hint="--target")


def _export_other(
    network: "Network", snapshot: Path, file: Path, how: tuple[Path | None, bool, bool], as_json: bool
) -> None:
    """Write ONNX, source or weights of floats."""
    from nestgraph.data.tables.table import listed
    from nestgraph.interop.export import export
    from nestgraph.runs.columns import columns_beside, read_columns

    columns, prepared, overwrite = how
    held = read_columns(columns) if columns is not None else None
    if held is None and not prepared and file.suffix.lower() != ".safetensors":
        held = columns_beside(snapshot)
    with redirect_stdout(sys.stderr):  # the exporter of torch talks
        written = export(network, file, overwrite=overwrite, columns=held)
    files = [str(path) for path in written.paths]
    words = [f"{written.bytes:,} bytes, outputs differ by {written.difference:.1e}"]
    names = [column.name for column in held.columns] if held else []
    if held:
        words.append(f"takes raw rows: {listed(names)}")
    content = {"files": files, "bytes": written.bytes, "difference": written.difference, "columns": names}
    facts(content, "\n".join((*files, *words)), as_json)
    suggest("summary", snapshot)


def _tried_on(data: str | None, seed: int) -> tuple[Any, Any]:
    """Samples of a dataset by which scales are found, and a split to tell; nothing without one that lies in memory."""
    from nestgraph.chip.writing import CALIBRATING
    from nestgraph.data.datasets import load_dataset
    from nestgraph.data.samples import Samples

    if data is None:
        return None, None
    dataset = load_dataset(data, seed)
    if not (isinstance(dataset.train, Samples) and isinstance(dataset.test, Samples)):
        return None, None
    return dataset.train.parts[0][:CALIBRATING], (dataset.test.parts[0], dataset.test.targets)


def _export_int8(
    network: "Network",
    snapshot: Path,
    file: Path,
    how: tuple[bool, str | None, int, float, Path | None, bool],
    as_json: bool,
) -> None:
    """Write ONNX that keeps int8."""
    from nestgraph.interop.export import export

    int8, data, seed, loss, columns, overwrite = how
    if not int8 or file.suffix.lower() != ".onnx" or columns is not None:
        expected = "--int8 with .c, or with .onnx and without --columns"
        raise typer.BadParameter(f"expected {expected}, got {file.suffix}", param_hint="--int8")
    inputs, split = _tried_on(data, seed)
    with redirect_stdout(sys.stderr):  # the exporter of torch talks
        found = export(network, file, inputs=inputs, overwrite=overwrite, int8=True, split=split, loss=loss)
    bounds = ", ".join(f"{bound:.3g}" for bound in found.bounds or ())
    words = [f"{found.bytes:,} bytes, outputs differ by {found.difference:.1e} and are within {bounds}"]
    if found.told is not None:
        words.append(_right(found.told))
    from dataclasses import asdict

    files = [str(path) for path in found.paths]
    content = {
        "files": files,
        "bytes": found.bytes,
        "difference": found.difference,
        "bounds": found.bounds,
        "told": None if found.told is None else asdict(found.told),
    }
    facts(content, "\n".join((*files, *words)), as_json)
    suggest("summary", snapshot)


def _right(told: "Told") -> str:
    return f"tells {told.file:.2%} of {told.count:,} samples (the network {told.network:.2%})"


def _export_c(
    network: "Network",
    snapshot: Path,
    file: Path,
    how: tuple[bool, str | None, int, float, str | None, bool, bool, bool],
    as_json: bool,
) -> None:
    """Write C, which needs no torch."""
    from dataclasses import asdict

    from nestgraph.chip.writing import export_c

    int8, data, seed, loss, target, *writing = how
    inputs, split = _tried_on(data, seed)
    found = export_c(network, file, int8, inputs, split, loss, target, *writing)
    files = [str(path) for path in found.paths]
    tried = f"built by {found.compiled}" if found.compiled else "not built, as no C compiler was found"
    words = [f"{found.bytes:,} bytes, {tried}, outputs differ by {found.difference:.1e}"]
    if found.told is not None:
        words.append(_right(found.told))
    content = asdict(found) | {"files": files, "fits": found.report.fits}
    content.pop("paths")
    facts(content, "\n".join((*files, *words, *found.report.words)), as_json)
    suggest("summary", snapshot)

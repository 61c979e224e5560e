"""Arguments and options that several verbs have."""

from pathlib import Path
from typing import Annotated, Literal

import typer

Json = Annotated[bool, typer.Option("--json", help="Print facts as JSON.")]
Snapshot = Annotated[Path, typer.Argument(metavar="SNAPSHOT", help="A network snapshot (.json).")]
View = Annotated[
    Literal["layers", "neurons", "matrix", "inputs", "areas"] | None,
    typer.Option(help="Of layers or neurons what fits, by default."),
]
Theme = Annotated[Literal["light", "dark"], typer.Option(help="The colours.")]
Live = Annotated[bool, typer.Option("--live", help="Keep report.html up to date as the run goes.")]
Trackers = Annotated[
    list[str] | None,
    typer.Option("--tracker", metavar="NAME", help="Tell tensorboard, wandb, mlflow or another one of each step."),
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option("--plugin", metavar="FILE", help="A Python file with policies of your own, which is run."),
]
Tensorboard = Annotated[bool, typer.Option("--tensorboard", hidden=True)]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace a file that nestgraph did not write.")]
Device = Annotated[Literal["cpu", "cuda"], typer.Option(help="Where to compute.")]


def check_picture(path: Path, hint: str) -> None:
    """Refuse a path that names no format of pictures.

    Raises:
        BadParameter: it does not end in .svg, .png, .pdf or .dot.
    """
    if path.suffix.lower() not in (".svg", ".png", ".pdf", ".dot"):
        raise typer.BadParameter(f"expected .svg, .png, .pdf or .dot, got {str(path)!r}", param_hint=hint)

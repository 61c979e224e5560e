"""What verbs print, word for word. After an intended change: `python -m tests.cli.golden`, and read the diff."""

import contextlib
import os
import tempfile
from pathlib import Path

from tests.cli.running import run, write_snapshots

FOLDER = Path(__file__).parent / "golden"
VERBS = (
    "import",
    "export",
    "explain",
    "calibrate",
    "synthesize",
    "resume",
    "report",
    "sweep",
    "results",
    "evaluate",
    "predict",
    "summary",
    "verify",
    "draw",
    "diff",
    "edit",
    "merge",
    "data",
    "schema",
)
CASES = {
    "help": ("--help",),
    **{f"{verb}-help": (verb, "--help") for verb in VERBS},
    "summary": ("summary", "before.json"),
    "explain": ("explain", "before.json", "--batch", "256", "--threads", "1"),
    "verify": ("verify", "before.json"),
    "verify-island": ("verify", "island.json"),
    "diff": ("diff", "before.json", "after.json"),
    "diff-equal": ("diff", "before.json", "before.json"),
    "edit": ("edit", "before.json", "edit.json", "--out", "new.json"),
    "edit-preview": ("edit", "before.json", "edit.json", "--preview"),
    "edit-refused": ("edit", "after.json", "edit.json", "--preview"),
}


def shown(case: str) -> str:
    """What a case prints, in a folder that holds the snapshots."""
    result = run(*CASES[case])
    return f"$ nestgraph {' '.join(CASES[case])}\n{result.stdout}exit code {result.exit_code}\nstderr: {result.stderr}"


def main() -> None:
    """Write all files anew."""
    os.environ["NESTGRAPH_COSTS"] = os.path.join(os.devnull, "none")  # as in the suite
    with tempfile.TemporaryDirectory() as folder, contextlib.chdir(folder):
        write_snapshots(Path(folder))
        for case in CASES:
            (FOLDER / f"{case}.txt").write_text(shown(case))


if __name__ == "__main__":
    main()
